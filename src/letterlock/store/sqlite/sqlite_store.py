"""The queue in one SQLite file: WAL, synchronous=FULL, one connection, group commit."""

import asyncio
import json
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import Envelope
from letterlock.queue.copies import MessageCopy
from letterlock.queue.journal import record
from letterlock.queue.orders import MAX_REASON_CHARACTERS, Order, OrderKind, Page, Tally, TallyBy, Wanted
from letterlock.queue.store import LeaseLost, StoreFailed, UnreadableMessage
from letterlock.queue.tasks import (
    Attempt,
    DeliveryTask,
    Lease,
    Notice,
    NoticeKind,
    QueuedMessage,
    Settlement,
)
from letterlock.sqlite.disk import nobody_helps
from letterlock.sqlite.writer import Writer, explain
from letterlock.store.copied_rows import copy_of, spooled_parcel_of
from letterlock.store.parcels import Parcel, insert_parcel, read_parcel, take_parcel
from letterlock.store.rows import Damaged, age_row, read_age, read_mailbox, read_record, recipient_rows
from letterlock.store.sealing import IN_CLEAR, ContentSeal, check_key
from letterlock.store.sqlite import operator_orders
from letterlock.store.sqlite.opening import FILE, VERSION, connect, take_lock
from letterlock.store.sqlite.row_reader import (
    MAX_ATTEMPTS_SHOWN,
    find_delays,
    find_envelope,
    find_message,
    find_notices,
    find_page,
)
from letterlock.store.sqlite.statements import SQL, run
from letterlock.store.tails import Tails, TailWriter, tail_name

log = logging.getLogger("letterlock.store")
SHRUNK_PAGES = 4096  # 16 MB at a time: other work waits meanwhile
_MARKS = {NoticeKind.FAILED: "mark_told", NoticeKind.DELAYED: "mark_warned", NoticeKind.RELAYED: "mark_paid"}


