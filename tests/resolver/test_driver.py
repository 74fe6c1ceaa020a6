"""The driver: what it waits for and what not, who gets a slot, and which event loop it belongs to."""

import asyncio
from collections.abc import Callable

import dns.message
import dns.name
import pytest

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.resolver import Answer, FailureKind, LookupFailure, Resolver, Security, driver
from letterlock.resolver.answer import NoUpstream
from letterlock.resolver.fair_slots import FairSlots, Holder, domain_of

NOW = 1_800_000_000.0


class World:
    """A signed root and `test.`, an unsigned and a signed domain; some questions may hang."""

    def __init__(self, hangs: Callable[[str], bool] = lambda _: False) -> None:
        root, top = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make())
        signed, unsigned = Zone("signed.test.", key=ZoneKey.make()), Zone("unsigned.test.")
        root.delegate(top)
        for zone in (signed, unsigned):
            zone.add("@", "MX", f"10 mx.{zone.origin}")
            zone.add("mx", "A", "192.0.2.1")
            top.delegate(zone)
        for zone in (root, top, signed, unsigned):
            zone.publish(Validity.around(NOW))
        self.names = NameSpace([root, top, signed, unsigned])
        self.hangs = hangs
        self.asked: list[str] = []
        self.time = NOW
        self.resolver = Resolver(self.transport, anchors=[self.names.anchor()], now=lambda: self.time)

    async def transport(self, wire: bytes, _tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        self.asked.append(query.question[0].to_text())
        if self.hangs(self.asked[-1]):
            await asyncio.Event().wait()
        return self.names.answer(query).to_wire(max_size=65_535)

    async def answer(self, name: str, rdtype: str) -> Answer:
        async with asyncio.timeout(20):  # against a test that hangs
            found = await self.resolver.resolve(name, rdtype)
        assert isinstance(found, Answer), found
        return found


@pytest.mark.parametrize(
    ("name", "needless"),
    [("mx.unsigned.test", "mx.unsigned.test. IN DS"), ("unsigned.test", "unsigned.test. IN DNSKEY")],
)
async def test_a_query_that_was_sent_in_advance_and_is_not_needed_is_not_waited_for(name: str, needless: str) -> None:
    world = World(lambda question: question == needless)
    assert (await world.answer(name, "A" if name.startswith("mx") else "MX")).security is Security.INSECURE


async def test_a_needless_name_inside_a_signed_zone_is_not_waited_for() -> None:
    """The signature names the zone, so nothing below it matters."""
    world = World(lambda question: question.startswith("a.b.c.mx.signed.test. IN D"))
    found = await world.resolver.resolve("a.b.c.mx.signed.test", "TXT")
    assert isinstance(found, Answer)
    assert found.secure


async def test_a_lookup_whose_own_question_fails_waits_for_nothing_else() -> None:
    world = World(lambda question: not question.startswith("mx."))

    async def transport(wire: bytes, tcp: bool) -> bytes:
        if dns.message.from_wire(wire).question[0].name.labels[0] == b"mx":
            raise NoUpstream("nobody is there")
        return await world.transport(wire, tcp)

    resolver = Resolver(transport, anchors=[world.names.anchor()], now=NOW)
    async with asyncio.timeout(20):
        found = await resolver.resolve("mx.unsigned.test", "A")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.NO_UPSTREAM


async def test_keys_below_a_proven_absence_of_ds_are_not_asked_for() -> None:
    world = World()
    await world.answer("unsigned.test", "MX")
    assert sorted(world.asked) == [
        ". IN DNSKEY",
        "test. IN DNSKEY",
        "test. IN DS",
        "unsigned.test. IN DS",
        "unsigned.test. IN MX",
    ]


async def test_a_signed_domain_costs_one_more_query_for_its_keys() -> None:
    world = World()
    assert (await world.answer("signed.test", "MX")).secure
    assert len(world.asked) == 6


def test_a_resolver_can_be_used_in_one_event_loop_after_another() -> None:
    world = World()
    for name in ("mx.signed.test", "mx.unsigned.test", "mx.signed.test"):
        assert asyncio.run(world.answer(name, "A")).records


def test_a_lookup_that_was_broken_off_with_its_loop_begins_anew_in_the_next() -> None:
    world = World(lambda question: question == "mx.signed.test. IN A")

    async def broken_off() -> None:
        asking = asyncio.create_task(world.resolver.resolve("mx.signed.test", "A"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asking.done()

    asyncio.run(broken_off())
    world.hangs = lambda _: False
    assert asyncio.run(world.answer("mx.signed.test", "A")).secure


async def test_two_event_loops_at_once_are_refused_in_plain_words() -> None:
    world = World()
    await world.answer("mx.signed.test", "A")
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(world.answer("mx.unsigned.test", "A")))


async def test_rfc1035_3_2_1_the_ttl_of_an_answer_from_the_cache_is_what_is_left() -> None:
    world = World()
    assert (await world.answer("mx.signed.test", "A")).ttl == 300
    for passed in (1, 120, 299):
        world.time = NOW + passed
        found = await world.answer("mx.signed.test", "A")
        assert (found.ttl, found.expires_at) == (300 - passed, NOW + 300)
    assert world.asked.count("mx.signed.test. IN A") == 1


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Log(list[str]):
    """Who got a slot, in order."""


class GaveWay(Exception):
    """Others took the slot."""


class Waiter(Holder):
    """One who waits for a slot, for a task."""

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self.begun.set_result(None)

    def give_way(self, why: str) -> None:
        self.gone.set_exception(GaveWay(why))

    def leave(self, _ended: object) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


async def hold(slots: FairSlots, group: str, log: Log, until: asyncio.Event) -> None:
    waiter = Waiter(group)
    slots.take(waiter)
    ended = asyncio.create_task(until.wait())
    ended.add_done_callback(waiter.leave)
    try:
        await waiter.begun
        log.append(group)
        await waiter.gone
    finally:
        ended.cancel()
        slots.end(waiter)


async def test_slots_go_to_the_group_that_holds_the_fewest() -> None:
    slots, log, until = FairSlots(3, 0, 1_000), Log(), asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, "slow", log, until)) for _ in range(10)]
    await turns()
    tasks += [asyncio.create_task(hold(slots, group, log, until)) for group in ("one", "two", "one")]
    await turns()
    assert log == ["slow", "slow", "slow"]
    tasks[0].cancel()
    tasks[1].cancel()
    await turns()
    assert set(log[3:]) == {"one", "two"}
    until.set()
    await asyncio.wait(tasks)
    assert log.count("slow") == 10
    assert log.count("one") == 2


