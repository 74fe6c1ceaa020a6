"""Remembered MTA-STS policies on disk, so that a restart forgets none (RFC 8461 sections 3.3 and 10.2).

A SQLite file beside the queue, and not in it: losing it loses no mail, and another process may read it while the server
runs (a rollback journal, not the WAL). A damaged row is dropped and logged; a file that is no database at all is set
aside. A user who can write the file can make this machine forget a policy, as with the queue.

Several processes write it: a row is replaced only if it is still as it was read (`swap`). When there are too many
policies, expired ones go first, then those that crowd: see docs/decisions/0010-remembered-policies.md.
"""

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from letterlock.mtasts import Change, KnownPolicy, Mode, StsPolicy
from letterlock.queue.store import NewerStore, StoreFailed, StoreFull
from letterlock.sqlite.glance import Glance, NotSeen
from letterlock.sqlite.named import read_statements
from letterlock.sqlite.writer import Writer

log = logging.getLogger("letterlock.store")
FILE = "policies.db"
VERSION = 2  # of the schema; older ones are brought up by the version_* statements
MAX_POLICIES = 100_000  # some 50 MB of disk, and more policies than all domains have that one server writes to
ROOM_SHARE = 0.01  # dropped at once to make room, because choosing looks at every row
USED_STEP_SECONDS = 3_600.0  # when a policy was last used is written down so coarsely, because a write costs an fsync
_Row = tuple[Any, ...]
_COLUMNS = 12  # those of a KnownPolicy; when it was last used follows


class DamagedPolicy(Exception):
    """A row cannot be read as a policy."""


_SQL = read_statements((files("letterlock.state") / "sql" / "policies.sql").read_text())


class PolicyStore:
    """KnownPolicy rows, one a domain, at most `max_policies`. Open one with `PolicyStore.open`.

    Every verb may raise StoreFailed. What `swap` wrote is on disk when it returns.
    """

    def __init__(self, connection: sqlite3.Connection, max_policies: int, path: Path | None = None) -> None:
        self._writer = Writer(connection)
        self._glance = Glance(path, _text)
        self._max_policies = max_policies

    @classmethod
    def open(cls, directory: Path | None, *, max_policies: int = MAX_POLICIES) -> "PolicyStore":
        """Open, or make, the file in a directory; without one, keep the policies in memory only.

        Raises StoreFailed.
        """
        if directory is None:
            return cls(_connect(":memory:"), max_policies)
        path = directory / FILE
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            return cls(_connect_or_begin_anew(path), max_policies, path)
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(f"cannot open the remembered policies {path}: {error}") from None

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        """The remembered policy of one domain, expired or not. `used_at`: mail needs it now (seconds since 1970)."""
        with suppress(NotSeen, DamagedPolicy):  # then the writer reads it, and drops a damaged row
            row = self._glance.row(_SQL["one"], (domain,))
            if row is None or used_at is None or used_at - row[_COLUMNS] <= USED_STEP_SECONDS:
                return None if row is None else _known(row)

        def work(db: sqlite3.Connection) -> KnownPolicy | None:
            if used_at is not None:
                db.execute(_SQL["used"], (domain, used_at, USED_STEP_SECONDS))
            return next(iter(_read(db, "one", domain)), None)

        try:
            return await self._writer.do_aside(work)
        except StoreFull:  # that it was used cannot be written; what is remembered can be read all the same
            return await self._writer.do_aside(lambda db: next(iter(_read(db, "one", domain)), None))

    async def load_all(self) -> Sequence[KnownPolicy]:
        """Everything that is remembered, by domain."""
        return await self._writer.do_aside(lambda db: _read(db, "all"))

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        """Policies that hold and are to be fetched again, the longest due first."""
        return await self._writer.do_aside(lambda db: _read(db, "due", now, limit))

    async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
        """Replace what is remembered of a domain (None: nothing), if that is still `before`; whether it was.

        When there are too many, others are forgotten. A damaged row counts as whatever it was.
        """

        def work(db: sqlite3.Connection) -> bool:
            row = db.execute(_SQL["one"], (domain,)).fetchone()
            if not _holds(row, before):
                return False
            if after is None:
                _delete(db, domain)
            else:
                db.execute(_SQL["save"], (*_row(after), now))
                self._make_room(db, domain, now)
            return True

        return await self._writer.do_aside(work)

    def _make_room(self, db: sqlite3.Connection, domain: str, now: float) -> None:
        """Forget expired policies, then crowding ones, when there are more than may be; never this domain's."""
        room = max(1, int(self._max_policies * ROOM_SHARE))
        for statement, values in (("forget_expired", (domain, now)), ("forget_crowding", (domain,))):
            (count,) = db.execute(_SQL["count"]).fetchone()
            if count > self._max_policies:
                excess = count - self._max_policies
                db.execute(_SQL[statement], (*values, excess + room - 1))

    async def close(self) -> None:
        """Finish what was asked for, and close the file."""
        self._glance.close()
        await self._writer.close()


