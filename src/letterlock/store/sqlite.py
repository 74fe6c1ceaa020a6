"""The queue in one SQLite file: WAL, synchronous=FULL, one connection, group commit."""

import fcntl
import json
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO

from letterlock.mail.envelope import Envelope
from letterlock.queue.journal import last_attempts, record
from letterlock.queue.store import LeaseLost, StoreFailed
from letterlock.queue.tasks import (
    Attempt,
    DeliveryTask,
    LastAttempt,
    Lease,
    Notice,
    NoticeKind,
    OutcomeKind,
    QueuedMessage,
    QueuedRecipient,
    RecipientOutcome,
    Settlement,
)
from letterlock.store.rows import Damaged, read_envelope, read_mailbox, read_record, recipient_rows
from letterlock.store.writer import Writer

log = logging.getLogger("letterlock.store")
FILE = "queue.db"
LOCK_FILE = "lock"
VERSION = 4
MAX_ATTEMPTS_SHOWN = 100
UNKNOWN_STATUS = "5.0.0"  # RFC 3463: other or undefined


class QueueInUse(Exception):
    """Another server has this queue."""


def _statements(text: str) -> dict[str, str]:
    """Named statements: each begins behind a line `-- name: NAME`."""
    parts = text.split("-- name: ")[1:]
    return {name.strip(): sql.strip() for name, _, sql in (part.partition("\n") for part in parts)}


_SCHEMA = (files("letterlock.store") / "sql" / "schema.sql").read_text()
_ASKED = {
    NoticeKind.FAILED: ("untold_recipients", OutcomeKind.FAILED),
    NoticeKind.DELAYED: ("unwarned_recipients", OutcomeKind.DEFERRED),
    NoticeKind.RELAYED: ("owed_recipients", OutcomeKind.DELIVERED),
}
_MARKS = {NoticeKind.FAILED: "mark_told", NoticeKind.DELAYED: "mark_warned", NoticeKind.RELAYED: "mark_paid"}
_SQL = _statements((files("letterlock.store") / "sql" / "verbs.sql").read_text())


