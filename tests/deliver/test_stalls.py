"""What is in hand when everything stands still, or when the clock is set forward, is delivered once."""

import asyncio
from dataclasses import dataclass, field

import pytest

from letterlock.queue.tasks import Attempt, Lease, Settlement
from tests.deliver.world import ADDRESS, BODY, OPTIONS, HandClock, MemoryDialer, make_task
from tests.memory_store import MemoryStore
from tests.schedule.test_deliverer import Gate, until, working


@dataclass
class Watched(MemoryStore):
    """A real store's rules, and what was settled."""

    clock: HandClock = field(default_factory=HandClock)
    settled: list[Settlement] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        await super().settle(lease, settlement, attempt, now=now)
        self.settled.append(settlement)


async def in_hand(store: Watched) -> None:
    """A message that is due."""
    await store.accept(make_task().envelope, BODY, next_attempt_at=store.clock.now())


@pytest.mark.parametrize("look", [True, False], ids=["queue read first", "delivery ended first"])
async def test_a_stall_beyond_the_lease_neither_loses_nor_repeats_a_delivery(dialer: MemoryDialer, look: bool) -> None:
    store, gate = Watched(), Gate()
    dialer.handlers[ADDRESS] = gate
    await in_hand(store)
    async with working(store, dialer) as deliverer:
        await until(lambda: gate.waiting == 1)
        store.clock.time += 2 * OPTIONS.lease_seconds
        if look:
            deliverer.wake()
            for _ in range(50):
                await asyncio.sleep(0)
        gate.opened.set()
        await until(lambda: store.settled)
    assert gate.most == 1
    assert len(dialer.dialled) == 1
    assert [len(settlement.delivered) for settlement in store.settled] == [1]
