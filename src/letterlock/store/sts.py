"""Remembered MTA-STS policies on disk, so that a restart forgets none (RFC 8461 sections 3.3 and 10.2).

A SQLite file beside the queue, and not in it: losing it loses no mail, and another process may read it while the server
runs (a rollback journal, not the WAL). A damaged row is dropped and told of; a file that is no database at all is set
aside. Whoever can write the file can make this machine forget a policy, as with the queue.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from letterlock.mtasts import Change, KnownPolicy, Mode, StsPolicy
from letterlock.queue.store import StoreFailed
from letterlock.store.statements import read_statements
from letterlock.store.writer import Writer

log = logging.getLogger("letterlock.store")
FILE = "policies.db"
VERSION = 1
MAX_POLICIES = 100_000
_Row = tuple[Any, ...]


class Damaged(Exception):
    """A row cannot be read as a policy."""


_SQL = read_statements((files("letterlock.store") / "sql" / "sts.sql").read_text())


class PolicyStore:
    """KnownPolicy rows, one a domain, at most `max_policies`. Open one with `PolicyStore.open`.

    Every verb may raise StoreFailed. What `save` and `delete` wrote is on disk when they return.
    """

    def __init__(self, connection: sqlite3.Connection, max_policies: int) -> None:
        self._writer = Writer(connection)
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
            return cls(_connect_or_begin_anew(path), max_policies)
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(f"cannot open the remembered policies {path}: {error}") from None

    async def load(self, domain: str) -> KnownPolicy | None:
        """What is remembered of one domain, expired or not."""
        found = await self._writer.do_aside(lambda db: _read(db, "one", domain))
        return found[0] if found else None

    async def load_all(self) -> Sequence[KnownPolicy]:
        """Everything that is remembered, by domain."""
        return await self._writer.do_aside(lambda db: _read(db, "all"))

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        """Policies that hold and are to be fetched again, the longest due first."""
        return await self._writer.do_aside(lambda db: _read(db, "due", now, limit))

    async def save(self, known: KnownPolicy) -> None:
        """Replace what is remembered of its domain. When there are too many, those that expire first are forgotten."""
        row = _row(known)

        def work(db: sqlite3.Connection) -> None:
            db.execute(_SQL["save"], row)
            db.execute(_SQL["make_room"], (known.domain, self._max_policies))

        await self._writer.do_aside(work)

    async def delete(self, domain: str) -> None:
        """Forget a domain."""
        await self._writer.do_aside(lambda db: _delete(db, domain))

    async def close(self) -> None:
        """Finish what was asked for, and close the file."""
        await self._writer.close()


def _connect_or_begin_anew(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error, OSError, StoreFailed."""
    try:
        return _connect(str(path))
    except sqlite3.OperationalError:
        raise  # locked, or the disk: not the file's fault
    except sqlite3.DatabaseError as error:
        log.critical("%s: %s: set aside; policies are fetched anew", path, error)
        path.replace(path.with_suffix(".damaged"))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return _connect(str(path))


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text  # octets that are no UTF-8 damage one row, not the reading of all
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, path)
    except (sqlite3.Error, StoreFailed):
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SQL['schema']} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise StoreFailed(f"{path} was written by a newer Letterlock (version {version}, this one knows {VERSION})")


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
        except Damaged as error:
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
    """Raises Damaged."""
    try:
        return _parse(*row)
    except (TypeError, ValueError, RecursionError) as error:
        raise Damaged(str(error)) from None


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