class SqliteStore:
    """queue.store.Store over SQLite. Open one with `SqliteStore.open`."""

    def __init__(self, connection: sqlite3.Connection, lock: IO[bytes]) -> None:
        self._writer = Writer(connection)
        self._lock = lock

    @classmethod
    async def open(cls, directory: Path) -> "SqliteStore":
        """Open, or make, the queue in a directory. Leases of a server that died are void.

        Raises StoreFailed, QueueInUse.
        """
        lock = _take_lock(directory)
        try:
            return cls(_connect(directory / FILE), lock)
        except StoreFailed:
            lock.close()
            raise
        except (sqlite3.Error, OSError) as error:
            lock.close()
            raise StoreFailed(f"cannot open the queue {directory / FILE}: {error}") from None

    async def accept(
        self, envelope: Envelope, body: bytes, *, next_attempt_at: float, leases: Sequence[Lease] = ()
    ) -> None:
        """Keep a message; it is durable when this returns."""
        await self._writer.do(lambda db: _insert(db, envelope, body, next_attempt_at, leases))

    async def lease(self, now: float, *, limit: int, lease_seconds: float) -> Sequence[DeliveryTask]:
        """Claim up to `limit` due tasks, the longest due first."""
        return await self._writer.do_aside(lambda db: _lease(db, now, limit, now + lease_seconds))

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost."""

        def work(db: sqlite3.Connection) -> Lease:
            if not _run(db, "renew_lease", expires_at, lease.message_id, lease.next_hop, lease.token).rowcount:
                raise LeaseLost(lease.message_id)
            return Lease(lease.token, lease.message_id, lease.next_hop, expires_at)

        return await self._writer.do(work)

    async def body(self, message_id: str) -> bytes:
        """The message content. Raises KeyError."""

        def work(db: sqlite3.Connection) -> bytes:
            row = _run(db, "body", message_id).fetchone()
            if row is None:
                raise KeyError(message_id)
            return bytes(row[0])

        return await self._writer.do_aside(work)

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what an attempt led to, durably, and end the lease. Raises LeaseLost."""
        await self._writer.do(lambda db: _settle(db, lease, settlement, attempt, now))

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried. A lost lease is not an error."""
        await self._writer.do(
            lambda db: (
                _run(db, "release_lease", next_attempt_at, lease.message_id, lease.next_hop, lease.token).rowcount
            )
        )

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Failed recipients whose sender was not told yet, by message."""
        return await self._writer.do_aside(lambda db: _notices(db, limit))

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Recipients who wait after an attempt, of messages as old as that, and of whom nobody was told yet."""
        return await self._writer.do_aside(lambda db: _delays(db, accepted_before, limit))

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN (None: nobody to tell) and mark the notice done, in one transaction.

        Raises KeyError when the message is gone.
        """

        def work(db: sqlite3.Connection) -> None:
            if _run(db, "message", notice.envelope.id).fetchone() is None:
                raise KeyError(notice.envelope.id)
            if dsn is not None:
                _insert(db, dsn[0], dsn[1], now)
            for outcome in notice.outcomes:
                _run(db, _MARKS[notice.kind], notice.envelope.id, str(outcome.recipient))
            _run(db, "delete_finished", notice.envelope.id)

        await self._writer.do(work)

    async def next_due(self) -> float | None:
        """When the next task is due or the next lease runs out."""

        def work(db: sqlite3.Connection) -> float | None:
            (due_at,) = _run(db, "next_due").fetchone()
            return None if due_at is None else float(due_at)

        return await self._writer.do_aside(work)

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""

        return await self._writer.do_aside(lambda db: _page(db, limit, after or ""))

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""
        return await self._writer.do_aside(lambda db: _queued(db, message_id))

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message's attempts, oldest first."""
        return await self._writer.do_aside(
            lambda db: [read_record(text) for (text,) in _run(db, "attempts", message_id, MAX_ATTEMPTS_SHOWN)]
        )

    async def retry(self, message_id: str | None, *, now: float) -> int:
        """Make a message's (None: every) waiting task due now; how many that were."""

        def work(db: sqlite3.Connection) -> int:
            if message_id is None:
                return _run(db, "retry_all", now).rowcount
            return _run(db, "retry_one", now, message_id).rowcount

        return await self._writer.do_aside(work)

    async def remove(self, message_id: str) -> bool:
        """Drop a message without telling its sender; whether it was there."""
        return await self._writer.do_aside(lambda db: bool(_run(db, "delete_message", message_id).rowcount))

    async def close(self) -> None:
        """Finish what is in hand and close the files."""
        await self._writer.close()
        self._lock.close()


