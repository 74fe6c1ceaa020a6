"""The observer: bounded, in memory, and nothing is lost while the database cannot be written."""

from dataclasses import replace

import pytest
from bench.counting import usual_case

from letterlock.policy.decision import Achieved, Level
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt
from letterlock.state.statistics_rows import OTHER_DESTINATIONS, DeliveryShape, Grain
from letterlock.state.statistics_store import StatisticsStore
from letterlock.statistics import statistics_collector as collecting
from letterlock.statistics.statistics_collector import StatisticsCollector
from letterlock.statistics.statistics_options import StatisticsOptions
from tests.deliver.world import HandClock

KEPT = StatisticsOptions().kept
NOW = 1_800_000_000.0
EVER = (0, 2_000_000_000)
TASK, USUAL = usual_case()[2:]


def to(next_hop: str, at: float = NOW) -> Attempt:
    return replace(USUAL, next_hop=next_hop, ended_at=at, achieved=Achieved(level=Level.CLEAR))


class Failing:
    """A database that cannot be written for a while."""

    def __init__(self, store: StatisticsStore) -> None:
        self.store = store
        self.fails = True

    async def add(self, *arguments: object) -> None:
        if self.fails:
            raise StoreFailed("the disk with the queue is full")
        await self.store.add(*arguments)  # type: ignore[arg-type]  # as they came


async def test_counts_wait_while_the_database_fails_and_none_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    store = StatisticsStore.open(None)
    failing = Failing(store)
    collector = StatisticsCollector(failing, HandClock(), lambda: KEPT)  # type: ignore[arg-type]  # the verb it uses
    for _ in range(3):
        collector.attempted(TASK, to("a.example"))
        await collector.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"], "once, until it works again"
    states = [collector.failing]
    failing.fails = False
    await collector.flush()
    await collector.flush()
    states.append(collector.failing)
    assert states == [True, False]
    (found,) = await store.totals(Grain.HOUR, *EVER)
    assert found.attempts == 3
    assert found.shape == DeliveryShape("delivered", protection="clear")
    await store.close()


async def test_memory_is_bounded_and_the_total_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MAX_COUNTED_APART", 10)
    store = StatisticsStore.open(None)
    collector = StatisticsCollector(store, HandClock(), lambda: KEPT)
    for number in range(100):
        collector.attempted(TASK, to(f"d{number}.example"))
    assert len(collector._counts) == 11
    await collector.flush()
    assert (await store.largest(Grain.HOUR, *EVER, 100))[1] == 10
    assert sum(each.attempts for each in await store.totals(Grain.HOUR, *EVER)) == 100
    (others,) = await store.of_destination(Grain.HOUR, *EVER, OTHER_DESTINATIONS)
    assert others.attempts == 90
    await store.close()


async def test_each_attempt_counts_in_the_hour_in_which_it_ended() -> None:
    store = StatisticsStore.open(None)
    collector = StatisticsCollector(store, HandClock(), lambda: KEPT)
    for at in (NOW - 1, NOW, NOW + 3_599):
        collector.attempted(TASK, to("a.example", at))
    await collector.flush()
    assert [(each.start - NOW, each.attempts) for each in await store.totals(Grain.HOUR, *EVER)] == [
        (-3_600, 1),
        (0, 2),
    ]
    await store.close()


async def test_an_attempt_without_outcomes_counts_for_nothing() -> None:
    store = StatisticsStore.open(None)
    collector = StatisticsCollector(store, HandClock(), lambda: KEPT)
    collector.attempted(TASK, replace(USUAL, outcomes=()))
    await collector.flush()
    assert await store.totals(Grain.HOUR, *EVER) == []
    await store.close()
