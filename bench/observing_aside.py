"""What statistics and memory do from time to time, beside the messages; `bench.observing` prints it.

All of it is CPU time of the process, threads that write to the disk included. A share is that of one processor, which
a relay at full speed uses whole: so it is also what its throughput loses.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from bench.counting import usual_case
from letterlock.memory.learning import Sighting, VerifiedKey
from letterlock.state.remembered_domains import DomainMemoryStore
from letterlock.state.statistics_store import StatisticsStore
from letterlock.statistics.statistics_collector import (
    MAX_COUNTED_APART,
    STATISTICS_FLUSH_SECONDS,
    StatisticsCollector,
)
from letterlock.statistics.statistics_options import StatisticsOptions

ROUNDS = 9  # the median counts
NOW = 1_795_000_000.0  # chosen: some day
LOADED = 500  # rows read: a destination's is read once a second while mail goes there
LEARNED = 200  # hosts with something new to learn, of which one is noted every ten minutes at most


KEPT = StatisticsOptions().kept


class _Now:
    """A clock that stands still."""

    def now(self) -> float:
        """Seconds since 1970."""
        return NOW

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return NOW


async def aside(directory: Path) -> list[str]:
    """The lines to print. `directory`: on the disk that is measured."""
    lines = []
    for destinations in (1, 1_000, MAX_COUNTED_APART):
        seconds = await _statistics_write(directory / f"statistics-{destinations}", destinations)
        share = 100 * seconds / STATISTICS_FLUSH_SECONDS
        what = f"statistics of {destinations} destinations, written every {STATISTICS_FLUSH_SECONDS:.0f} s"
        lines.append(f"{what}: {seconds * 1e3:.1f} ms, {share:.2f} %")
    load, learn = await _memory(directory / "memory")
    lines.append(f"memory, for each destination in use once a second: {load * 1e6:.0f} us, {100 * load:.3f} %")
    lines.append(f"memory, for each host that is noted: {learn * 1e6:.0f} us")
    return lines


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


async def _statistics_write(directory: Path, destinations: int) -> float:
    """The CPU time of one write of what was counted for so many destinations."""
    store = StatisticsStore.open(_made(directory))
    collector = StatisticsCollector(store, _Now(), lambda: KEPT)
    task, usual = usual_case()[2:]
    attempts = [replace(usual, ended_at=NOW, next_hop=f"d{number}.example") for number in range(destinations)]

    async def write() -> None:
        for attempt in attempts:
            collector.attempted(task, attempt)
        began = time.process_time()
        await collector.flush()
        spent.append(time.process_time() - began)

    spent: list[float] = []
    try:
        for _ in range(ROUNDS):
            await write()
    finally:
        await store.close()
    return sorted(spent)[ROUNDS // 2]


async def _memory(directory: Path) -> tuple[float, float]:
    """The CPU time of reading one remembered domain, and of learning one sighting."""
    store = DomainMemoryStore.open(_made(directory))

    async def learn() -> None:
        await store.learn([_sighting(f"d{number}.example") for number in range(LEARNED)], NOW)

    async def load() -> None:
        for number in range(LOADED):
            await store.load(f"d{number % LEARNED}.example")

    try:
        learned = await _median(learn) / LEARNED
        return await _median(load) / LOADED, learned
    finally:
        await store.close()


def _sighting(domain: str) -> Sighting:
    host = f"mx.{domain}"
    return Sighting(
        domain=domain,
        host=host,
        hosts=(host,),
        at=NOW,
        encrypted=True,
        certificate=VerifiedKey("00" * 32, "A public authority"),
    )


async def _median(work: Callable[[], Awaitable[None]]) -> float:
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await work()
        spent.append(time.process_time() - began)
    return sorted(spent)[ROUNDS // 2]
