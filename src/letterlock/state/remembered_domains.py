"""What is remembered of domains, on disk, for all workers and over restarts.

A SQLite file beside the queue, and not in it: losing it loses no mail, and `letterlock memory` may read it while the
server runs (a rollback journal, not the WAL). Sightings are worked into the stored row in one transaction, so no
worker's copy can win over another's.

Unlike remembered MTA-STS policies, a damaged file is never set aside without an operator: to damage it would make the
server forget what it holds mail for. Every verb fails until an operator has it begin anew; a damaged row fails for its
domain alone. A user who can write the file can make this machine forget, as with the queue.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from letterlock.memory.learning import Learned, Sighting, compared, learn
from letterlock.memory.memory_text import DamagedRecord, from_json, to_json
from letterlock.memory.remembered import ALARM_SECONDS, DomainMemory
from letterlock.memory.traces import LIFETIME_SECONDS
from letterlock.queue.store import NewerStore, StoreFailed, StoreFull
from letterlock.sqlite.glance import Glance, NotSeen
from letterlock.sqlite.named import read_statements
from letterlock.sqlite.writer import Writer, explain

log = logging.getLogger("letterlock.memory")
FILE = "memory.db"
VERSION = 1  # of the schema
MAX_DOMAINS = 100_000  # some 100 MB of disk, and more domains than one server writes to
ROOM_SHARE = 0.01  # dropped at once to make room, because choosing looks at every row
_WHAT = "the database of remembered domains"

_SQL = read_statements((files("letterlock.state") / "sql" / "memory.sql").read_text())


class MemoryDamaged(StoreFailed):
    """The file, or a domain's row, cannot be read: what was remembered is unknown."""

    hint = "restore memory.db from a backup, or begin anew: letterlock memory forget --all"


class DomainMemoryStore:
    """One row a domain, at most `max_domains`. Open one with `DomainMemoryStore.open`.

    Every verb may raise StoreFailed.
    """

    def __init__(self, path: Path | None, max_domains: int) -> None:
        self._path = path
        self._max_domains = max_domains
        self._damage: str | None = None
        self._writer = Writer(self._connect())
        self._glance = Glance(path, _text)

    @classmethod
    def open(cls, directory: Path | None, *, max_domains: int = MAX_DOMAINS) -> "DomainMemoryStore":
        """Open, or make, the file in a directory; without one, remember in memory only. Raises StoreFailed."""
        return cls(None if directory is None else directory / FILE, max_domains)

    def _connect(self) -> sqlite3.Connection:
        """The database; one in memory that nobody uses, while the file is damaged. Raises StoreFailed."""
        try:
            return _connect(self._path)
        except sqlite3.OperationalError as error:
            raise StoreFailed(f"cannot open {self._path}: {error}") from None  # locked, or the disk
        except sqlite3.DatabaseError as error:
            self._damage = f"{self._path} is damaged: {error}"
            log.critical("%s; hint: %s", self._damage, MemoryDamaged.hint)
            return _connect(None)
        except OSError as error:
            raise StoreFailed(f"cannot open {self._path}: {error.strerror}") from None

    def _check(self) -> None:
        if self._damage is not None:
            raise MemoryDamaged(self._damage)

    async def load(self, domain: str) -> DomainMemory | None:
        """What is remembered of a domain."""
        self._check()
        try:
            row = self._glance.row(_SQL["one"], (domain,))
        except NotSeen:
            row = await self._writer.do_aside(lambda db: db.execute(_SQL["one"], (domain,)).fetchone())
        return None if row is None else _read(domain, str(row[0]))

    async def learn(self, sightings: Sequence[Sighting], now: float) -> Sequence[Learned]:
        """Work sightings into what is remembered; which differences began and ended with each domain's."""
        self._check()

        def work(db: sqlite3.Connection) -> list[Learned]:
            groups: dict[str, list[Sighting]] = {}
            for each in sightings:
                groups.setdefault(each.domain, []).append(each)
            found = [_learn(db, domain, group) for domain, group in groups.items()]
            self._make_room(db, now)
            return [each for each in found if each is not None]

        return await self._writer.do_aside(work)

    async def forget(self, domains: Sequence[str] | None) -> int:
        """Forget domains, or everything (None), a damaged file included, which is set aside; how many were known."""
        if domains is not None:
            self._check()

        def work(db: sqlite3.Connection) -> int:
            if domains is None:
                return db.execute(_SQL["delete_all"]).rowcount
            return sum(db.execute(_SQL["delete"], (each,)).rowcount for each in domains)

        if self._damage is None:
            try:
                return await self._writer.do_aside(work)
            except StoreFull:
                raise
            except StoreFailed as error:
                if domains is not None:
                    raise
                log.critical("%s", error)
        await self._begin_anew()
        return 0

    async def page(self, after: str, limit: int) -> Sequence[tuple[str, DomainMemory | None]]:
        """The domains behind `after`, in their order; None for a damaged row."""
        self._check()
        return await self._writer.do_aside(lambda db: _rows(db.execute(_SQL["page"], (after, limit))))

    async def alarms(self, now: float, limit: int) -> Sequence[DomainMemory]:
        """The domains at which a difference was seen these days, the last ones first."""
        self._check()
        rows = await self._writer.do_aside(lambda db: _rows(db.execute(_SQL["changed"], (now - ALARM_SECONDS, limit))))
        return [memory for _, memory in rows if memory is not None and memory.alarms(now)]

    async def count(self) -> int:
        """How many domains are remembered."""
        self._check()
        return await self._writer.do_aside(lambda db: int(db.execute(_SQL["count"]).fetchone()[0]))

    async def close(self) -> None:
        """Finish what was asked for, and close the file."""
        self._glance.close()
        await self._writer.close()

    def _make_room(self, db: sqlite3.Connection, now: float) -> None:
        """Forget what has faded, then what crowds, when there is more than may be."""
        room = max(1, int(self._max_domains * ROOM_SHARE))
        for statement, values in (("forget_faded", ("", now - LIFETIME_SECONDS)), ("forget_crowding", ("",))):
            (count,) = db.execute(_SQL["count"]).fetchone()
            if count > self._max_domains:
                db.execute(_SQL[statement], (*values, count - self._max_domains + room - 1))

    async def _begin_anew(self) -> None:
        """Set the damaged file aside, unless another worker has done so already. Raises StoreFailed."""
        try:
            try:
                fresh = _connect(self._path)
                fresh.execute(_SQL["count"]).fetchone()
            except sqlite3.OperationalError:
                raise  # locked, or the disk: not the file's fault
            except sqlite3.DatabaseError:
                if self._path is not None:
                    self._path.replace(self._path.with_suffix(".damaged"))
                fresh = _connect(self._path)
        except (sqlite3.Error, OSError) as error:
            raise explain(error, _WHAT) from None
        self._glance.close()  # what it sees is the file that was set aside
        old, self._writer = self._writer, Writer(fresh)
        self._damage = None
        await old.close()


