"""Answers in memory: pinned for one attempt, refreshed while in use, bounded, and never weaker after a failure."""

import asyncio

import pytest

from letterlock.companion import answer_memory
from letterlock.companion.answer_memory import AnswerMemory
from letterlock.companion.deciding import FAILED_SECONDS, MAX_SECONDS, PIN_SECONDS, Decided
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop
from tests.companion.situations import WITHOUT_OLD_TLS
from tests.companion.world import FAILS, World, demand, exception
from tests.discover.test_sts_finder import Clock
from tests.policy.evidence import NOW

HOP = NextHop("example.org")
DANE_ONLY = f"OK dane-only {WITHOUT_OLD_TLS}".encode()


class Deciding:
    """Decides by a world that a test changes; counts."""

    def __init__(self) -> None:
        self.world = World()
        self.count = 0
        self.pause: asyncio.Event | None = None

    async def __call__(self, next_hop: NextHop) -> Decided:
        self.count += 1
        if self.pause is not None:
            await self.pause.wait()
        return await self.world.decided(next_hop.domain)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deciding() -> Deciding:
    return Deciding()


@pytest.fixture
def memory(deciding: Deciding, clock: Clock) -> AnswerMemory:
    return AnswerMemory(deciding, clock.monotonic, size=3)


async def test_the_hosts_of_one_attempt_get_the_same_answer(
    memory: AnswerMemory, deciding: Deciding, clock: Clock
) -> None:
    first = (await memory.find(HOP)).plain
    deciding.world = World(mx=FAILS)
    clock.time += PIN_SECONDS - 1
    assert (await memory.find(HOP)).plain == first == DANE_ONLY
    assert deciding.count == 1


async def test_an_answer_holds_as_long_as_its_records_and_no_longer(
    memory: AnswerMemory, deciding: Deciding, clock: Clock
) -> None:
    await memory.find(HOP)
    clock.time += 301  # the TTL of the records
    await memory.find(HOP)
    assert deciding.count == 2


async def test_an_exception_ends_when_the_operator_said_whatever_the_pin(memory: AnswerMemory) -> None:
    decided = await World(rules=(exception(clear=True, ends=NOW + 2),)).decided()
    assert decided.seconds == 2


async def test_no_answer_is_kept_longer_than_an_hour() -> None:
    decided = await World(mx=("10 mx.example.org.",), rules=(demand(TlsRule.REQUIRE_TLS),)).decided("[192.0.2.7]")
    assert decided.seconds == MAX_SECONDS


async def test_a_failure_is_held_shortly(memory: AnswerMemory, deciding: Deciding, clock: Clock) -> None:
    deciding.world = World(mx=FAILS)
    assert (await memory.find(HOP)).plain.startswith(b"TEMP ")
    await memory.find(HOP)
    assert deciding.count == 1
    clock.time += FAILED_SECONDS
    deciding.world = World()
    assert (await memory.find(HOP)).plain == DANE_ONLY


async def test_a_failed_refresh_does_not_end_an_answer_early(
    memory: AnswerMemory, deciding: Deciding, clock: Clock
) -> None:
    await memory.find(HOP)
    await memory.find(HOP)
    deciding.world = World(mx=FAILS)
    clock.time += 280
    memory.refresh_due()
    await asyncio.gather(*memory._refreshing)
    assert deciding.count == 2
    assert (await memory.find(HOP)).plain == DANE_ONLY
    clock.time += 21
    assert (await memory.find(HOP)).plain.startswith(b"TEMP ")


async def test_what_is_in_use_is_refreshed_before_it_ends(
    memory: AnswerMemory, deciding: Deciding, clock: Clock
) -> None:
    await memory.find(HOP)
    await memory.find(HOP)
    for _ in range(3):
        clock.time += 280
        memory.refresh_due()
        await asyncio.gather(*memory._refreshing)
    assert deciding.count == 4
    assert memory.known(HOP) is not None


async def test_what_was_asked_for_once_ends_and_is_forgotten(
    memory: AnswerMemory, deciding: Deciding, clock: Clock
) -> None:
    await memory.find(HOP)
    clock.time += 280
    memory.refresh_due()
    assert len(memory) == 1
    clock.time += 30
    memory.refresh_due()
    assert (len(memory), deciding.count) == (0, 1)


async def test_the_least_recently_used_go_when_there_are_too_many(memory: AnswerMemory) -> None:
    hops = [NextHop(f"d{number}.example") for number in range(4)]
    for hop in hops[:3]:
        await memory.find(hop)
    memory.known(hops[0])
    await memory.find(hops[3])
    assert [hop for hop, _, _ in memory.dump()] == [hops[2], hops[0], hops[3]]


async def test_all_who_ask_at_once_share_one_decision(memory: AnswerMemory, deciding: Deciding) -> None:
    found = await asyncio.gather(*(memory.find(HOP) for _ in range(50)))
    assert deciding.count == 1
    assert len({each.plain for each in found}) == 1


async def test_a_purge_outlives_a_decision_that_was_under_way(memory: AnswerMemory, deciding: Deciding) -> None:
    deciding.pause = asyncio.Event()
    under_way = asyncio.create_task(memory.find(HOP))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    memory.purge()
    deciding.pause.set()
    assert (await under_way).plain == DANE_ONLY
    assert len(memory) == 0


async def test_a_decision_that_takes_too_long_is_a_temporary_failure(
    memory: AnswerMemory, deciding: Deciding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_memory, "DECIDE_SECONDS", 0.0)
    deciding.pause = asyncio.Event()
    assert (await memory.find(HOP)).plain == b"TEMP not found out within 0 s"


async def test_too_many_decisions_at_once_are_put_off(
    memory: AnswerMemory, deciding: Deciding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_memory, "MAX_DECIDING", 1)
    deciding.pause = asyncio.Event()
    first = asyncio.create_task(memory.find(HOP))
    await asyncio.sleep(0)
    assert (await memory.find(NextHop("other.example"))).plain == b"TEMP too many questions at once"
    deciding.pause.set()
    await first


async def test_what_is_due_takes_no_more_room_than_what_is_remembered(
    memory: AnswerMemory, deciding: Deciding, clock: Clock
) -> None:
    for number in range(200):
        await memory.find(NextHop(f"d{number}.example"))
    assert len(memory._due) <= 4 * 3 + answer_memory.DUE_SLACK
