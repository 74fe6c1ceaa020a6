"""The statistics of deliveries, in one database for all workers.

A SQLite file beside the queue, and not in it: losing it loses no mail, and `letterlock stats` may read it while the
server runs (a rollback journal, not the WAL). What workers add is added up by the database, in one transaction each, so
no worker's copy can win over another's.

It is bounded: a period names at most twice `KeptPeriods.destinations`, in twice as many rows. Where there would be
more, the destinations with the fewest attempts are added to OTHER_DESTINATIONS, until half of that is left; so there is
always room for those that come next, and one with much mail stays, whenever it comes. Totals are exact whatever is
named.
"""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from letterlock.sqlite.named import read_statements
from letterlock.sqlite.side_file import SideFile
from letterlock.sqlite.writer import Writer
from letterlock.state.statistics_rows import OTHER_DESTINATIONS, Counted, DeliveryShape, Grain, KeptPeriods

STATISTICS_FILE = "statistics.db"
STATISTICS_VERSION = 1  # of the schema
MAX_SHAPES = 4_000  # different ones in the database: what servers can vary is then counted as `other`
MAX_SHAPES_OF_DESTINATION = 16  # by name, per period: a destination whose servers vary their ciphers has no more
ROWS_PER_DESTINATION = 2  # kept per period, on the average: most have one shape, and the largest may have more
STATISTICS_LOCK_SECONDS = 20.0  # chosen: a commit on a slow disk, with several workers before us

_SQL = read_statements((files("letterlock.state") / "sql" / "statistics.sql").read_text())
_FILE = SideFile("statistics", _SQL, STATISTICS_VERSION, STATISTICS_LOCK_SECONDS)


class StatisticsKey(NamedTuple):
    """What is counted together: the hour (its start, seconds since 1970), the destination and the shape."""

    hour: int
    destination: str
    shape: DeliveryShape


