"""Counts attempts for the statistics: an observer that works in memory, and writes down what it counted.

Every STATISTICS_FLUSH_SECONDS, and before it ends, what was counted goes into the database that all workers share. A
worker that is killed loses what it counted since; a database that cannot be written delays it.
"""

import asyncio
import logging
from collections.abc import Callable

from letterlock.ports import Clock
from letterlock.queue.observing import Watcher
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.state.statistics_rows import HOUR_SECONDS, OTHER_DESTINATIONS, DeliveryShape, KeptPeriods
from letterlock.state.statistics_store import StatisticsKey, StatisticsStore
from letterlock.statistics.delivery_facts import AttemptFacts, facts_of, shape_of

log = logging.getLogger("letterlock.statistics")
STATISTICS_FLUSH_SECONDS = 15.0  # chosen: what a killed worker loses, and how late `letterlock stats` is
MAX_COUNTED_APART = 5_000  # between two flushes: some 15,000 rows, written in a tenth of a second aside


class StatisticsCollector(Watcher):
    """Counts attempts by hour, destination and facts; `run` writes down what was counted."""

    def __init__(self, store: StatisticsStore, clock: Clock, kept: Callable[[], KeptPeriods]) -> None:
        self._store = store
        self._clock = clock
        self._kept = kept
        self._counts: dict[tuple[int, str, AttemptFacts], int] = {}
        self.failing = False  # the last try to write failed

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:  # noqa: ARG002  # the port's signature
        """Count an attempt."""
        if not attempt.outcomes:
            return
        self._count((int(attempt.ended_at // HOUR_SECONDS), attempt.next_hop, facts_of(attempt)), 1)

    def _count(self, key: tuple[int, str, AttemptFacts], number: int) -> None:
        counts = self._counts
        if (before := counts.get(key)) is not None:
            counts[key] = before + number
        elif len(counts) < MAX_COUNTED_APART:
            counts[key] = number
        else:  # these few differ only by what OpenSSL can negotiate, and by our own reason codes
            others = key[0], OTHER_DESTINATIONS, key[2]
            counts[others] = counts.get(others, 0) + number

    async def run(self) -> None:
        """Write down what was counted at intervals, until cancelled; `flush` writes the rest."""
        while True:
            await asyncio.sleep(STATISTICS_FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write down what was counted. What cannot be written stays, and is counted on."""
        if not self._counts:
            return
        counted, self._counts = self._counts, {}
        try:
            await self._store.add(_as_rows(counted), self._kept(), self._clock.now())
        except StoreFailed as error:
            if not self.failing:
                log.warning("what is counted for the statistics waits: %s", error)
            self.failing = True
            for key, number in counted.items():
                self._count(key, number)
        else:
            self.failing = False


def _as_rows(counted: dict[tuple[int, str, AttemptFacts], int]) -> dict[StatisticsKey, int]:
    shapes: dict[AttemptFacts, DeliveryShape] = {}
    rows: dict[StatisticsKey, int] = {}
    for (hour, destination, facts), number in counted.items():
        if (shape := shapes.get(facts)) is None:
            shape = shapes[facts] = shape_of(facts)
        key = StatisticsKey(hour * HOUR_SECONDS, destination, shape)
        rows[key] = rows.get(key, 0) + number
    return rows