def _take_lock(directory: Path) -> IO[bytes]:
    path = directory / LOCK_FILE
    try:
        lock = open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115  # kept open
    except OSError as error:
        raise StoreFailed(f"cannot write in the queue directory {directory}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if isinstance(error, BlockingIOError):
            raise QueueInUse(f"another server is running on the queue in {directory}") from None
        raise StoreFailed(f"cannot lock the queue directory {directory}: {error.strerror}") from None
    return lock


@contextmanager
def open_alone(directory: Path) -> Iterator[sqlite3.Connection]:
    """The queue's file, for whoever puts queues in order while no server runs. Raises StoreFailed, QueueInUse."""
    lock = _take_lock(directory)
    try:
        connection = _connect(directory / FILE)
        try:
            yield connection
        finally:
            connection.close()
    finally:
        lock.close()


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.text_factory = _text  # octets that are no UTF-8 damage one row, not the reading of all
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        _migrate(connection, path)
        connection.execute("UPDATE task SET due_at = 0, lease_token = NULL WHERE lease_token IS NOT NULL")
    except (sqlite3.Error, StoreFailed):
        connection.close()
        raise
    return connection


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif 1 <= version < VERSION:
        steps = "".join(_SQL[f"from_version_{each}"] for each in range(version, VERSION))
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise StoreFailed(f"{path} was written by a newer Letterlock (version {version}, this one knows {VERSION})")


def _run(db: sqlite3.Connection, name: str, *values: str | float | bytes | None) -> sqlite3.Cursor:
    return db.execute(_SQL[name], values)


def _insert(
    db: sqlite3.Connection, envelope: Envelope, body: bytes, next_attempt_at: float, leases: Sequence[Lease] = ()
) -> None:
    reverse_path = None if envelope.reverse_path is None else str(envelope.reverse_path)
    _run(
        db,
        "insert_message",
        envelope.id,
        reverse_path,
        envelope.size,
        envelope.accepted_at,
        envelope.expires_at,
        envelope.body_type.value,
        envelope.client,
        envelope.tls_demand.value,
        envelope.wishes.ret,
        envelope.wishes.envid,
    )
    _run(db, "insert_body", envelope.id, body)
    db.executemany(_SQL["insert_recipient"], recipient_rows(envelope))
    leased = {lease.next_hop: lease for lease in leases}
    for next_hop in dict.fromkeys(mailbox.domain for mailbox in envelope.recipients):
        lease = leased.get(next_hop)
        due_at, token = (lease.expires_at, lease.token) if lease else (next_attempt_at, None)
        _run(db, "insert_task", envelope.id, next_hop, due_at, token)


def _lease(db: sqlite3.Connection, now: float, limit: int, expires_at: float) -> list[DeliveryTask]:
    tasks = []
    for message_id, next_hop, attempts in _run(db, "due_tasks", now, limit).fetchall():
        lease = Lease(secrets.token_hex(8), message_id, next_hop, expires_at)
        try:
            recipients = tuple(read_mailbox(text) for (text,) in _run(db, "waiting_recipients", message_id, next_hop))
            envelope = _envelope(db, message_id)
        except Damaged as error:
            log.critical("%s: set aside, its row in the queue is damaged: %s", message_id, error)
            _run(db, "set_aside", message_id, next_hop)
            continue
        _run(db, "take_lease", lease.token, expires_at, message_id, next_hop)
        tasks.append(DeliveryTask(lease=lease, envelope=envelope, recipients=recipients, attempts=attempts))
    return tasks


def _settle(db: sqlite3.Connection, lease: Lease, settlement: Settlement, attempt: Attempt, now: float) -> None:
    key = lease.message_id, lease.next_hop
    if settlement.deferred or settlement.failed or settlement.relayed:
        if _run(db, "held_lease", *key, lease.token, now).fetchone() is None:
            raise LeaseLost(lease.message_id)
    else:  # the usual case: all delivered, and most often the message is done
        if not _run(db, "delete_held_task", *key, lease.token, now).rowcount:
            raise LeaseLost(lease.message_id)
        if _run(db, "delete_finished", lease.message_id).rowcount:
            return
    delivered = (*settlement.delivered, *settlement.relayed)
    states = (("delivered", delivered), ("failed", settlement.failed), ("queued", settlement.deferred))
    for state, outcomes in states:
        for outcome in outcomes:
            values = outcome.status, outcome.text, outcome.remote_reply
            _run(db, "settle_recipient", state, *values, *key, str(outcome.recipient))
    for outcome in settlement.relayed:
        _run(db, "owe", *key, str(outcome.recipient))
    _run(db, "insert_attempt", lease.message_id, json.dumps(record(attempt), separators=(",", ":")))
    if settlement.deferred:
        _run(db, "task_tried_again", settlement.next_attempt_at, *key)
    else:
        _run(db, "delete_task", *key)
        _run(db, "delete_finished", lease.message_id)


def _notices(db: sqlite3.Connection, limit: int) -> list[Notice]:
    notices = []
    for kind, due, set_aside in (
        (NoticeKind.FAILED, "untold_messages", "set_notice_aside"),
        (NoticeKind.RELAYED, "owed_messages", "forgive_all"),
    ):
        for (message_id,) in _run(db, due, limit).fetchall():
            try:
                notices.append(_notice(db, message_id, kind))
            except Damaged as error:
                log.critical("%s: its sender cannot be told, its row in the queue is damaged: %s", message_id, error)
                _run(db, set_aside, message_id)
    return notices


def _delays(db: sqlite3.Connection, accepted_before: float, limit: int) -> list[Notice]:
    """Ids grow with time, so the first message that is too young ends the search."""
    notices = []
    for message_id, accepted_at, reverse_path in _run(db, "unwarned_messages", limit).fetchall():
        if accepted_at > accepted_before:
            break
        if reverse_path is None:
            _run(db, "mark_all_warned", message_id)
            continue
        try:
            notices.append(_notice(db, message_id, NoticeKind.DELAYED))
        except Damaged as error:
            log.critical("%s: its sender cannot be told, its row in the queue is damaged: %s", message_id, error)
            _run(db, "mark_all_warned", message_id)
    return notices


def _notice(db: sqlite3.Connection, message_id: str, kind: NoticeKind) -> Notice:
    envelope = _envelope(db, message_id)
    asked, became = _ASKED[kind]
    outcomes = tuple(
        RecipientOutcome(
            recipient=read_mailbox(mailbox),
            kind=became,
            status=status or UNKNOWN_STATUS,
            text=text or "the reason was lost",
            remote_reply=reply,
        )
        for mailbox, status, text, reply in _run(db, asked, message_id)
    )
    next_hops = frozenset(outcome.recipient.domain for outcome in outcomes)
    return Notice(
        kind=kind, envelope=envelope, outcomes=outcomes, last_attempts=_last_attempts(db, message_id, next_hops)
    )


def _last_attempts(db: sqlite3.Connection, message_id: str, next_hops: frozenset[str]) -> tuple[LastAttempt, ...]:
    newest = _run(db, "newest_attempts", message_id, MAX_ATTEMPTS_SHOWN)
    return last_attempts((read_record(text) for (text,) in newest), next_hops)


def _envelope(db: sqlite3.Connection, message_id: str) -> Envelope:
    row = _run(db, "message", message_id).fetchone()
    if row is None:
        raise Damaged("the message is missing")
    return read_envelope(row, _run(db, "recipients", message_id).fetchall())


def _page(db: sqlite3.Connection, limit: int, after: str) -> list[QueuedMessage]:
    """As many messages as asked for, if there are so many that can be read."""
    found: list[QueuedMessage] = []
    while len(found) < limit and (ids := _run(db, "message_ids", after, limit - len(found)).fetchall()):
        found += [message for (message_id,) in ids if (message := _queued(db, message_id)) is not None]
        after = ids[-1][0]
    return found


def _queued(db: sqlite3.Connection, message_id: str) -> QueuedMessage | None:
    if _run(db, "message", message_id).fetchone() is None:
        return None
    try:
        envelope = _envelope(db, message_id)
    except Damaged as error:
        log.critical("%s: cannot be shown, its row in the queue is damaged: %s", message_id, error)
        return None
    recipients = tuple(
        QueuedRecipient(
            recipient=read_mailbox(mailbox),
            state="leased" if state == "queued" and token else state,
            attempts=attempts or 0,
            next_attempt_at=due_at if state == "queued" and not token else None,
            last_status=status,
            last_text=text,
        )
        for mailbox, state, status, text, attempts, due_at, token, *_ in _run(db, "recipients", message_id)
    )
    waiting = frozenset(each.recipient.domain for each in recipients if each.state != "delivered")
    last = _last_attempts(db, message_id, waiting) if waiting else ()
    return QueuedMessage(envelope=envelope, recipients=recipients, last_attempts=last)


__all__ = ["QueueInUse", "SqliteStore"]