class StatisticsStore:
    """The database. Open one with `StatisticsStore.open`. Every verb may raise StoreFailed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._writer = Writer(connection)
        self._shapes: dict[DeliveryShape, int] = {}  # numbers that are committed
        self._trimmed_at = -1

    @classmethod
    def open(cls, directory: Path | None) -> "StatisticsStore":
        """Open, or make, the file in a directory; without one, a store in memory. Raises StoreFailed."""
        return cls(_FILE.open(None if directory is None else directory / STATISTICS_FILE))

    async def close(self) -> None:
        """Finish what was asked for, and close the file."""
        await self._writer.close()

    async def add(self, counts: Mapping[StatisticsKey, int], kept: KeptPeriods, now: float) -> None:
        """Add attempts to what is counted already; once an hour, forget what is older than is kept."""
        hour = Grain.HOUR.start(now)
        trims = hour != self._trimmed_at
        periods = _by_period(counts)

        def work(db: sqlite3.Connection) -> dict[DeliveryShape, int]:
            addition = _Addition(db, dict(self._shapes))
            for (grain, start), rows in periods.items():
                addition.add(grain, start, rows)
                _fold(db, grain, start, kept.destinations)
            if trims:
                _forget(db, kept, now)
            return addition.shapes

        self._shapes = await self._writer.do_aside(work)
        self._trimmed_at = hour

    async def totals(self, grain: Grain, since: int, until: int) -> Sequence[Counted]:
        """Attempts to all destinations, in periods that began from `since` on and before `until`."""
        rows = await self._writer.do_aside(lambda db: db.execute(_SQL["totals"], (grain, since, until)).fetchall())
        return [_counted(row) for row in rows]

    async def of_destination(self, grain: Grain, since: int, until: int, destination: str) -> Sequence[Counted]:
        """The same of one destination."""
        values = (grain, since, until, destination)
        rows = await self._writer.do_aside(lambda db: db.execute(_SQL["of_destination"], values).fetchall())
        return [_counted(row) for row in rows]

    async def largest(self, grain: Grain, since: int, until: int, most: int) -> tuple[Sequence[str], int]:
        """The named destinations with the most attempts, and how many named ones there are."""
        values = (grain, since, until, OTHER_DESTINATIONS, most)
        rows = await self._writer.do_aside(lambda db: db.execute(_SQL["largest"], values).fetchall())
        return [name for name, _ in rows], rows[0][1] if rows else 0


class _Addition:
    """Adds to periods within one transaction. `shapes`: the numbers of shapes, as far as they are known."""

    def __init__(self, db: sqlite3.Connection, shapes: dict[DeliveryShape, int]) -> None:
        self._db = db
        self.shapes = shapes

    def add(self, grain: Grain, start: int, rows: Mapping[tuple[str, DeliveryShape], int]) -> None:
        """Add attempts to one period, by destination and shape."""
        db, totals = self._db, Counter[int]()
        for (destination, shape), attempts in rows.items():
            number = self._number(shape)
            totals[number] += attempts
            values = (grain, start, destination, number, attempts)
            if destination == OTHER_DESTINATIONS:
                db.execute(_SQL["add"], values)
            elif not db.execute(_SQL["add_if_room"], (*values, MAX_SHAPES_OF_DESTINATION)).rowcount:
                db.execute(_SQL["add"], (grain, start, destination, self._number(shape.coarse), attempts))
        db.executemany(_SQL["add_total"], [(grain, start, number, count) for number, count in totals.items()])

    def _number(self, shape: DeliveryShape) -> int:
        """The number of a shape, a new one if need be."""
        if (known := self.shapes.get(shape)) is None:
            known = self.shapes[shape] = self._find(shape)
        return known

    def _find(self, shape: DeliveryShape) -> int:
        found = self._db.execute(_SQL["find_shape"], shape).fetchone()
        if found is not None:
            return int(found[0])
        (number,) = self._db.execute(_SQL["count_shapes"]).fetchone()
        if number >= MAX_SHAPES and shape != shape.coarse:
            return self._number(shape.coarse)
        return int(self._db.execute(_SQL["add_shape"], shape).lastrowid or 0)


_Rows = dict[tuple[str, DeliveryShape], int]


def _by_period(counts: Mapping[StatisticsKey, int]) -> dict[tuple[Grain, int], _Rows]:
    """The counts of each hour, day and month."""
    periods: dict[tuple[Grain, int], _Rows] = {}
    of_hours: dict[int, list[_Rows]] = {}  # the periods that an hour belongs to
    for key, attempts in counts.items():
        if (found := of_hours.get(key.hour)) is None:
            found = of_hours[key.hour] = [periods.setdefault((grain, grain.start(key.hour)), {}) for grain in Grain]
        named = key.destination, key.shape
        for rows in found:
            rows[named] = rows.get(named, 0) + attempts
    return periods


def _fold(db: sqlite3.Connection, grain: Grain, start: int, destinations: int) -> None:
    """Add the smallest destinations of a period to the others, if it names too many."""
    named, rows = db.execute(_SQL["count_destinations"], (grain, start, OTHER_DESTINATIONS)).fetchone()
    if named > 2 * destinations or rows > 2 * ROWS_PER_DESTINATION * destinations:
        values = (grain, start, OTHER_DESTINATIONS, destinations, ROWS_PER_DESTINATION * destinations)
        db.execute(_SQL["fold_smallest"], values)
        db.execute(_SQL["drop_smallest"], values)


def _forget(db: sqlite3.Connection, kept: KeptPeriods, now: float) -> None:
    for grain in Grain:
        oldest = grain.before(now, kept.periods(grain))
        for name in ("forget_rollup", "forget_total"):
            db.execute(_SQL[name], (grain, oldest))


def _counted(row: tuple[int, str, str, str, str, str, str, str, str, str, str, int]) -> Counted:
    start, *shape, attempts = row
    return Counted(int(start), DeliveryShape(*map(str, shape)), int(attempts))