def _connect(path: Path | None) -> sqlite3.Connection:
    """Raises sqlite3.Error, OSError, StoreFailed."""
    if path is not None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(":memory:" if path is None else path, isolation_level=None, check_same_thread=False)
    connection.create_function("suffix", 2, _suffix, deterministic=True)
    connection.text_factory = _text  # octets that are no UTF-8 damage one row, not the reading of all
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number in range(version + 1, VERSION + 1):
            for statement in _SQL[f"version_{number}"].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
        if version > VERSION:
            raise NewerStore(f"{path} was written by a newer Letterlock (version {version}, this one knows {VERSION})")
    except (sqlite3.Error, StoreFailed):
        connection.close()
        raise
    return connection


def _suffix(domain: str, labels: int) -> str:
    """The last labels of a domain, as an SQL function."""
    return ".".join(domain.split(".")[-labels:])


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _read(domain: str, text: str) -> DomainMemory:
    try:
        return from_json(domain, text)
    except DamagedRecord as error:
        raise MemoryDamaged(
            f"what is remembered of {domain} is damaged ({error}); hint: letterlock memory forget {domain}"
        ) from None


def _rows(rows: Iterable[tuple[str, str]]) -> list[tuple[str, DomainMemory | None]]:
    found: list[tuple[str, DomainMemory | None]] = []
    for domain, text in rows:
        try:
            found.append((domain, from_json(domain, text)))
        except DamagedRecord:
            found.append((domain, None))
    return found


def _learn(db: sqlite3.Connection, domain: str, sightings: Sequence[Sighting]) -> Learned | None:
    """Work one domain's sightings in. A damaged row stays as it is, for an operator."""
    row = db.execute(_SQL["one"], (domain,)).fetchone()
    try:
        before = None if row is None else from_json(domain, row[0])
    except DamagedRecord as error:
        log.critical(
            "what is remembered of %s is damaged (%s); hint: letterlock memory forget %s", domain, error, domain
        )
        return None
    after = before
    for each in sightings:
        after = learn(after, each)
    if after is not None and after != before:
        changed_at = max((each.last for each in after.changes), default=0.0)
        db.execute(_SQL["save"], (domain, to_json(after), after.last, changed_at))
    return compared(before, after)