class SqliteStore:
    """queue.store.Store over SQLite. Open one with `SqliteStore.open`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: IO[bytes],
        seal: ContentSeal,
        tails: Tails,
        relief: Callable[[], bool] = nobody_helps,
    ) -> None:
        self._writer = Writer(connection, relief)
        self._lock = lock
        self._seal = seal
        self.tails = tails
        self._tail_names: dict[str, str] = dict(run(connection, "tails").fetchall())  # by message

    @classmethod
    async def open(
        cls,
        directory: Path,
        seal: ContentSeal = IN_CLEAR,
        *,
        now: float | None = None,
        relief: Callable[[], bool] = nobody_helps,
    ) -> "SqliteStore":
        """Open, or make, the queue in a directory. Leases of a server that died are void.

        `now`: the time, if it is not the system's; `relief` as a Writer has it. Raises StoreFailed, QueueInUse.
        """
        lock = take_lock(directory)
        try:
            check_key(directory, seal)
            connection = connect(directory / FILE, time.time() if now is None else now)
            return cls(connection, lock, seal, Tails(directory, seal), relief)
        except StoreFailed:
            lock.close()
            raise
        except (sqlite3.Error, OSError) as error:
            lock.close()
            raise explain(error, f"cannot open the queue {directory / FILE}") from None

    def spool(self) -> TailWriter:
        """A file for a large body."""
        return self.tails.writer()

    async def share(self, body: Body) -> Body:
        """The same body for another message."""
        return await self.tails.share(body)

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        """Keep a message; it is durable when this returns."""
        closed, tail = self._seal.close(envelope.id, self.tails.pack(body)), tail_name(body)
        await self._writer.do(lambda db: _accept(db, envelope, closed, next_attempt_at, leases, quarantined, tail))
        if tail is not None:
            self._tail_names[envelope.id] = tail

    async def lease(
        self,
        now: float,
        *,
        limit: int,
        lease_seconds: float,
        avoid: Collection[str] = (),
        only: Collection[str] = (),
        since: float = 0.0,
    ) -> Sequence[DeliveryTask]:
        """Claim up to `limit` due tasks, the longest due first."""
        return await self._writer.do_aside(lambda db: _lease(db, now, limit, now + lease_seconds, avoid, only, since))

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost."""

        def work(db: sqlite3.Connection) -> Lease:
            if not run(db, "renew_lease", expires_at, lease.message_id, lease.next_hop, lease.token).rowcount:
                raise LeaseLost(lease.message_id)
            return Lease(lease.token, lease.message_id, lease.next_hop, expires_at)

        return await self._writer.do(work)

    async def body(self, message_id: str) -> Body:
        """The message content. Raises KeyError; a damaged message is logged and quarantined, and no longer found."""

        def work(db: sqlite3.Connection) -> Body | None:
            row = run(db, "body", message_id).fetchone()
            if row is None:
                return None
            try:
                return self.tails.unpack(self._seal.open(message_id, row[0]))
            except Damaged as error:
                log.critical("%s: quarantined: %s", message_id, error)
                run(db, "set_message_aside", str(error), message_id)
                return None

        content = await self._writer.do_aside(work)
        if content is None:
            raise KeyError(message_id)
        return content

    async def quarantine(self, message_id: str, why: str) -> None:
        """Set a message aside whose content cannot be read."""
        if await self._writer.do(lambda db: run(db, "set_message_aside", why, message_id).rowcount):
            log.critical("%s: quarantined: %s", message_id, why)
        else:
            log.info("%s: was removed while it was read", message_id)

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what an attempt led to, durably, and end the lease. Raises LeaseLost."""
        await self._writer.do(lambda db: _settle(db, lease, settlement, attempt, now))
        await self._remove_tails((lease.message_id,))

    async def _remove_tails(self, message_ids: Collection[str]) -> None:
        """Remove the files of those of these messages that are gone for good. Never raises: what ended them is done."""
        if not self._tail_names or not (ours := self._tail_names.keys() & message_ids):
            return
        try:
            there = await self._writer.do_aside(lambda db: {one for one in ours if run(db, "message", one).fetchone()})
        except StoreFailed as error:
            log.warning("files of finished messages stay until the next start: %s", error)
            return
        await self.tails.remove([self._tail_names.pop(each) for each in ours - there if each in self._tail_names])

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried. A lost lease is not an error."""
        await self._writer.do(
            lambda db: run(db, "release_lease", next_attempt_at, lease.message_id, lease.next_hop, lease.token).rowcount
        )

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """The wall clock was set back to `now`: what waits goes on waiting as long as it had to, and not longer."""

        def work(db: sqlite3.Connection) -> None:
            run(db, "set_back", now, seconds)
            run(db, "set_back_leases", now + lease_seconds)

        await self._writer.do_aside(work)

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Failed recipients whose sender has not been notified yet, by message."""
        return await self._writer.do_aside(lambda db: find_notices(db, limit))

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Deferred recipients of messages at least that old, whose sender has not been notified yet."""
        return await self._writer.do_aside(lambda db: find_delays(db, accepted_before, limit))

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN (None: nobody to notify) and mark the notice done, in one transaction.

        Raises KeyError when the message is gone.
        """

        def work(db: sqlite3.Connection) -> None:
            if run(db, "message", notice.envelope.id).fetchone() is None:
                raise KeyError(notice.envelope.id)
            if dsn is not None:
                _insert(db, dsn[0], self._seal.close(dsn[0].id, dsn[1]), now)
            for outcome in notice.outcomes:
                run(db, _MARKS[notice.kind], notice.envelope.id, str(outcome.recipient))
            run(db, "delete_finished", notice.envelope.id)

        await self._writer.do(work)
        await self._remove_tails((notice.envelope.id,))

    async def next_due(self) -> float | None:
        """When the next task is due or the next lease runs out."""

        def work(db: sqlite3.Connection) -> float | None:
            (due_at,) = run(db, "next_due").fetchone()
            return None if due_at is None else float(due_at)

        return await self._writer.do_aside(work)

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""

        return await self._writer.do_aside(lambda db: find_page(db, limit, after or ""))

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""
        return await self._writer.do_aside(lambda db: find_message(db, message_id))

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message, oldest first."""
        return await self._writer.do_aside(
            lambda db: [read_record(text) for (text,) in run(db, "attempts", message_id, MAX_ATTEMPTS_SHOWN)]
        )

    async def find(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[QueuedMessage]:
        """The messages that are wanted, in order of id, beginning behind `after`."""
        return await self._writer.do_aside(lambda db: operator_orders.find(db, wanted, limit, after))

    async def select(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[str]:
        """The same, but their ids only."""
        return await self._writer.do_aside(lambda db: operator_orders.select(db, wanted, limit, after))

    async def obey(self, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
        """Do to these messages what the operator orders; which of them that changed."""
        changed = await self._writer.do_aside(lambda db: operator_orders.obey(db, order, message_ids))
        await self._remove_tails(changed)
        return changed

    async def tally(self, by: TallyBy, *, now: float, after: str | None = None) -> Page[Tally]:
        """Counts of tasks over a part of the queue."""
        return await self._writer.do_aside(lambda db: operator_orders.tally(db, by, now, after))

    async def count(self) -> int:
        """How many messages there are."""
        return await self._writer.do_aside(operator_orders.count)

    async def copy(self, message_id: str, *, in_clear: bool = False) -> MessageCopy | None:
        """A message whole. Raises UnreadableMessage."""

        def work(db: sqlite3.Connection) -> MessageCopy | None:
            if run(db, "message", message_id).fetchone() is None:
                return None
            try:
                envelope = find_envelope(db, message_id)
                return copy_of(read_parcel(db, message_id), envelope, self._seal, self.tails, in_clear=in_clear)
            except Damaged as error:
                raise UnreadableMessage(f"{message_id}: {error}") from None

        return await self._writer.do_aside(work)

    async def restore(self, archive: str, copy: MessageCopy) -> bool:
        """Put in a message of an archive, once. Raises UnreadableMessage."""
        message_id = copy.envelope.id
        try:
            parcel = await spooled_parcel_of(copy, self._seal, self.tails)
        except Damaged as error:
            raise UnreadableMessage(f"{message_id}: {error}") from None

        def work(db: sqlite3.Connection) -> bool:
            if not run(db, "adopt", archive, message_id).rowcount:
                return False
            if run(db, "message", message_id).fetchone() is not None:
                return False
            insert_parcel(db, parcel)
            return True

        names = [str(row["name"]) for row in parcel.tail]
        put_in = await self._writer.do_aside(work)
        if put_in:
            self._tail_names.update((message_id, name) for name in names)
        else:
            await self.tails.remove(names)
        return put_in

    async def skip(self, archive: str, message_id: str) -> None:
        """Count a message of an archive as put in."""
        await self._writer.do(lambda db: run(db, "adopt", archive, message_id).rowcount)

    async def take_over(self, source: str, parcels: Sequence[Parcel]) -> Collection[str]:
        """Put messages of the queue in the folder `source` into this one, each once; the ids of those that are in."""

        def work(db: sqlite3.Connection) -> set[str]:
            return {parcel.id for parcel in parcels if _take_over(db, source, parcel, self._seal)}

        taken = await self._writer.do_aside(work)
        if any(parcel.tail for parcel in parcels):
            self._tail_names = await self._writer.do_aside(lambda db: dict(run(db, "tails").fetchall()))
        return taken

    async def sweep_tails(self, others: Collection[str]) -> None:
        """Remove the files that no message has, `others` but for those. Raises OSError, StoreFailed."""
        live = {*self._tail_names.values(), *others}
        if found := await asyncio.to_thread(self.tails.sweep, live):
            log.info("%d files of large messages that were not accepted, or are finished, were removed", found)

    async def adopted(self, source: str) -> Collection[str]:
        """The messages moved from the queue in that folder into this one, which may still be there as well."""
        return await self._writer.do_aside(lambda db: {each for (each,) in run(db, "adopted_ids", source)})

    async def forget_adopted(self, source: str, ids: Collection[str]) -> None:
        """They are in that folder no more."""

        def work(db: sqlite3.Connection) -> None:
            db.executemany(SQL["forget_adopted"], [(source, each) for each in ids])

        await self._writer.do_aside(work)

    async def shrink(self) -> None:
        """Give room that is not used back to the disk. Raises StoreFailed."""
        await self._writer.shrink(SHRUNK_PAGES)

    def has_room(self, _octets: int, /) -> bool:
        """Always: the store in front of this one watches the disk."""
        return True

    def started(self) -> None:
        """Nothing is held in reserve."""

    async def close(self) -> None:
        """Finish what is in hand and close the files."""
        await self._writer.close()
        await self.tails.close()
        self._lock.close()


def _accept(
    db: sqlite3.Connection,
    envelope: Envelope,
    closed: bytes,
    next_attempt_at: float,
    leases: Sequence[Lease],
    quarantined: str | None,
    tail: str | None,
) -> None:
    _insert(db, envelope, closed, next_attempt_at, leases, tail)
    if quarantined is not None:
        order = Order(kind=OrderKind.QUARANTINE, at=envelope.accepted_at, reason=quarantined[:MAX_REASON_CHARACTERS])
        operator_orders.obey(db, order, (envelope.id,))


def _insert(
    db: sqlite3.Connection,
    envelope: Envelope,
    closed: bytes,
    next_attempt_at: float,
    leases: Sequence[Lease] = (),
    tail: str | None = None,
) -> None:
    reverse_path = None if envelope.reverse_path is None else str(envelope.reverse_path)
    run(
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
        envelope.smtputf8,
    )
    run(db, "insert_body", envelope.id, closed)
    if tail is not None:
        run(db, "insert_tail", envelope.id, tail)
    db.executemany(SQL["insert_recipient"], recipient_rows(envelope))
    leased = {lease.next_hop: lease for lease in leases}
    for next_hop in dict.fromkeys(mailbox.domain for mailbox in envelope.recipients):
        lease = leased.get(next_hop)
        due_at, token = (lease.expires_at, lease.token) if lease else (next_attempt_at, None)
        run(db, "insert_task", envelope.id, next_hop, due_at, token)


def _take_over(db: sqlite3.Connection, source: str, parcel: Parcel, seal: ContentSeal) -> bool:
    """False, and nothing is changed, where its rows cannot be those of a message."""
    db.execute("SAVEPOINT parcel")
    try:
        take_parcel(db, source, parcel, seal)
    except (sqlite3.IntegrityError, sqlite3.DataError) as error:
        log.critical("%s: cannot be taken over from %s: %s", parcel.id, source, error)
        db.execute("ROLLBACK TO parcel")
        return False
    finally:
        db.execute("RELEASE parcel")
    return True


def _lease(
    db: sqlite3.Connection,
    now: float,
    limit: int,
    expires_at: float,
    avoid: Collection[str],
    only: Collection[str],
    since: float,
) -> list[DeliveryTask]:
    tasks = []
    envelopes: dict[str, Envelope] = {}  # one for all tasks of a message: a thousand recipients may be a thousand tasks
    if avoid or only or since:
        found = run(db, "due_tasks_but", since, now, json.dumps([*avoid]), json.dumps([*only]), limit)
    else:
        found = run(db, "due_tasks", now, limit)
    for message_id, next_hop, attempts, age, *seen in found.fetchall():
        lease = Lease(secrets.token_hex(8), message_id, next_hop, expires_at)
        try:
            rows = run(db, "waiting_recipients", message_id, next_hop)
            recipients = tuple({read_mailbox(text): None for (text,) in rows})  # older versions kept repeated ones
            if message_id not in envelopes:
                envelopes[message_id] = find_envelope(db, message_id)
        except Damaged as error:
            log.critical("%s: set aside, its row in the queue is damaged: %s", message_id, error)
            run(db, "set_aside", now, f"its row in the queue is damaged: {error}", message_id, next_hop)
            continue
        run(db, "take_lease", lease.token, expires_at, message_id, next_hop)
        tasks.append(
            DeliveryTask(
                lease=lease,
                envelope=envelopes[message_id],
                recipients=recipients,
                attempts=attempts,
                age=read_age(age, *seen),
            )
        )
    return tasks


def _settle(db: sqlite3.Connection, lease: Lease, settlement: Settlement, attempt: Attempt, now: float) -> None:
    key = lease.message_id, lease.next_hop
    if settlement.deferred or settlement.failed or settlement.relayed:
        if run(db, "held_lease", *key, lease.token, now).fetchone() is None:
            raise LeaseLost(lease.message_id)
    else:  # the usual case: all delivered, and most often the message is done
        if not run(db, "delete_held_task", *key, lease.token, now).rowcount:
            raise LeaseLost(lease.message_id)
        if run(db, "delete_finished", lease.message_id).rowcount:
            return
    delivered = (*settlement.delivered, *settlement.relayed)
    states = (("delivered", delivered), ("failed", settlement.failed), ("queued", settlement.deferred))
    for state, outcomes in states:
        for outcome in outcomes:
            values = outcome.status, outcome.text, outcome.remote_reply
            run(db, "settle_recipient", state, *values, *key, str(outcome.recipient))
    for outcome in settlement.relayed:
        run(db, "owe", *key, str(outcome.recipient))
    run(db, "insert_attempt", lease.message_id, json.dumps(record(attempt), separators=(",", ":")))
    if settlement.deferred:
        run(db, "task_tried_again", settlement.next_attempt_at, *age_row(settlement.age), *key)
    else:
        run(db, "delete_task", *key)
        run(db, "delete_finished", lease.message_id)


__all__ = ["FILE", "VERSION", "SqliteStore"]
