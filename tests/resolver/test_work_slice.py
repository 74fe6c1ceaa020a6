"""How much of a turn of the event loop lookups get, by a clock that only work moves."""

import asyncio
from collections import Counter

import pytest

from letterlock.resolver.work_slice import MAX_SLICE_SECONDS, SLICE_SECONDS, WorkSlice

STEPS = 2000
STEP_SECONDS = 0.0001  # what one takes that verifies nothing


class Load:
    """Steps of lookups, and other work in each turn."""

    def __init__(self, step: float, others: float) -> None:
        self.now, self.step, self.others = 0.0, step, others
        self.turns = 0
        self.all_done = asyncio.Event()
        self.done = 0
        self.steps_in_turn: Counter[int] = Counter()
        self.slice = WorkSlice(lambda: self.now)

    def turn(self) -> None:
        """What others do in this turn, as long as steps are left."""
        self.turns += 1
        self.now += self.others
        if self.done < STEPS:
            asyncio.get_running_loop().call_soon(self.turn)

    def one(self) -> None:
        self.now += self.step
        self.done += 1
        self.steps_in_turn[self.turns] += 1
        if self.done == STEPS:
            self.all_done.set()

    async def run(self) -> None:
        self.turn()
        for _ in range(STEPS):
            self.slice.call(self.one)
        async with asyncio.timeout(20):  # against a test that hangs
            await self.all_done.wait()


async def test_work_that_is_light_gets_its_whole_slice_however_many_wait() -> None:
    load = Load(STEP_SECONDS, others=0.0)
    await load.run()
    whole = SLICE_SECONDS / STEP_SECONDS
    assert load.turns < 2 * STEPS / whole
    assert max(load.steps_in_turn.values()) <= whole + 2


@pytest.mark.parametrize("others", [0.006, 0.012])
async def test_in_turns_that_others_make_long_lookups_get_about_half(others: float) -> None:
    load = Load(STEP_SECONDS, others)
    await load.run()
    of_lookups = STEPS * STEP_SECONDS / load.now
    assert 0.3 < of_lookups < 0.6


async def test_the_slice_is_bounded_however_long_a_turn_was() -> None:
    load = Load(STEP_SECONDS, others=5.0)
    await load.run()
    assert max(load.steps_in_turn.values()) * STEP_SECONDS <= MAX_SLICE_SECONDS + 2 * STEP_SECONDS


async def test_steps_that_cost_more_than_expected_do_not_make_a_turn_longer() -> None:
    load = Load(20 * STEP_SECONDS, others=0.0)
    await load.run()
    assert max(load.steps_in_turn.values()) * load.step <= SLICE_SECONDS + load.step


async def test_work_that_goes_on_for_long_gives_way_to_others_and_comes_again() -> None:
    load = Load(SLICE_SECONDS / 2, others=0.0)
    order: list[str] = []

    def long(name: str) -> None:
        while order.count(name) < 6:
            load.now += load.step
            order.append(name)
            if load.slice.over:
                load.slice.call(lambda: long(name))
                return

    load.slice.call(lambda: long("one"))
    load.slice.call(lambda: long("two"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (order.count("one"), order.count("two")) == (6, 6)
    assert order.index("two") < 6


async def test_a_part_of_work_is_done_with_it_and_counted_once() -> None:
    load = Load(SLICE_SECONDS / 4, others=0.0)
    load.slice.call(lambda: load.slice.call(load.one))
    assert load.done == 1
    load.slice.call(load.one)
    load.slice.call(load.one)
    load.slice.call(load.one)
    assert load.done == 4
    assert not load.slice.over