async def test_who_takes_long_is_set_aside_for_others_and_goes_on() -> None:
    slots, log, until = FairSlots(2, 10, 0), Log(), asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, "slow", log, until)) for _ in range(3)]
    await turns()
    assert log == ["slow", "slow"]  # not for its own kind
    tasks += [asyncio.create_task(hold(slots, group, log, until)) for group in ("one", "two")]
    await turns()
    assert {"one", "two"} <= set(log)
    until.set()
    await asyncio.gather(*tasks)


async def test_when_too_many_are_aside_the_oldest_of_the_largest_group_gives_way() -> None:
    slots, log, until = FairSlots(2, 2, 0), Log(), asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, "slow", log, until)) for _ in range(2)]
    await turns()
    for number in range(6):
        tasks.append(asyncio.create_task(hold(slots, f"other{number}", log, until)))
        await turns()
    assert len(log) == 8
    until.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    gone = [number for number, each in enumerate(ended) if isinstance(each, GaveWay)]
    assert gone
    assert gone[0] == 0
    assert ended[-1] is None


async def test_whoever_gives_up_waiting_keeps_no_slot() -> None:
    slots, log, until = FairSlots(1, 0, 1_000), Log(), asyncio.Event()
    first = asyncio.create_task(hold(slots, "a", log, until))
    waiting = [asyncio.create_task(hold(slots, group, log, until)) for group in "bcd"]
    await turns()
    waiting[0].cancel()
    first.cancel()
    waiting[1].cancel()  # in the very turn in which it is given the slot, or just before
    await turns()
    assert len(log) == 2
    until.set()
    await asyncio.wait([first, *waiting])
    late = Waiter("e")
    slots.take(late)
    assert late.begun.done()


@pytest.mark.parametrize("zones", [1, 1_000])
async def test_a_thousand_slow_names_do_not_hold_up_an_honest_one(monkeypatch: pytest.MonkeyPatch, zones: int) -> None:
    monkeypatch.setattr(driver, "PATIENCE_SECONDS", 0)
    world = World(lambda question: "slow" in question)
    slow = [
        asyncio.create_task(world.resolver.resolve(f"n{number}.slow{number % zones}.test", "A"))
        for number in range(1_000)
    ]
    await turns()
    assert (await world.answer("mx.signed.test", "A")).secure
    waiting = [each for each in slow if not each.done()]
    assert waiting
    for each in slow:
        each.cancel()
    await asyncio.wait(slow)


async def test_a_lookup_that_gave_way_is_a_failure_and_not_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(driver, "MAX_LOOKUPS", 1)
    monkeypatch.setattr(driver, "LOOKUPS_ASIDE", 0)
    world = World(lambda question: "slow" in question)
    slow = asyncio.create_task(world.resolver.resolve("mx.slow.test", "A"))
    await turns()
    assert (await world.answer("mx.signed.test", "A")).secure
    found = await slow
    assert isinstance(found, LookupFailure)
    assert (found.kind, found.ede) == (FailureKind.TIMEOUT, 22)


async def test_what_nobody_foresaw_is_raised_for_all_who_wait_and_is_not_kept() -> None:
    world, begun = World(), asyncio.Event()

    async def broken(wire: bytes, tcp: bool) -> bytes:
        begun.set()
        await asyncio.sleep(0)
        raise LookupError("a bug")

    resolver = Resolver(broken, now=NOW)
    waiting = [asyncio.create_task(resolver.resolve("mx.signed.test", "A")) for _ in range(3)]
    await begun.wait()
    waiting[0].cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError, LookupError, LookupError]
    with pytest.raises(LookupError):
        await resolver.resolve("mx.signed.test", "A")
    assert (await world.answer("mx.signed.test", "A")).secure


async def test_a_lookup_that_ends_without_a_query_has_its_result_for_whoever_asked() -> None:
    world = World()
    absent = await world.answer("b.signed.test", "A")
    assert absent.absence is not None
    world.asked.clear()
    found = await world.answer("b.signed.test", "TXT")
    assert found.absence is absent.absence


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.b.example.org.", (b"example", b"org")),
        ("mx.example.co.uk.", (b"example", b"co", b"uk")),
        ("co.uk.", (b"co", b"uk")),
        ("mx.firma.de.", (b"firma", b"de")),
        (".", ()),
    ],
)
def test_names_are_grouped_by_who_probably_holds_them(name: str, domain: tuple[bytes, ...]) -> None:
    assert domain_of(dns.name.from_text(name)) == domain
