"""Many domains at once: how many, in which order, and what an interrupt leaves."""

import asyncio

import pytest

from letterlock.cli.check.run import AHEAD, run_surveys


class Looking:
    """Looks that end when they are told to; a survey is its domain here."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running = 0
        self.most = 0
        self.ends: dict[str, asyncio.Event] = {}

    async def look(self, domain: str) -> str:
        self.begun.append(domain)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if domain in self.ends:
                await self.ends[domain].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        return domain


async def test_never_more_at_a_time_than_asked_for_and_in_the_order_of_the_names() -> None:
    looking, names = Looking(), [f"d{number}.test" for number in range(100)]
    found = [each async for each in run_surveys(names, looking.look, 7, asyncio.Event())]
    assert found == names
    assert looking.most == 7


async def test_a_slow_one_holds_back_only_so_many_finished_ones() -> None:
    looking, names = Looking(), [f"d{number}.test" for number in range(100)]
    looking.ends[names[0]] = asyncio.Event()
    surveys = run_surveys(names, looking.look, 2, asyncio.Event())
    first = asyncio.ensure_future(anext(surveys))
    for _ in range(300):
        await asyncio.sleep(0)
    assert len(looking.begun) == 2 * AHEAD
    looking.ends[names[0]].set()
    assert await first == names[0]
    assert [each async for each in surveys] == names[1:]


async def test_an_interrupt_ends_it_with_all_that_was_finished_and_leaves_nothing_running() -> None:
    looking, names, stop = Looking(), [f"d{number}.test" for number in range(50)], asyncio.Event()
    looking.ends[names[3]] = asyncio.Event()
    found = []
    async for each in run_surveys(names, looking.look, 4, stop):
        found.append(each)
        if len(found) == 3:
            for _ in range(100):
                await asyncio.sleep(0)
            stop.set()
    assert names[3] not in found
    assert found == sorted(found, key=names.index)
    assert found == [name for name in looking.begun if name != names[3]]
    assert len(found) > 10  # the slow one held them back
    assert looking.running == 0


async def test_what_goes_wrong_in_a_look_is_not_swallowed() -> None:
    async def look(domain: str) -> str:
        raise RuntimeError(domain)

    with pytest.raises(RuntimeError, match=r"a\.test"):
        [each async for each in run_surveys(["a.test"], look, 1, asyncio.Event())]