def _connect_or_begin_anew(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error, OSError, StoreFailed."""
    try:
        return _connect(str(path))
    except sqlite3.OperationalError:
        raise  # locked, or the disk: not the file's fault
    except sqlite3.DatabaseError:
        with _alone(path.parent):
            return _begin_anew(path)


def _begin_anew(path: Path) -> sqlite3.Connection:
    """Set a damaged file aside, unless another worker has done so already: that would take the new one from it.

    Raises sqlite3.Error, OSError, StoreFailed.
    """
    try:
        return _connect(str(path))
    except sqlite3.OperationalError:
        raise  # as above
    except sqlite3.DatabaseError as error:
        log.critical("%s: %s: set aside; policies are fetched anew", path, error)
        path.replace(path.with_suffix(".damaged"))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return _connect(str(path))


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other workers from doing the same meanwhile. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.create_function("suffix", 2, _suffix, deterministic=True)
    connection.text_factory = _text  # octets that are no UTF-8 damage one row, not the reading of all
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, path)
    except (sqlite3.Error, StoreFailed):
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the file to this version, one process at a time. Raises sqlite3.Error, StoreFailed."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number in range(version + 1, VERSION + 1):
        for statement in _SQL[f"version_{number}"].split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")
    if version > VERSION:
        raise NewerStore(f"{path} was written by a newer Letterlock (version {version}, this one knows {VERSION})")


def _suffix(domain: str, labels: int) -> str:
    """The last labels of a domain, as an SQL function."""
    return ".".join(domain.split(".")[-labels:])


def _holds(row: _Row | None, expected: KnownPolicy | None) -> bool:
    if row is None:
        return expected is None
    try:
        return _known(row) == expected
    except DamagedPolicy:  # a damaged row is nobody's newer one: replace it
        return True


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _delete(db: sqlite3.Connection, domain: str) -> None:
    db.execute(_SQL["delete"], (domain,))


def _read(db: sqlite3.Connection, name: str, *values: str | float) -> list[KnownPolicy]:
    """The policies that a statement selects; damaged rows are dropped."""
    found = []
    for row in db.execute(_SQL[name], values).fetchall():
        try:
            found.append(_known(row))
        except DamagedPolicy as error:
            log.critical("the remembered MTA-STS policy of %r is damaged and dropped: %s", row[0], error)
            _delete(db, str(row[0]))
    return found


def _row(known: KnownPolicy) -> _Row:
    history = [[one.at, one.old_mode, one.old_id, one.new_mode, one.new_id] for one in known.history]
    return (
        known.domain,
        known.id,
        known.policy.mode.value,
        known.policy.max_age_seconds,
        json.dumps(known.policy.mx),
        known.fetched_at,
        known.expires_at,
        known.refresh_at,
        known.last_failure,
        known.https_blocked_since,
        known.txt_blocked_since,
        json.dumps(history),
    )


def _known(row: _Row) -> KnownPolicy:
    """Raises DamagedPolicy."""
    try:
        return _parse(*row[:_COLUMNS])
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedPolicy(str(error)) from None


def _parse(
    domain: str,
    policy_id: str,
    mode: str,
    max_age: int,
    mx: str,
    fetched_at: float,
    expires_at: float,
    refresh_at: float,
    last_failure: str | None,
    https_blocked_since: float | None,
    txt_blocked_since: float | None,
    history: str,
) -> KnownPolicy:
    """Build a policy from its columns, whose types the table itself keeps. Raises TypeError, ValueError."""
    policy = StsPolicy(mode=Mode(mode), max_age_seconds=max_age, mx=_names(json.loads(mx)))
    if not policy.mx and policy.mode is not Mode.NONE:
        raise ValueError(f"mode {mode} without mx")
    return KnownPolicy(
        domain=domain,
        id=policy_id,
        policy=policy,
        fetched_at=fetched_at,
        expires_at=expires_at,
        refresh_at=refresh_at,
        last_failure=last_failure,
        https_blocked_since=https_blocked_since,
        txt_blocked_since=txt_blocked_since,
        history=tuple(_change(*entry) for entry in json.loads(history)),
    )


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("mx is not a list of names")
    return tuple(value)


def _change(at: float, old_mode: str | None, old_id: str | None, new_mode: str, new_id: str) -> Change:
    old = None if old_mode is None else Mode(old_mode)
    return Change(at=float(at), old_mode=old, old_id=old_id, new_mode=Mode(new_mode), new_id=new_id)
