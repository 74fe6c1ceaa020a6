"""What one lookup proved serves the next ones: keys, denials (RFC 8198), and popular answers kept fresh."""

import asyncio

import dns.message
import pytest

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial, Zone
from letterlock.resolver import Absence, Answer, Resolver, Security

NOW = 1_800_000_000.0


class World:
    """A root, and one signed zone below it; counts what is asked."""

    def __init__(self, denial: Denial) -> None:
        root, zone = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make(), denial=denial)
        zone.add("b", "A", "192.0.2.1")
        zone.add("x", "A", "192.0.2.2")
        root.delegate(zone)
        for each in (root, zone):
            each.publish(Validity.around(NOW))
        self.names = NameSpace([root, zone])
        self.asked: list[str] = []
        self.time = NOW
        self.resolver = Resolver(self.transport, anchors=[self.names.anchor()], now=lambda: self.time)

    async def transport(self, wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        self.asked.append(query.question[0].to_text())
        return self.names.answer(query).to_wire(max_size=65_535)

    async def answer(self, name: str, rdtype: str) -> Answer:
        found = await self.resolver.resolve(name, rdtype)
        assert isinstance(found, Answer)
        return found


@pytest.mark.parametrize("denial", list(Denial))
async def test_rfc8198_5_1_a_neighbours_denial_proves_the_absence_of_a_name_without_asking(denial: Denial) -> None:
    world = World(denial)
    names = [f"n{number}.test" for number in range(20)]
    for name in names:
        found = await world.answer(name, "MX")
        assert (found.absence, found.security) == (Absence.NXDOMAIN, Security.SECURE)
    for_names = {asked.split(".")[0] for asked in world.asked if asked.startswith("n")}
    assert len(for_names) <= 3  # three spans at the most: before b, between b and x, and around


@pytest.mark.parametrize("denial", list(Denial))
async def test_rfc8198_5_2_a_names_own_record_proves_the_absence_of_other_types(denial: Denial) -> None:
    world = World(denial)
    await world.answer("b.test", "AAAA")
    before = len(world.asked)
    found = await world.answer("b.test", "TLSA")
    assert (found.absence, found.security) == (Absence.NODATA, Security.SECURE)
    assert len(world.asked) == before


@pytest.mark.parametrize("denial", list(Denial))
async def test_what_is_there_is_never_denied_by_an_older_proof(denial: Denial) -> None:
    world = World(denial)
    for name in ("a.test", "c.test", "y.test"):
        await world.answer(name, "A")
    assert (await world.answer("x.test", "A")).records
    assert (await world.answer("b.test", "A")).records


async def test_a_kept_denial_ends_with_its_time() -> None:
    world = World(Denial.NSEC)
    first = await world.answer("n1.test", "MX")
    world.time = first.expires_at
    before = len(world.asked)
    await world.answer("n2.test", "MX")
    assert len(world.asked) > before


async def test_the_keys_of_a_zone_are_asked_for_once() -> None:
    world = World(Denial.NSEC)
    for name in ("b.test", "x.test"):
        await world.answer(name, "A")
    assert world.asked.count("test. IN DNSKEY") == 1
    assert world.asked.count("test. IN DS") == 1


async def test_concurrent_lookups_share_their_work() -> None:
    world = World(Denial.NSEC)
    await asyncio.gather(*(world.answer("b.test", "A") for _ in range(50)))
    assert world.asked.count("b.test. IN A") == 1


async def test_a_popular_answer_is_asked_for_again_before_it_runs_out() -> None:
    world = World(Denial.NSEC)
    first = await world.answer("b.test", "A")
    for _ in range(3):
        await world.answer("b.test", "A")
    world.time = first.expires_at - 1
    assert (await world.answer("b.test", "A")).expires_at == first.expires_at
    for _ in range(50):
        await asyncio.sleep(0)
    world.time = first.expires_at + 1
    before = len(world.asked)
    assert (await world.answer("b.test", "A")).expires_at > first.expires_at
    assert len(world.asked) == before


async def test_an_answer_that_nobody_uses_is_left_to_run_out() -> None:
    world = World(Denial.NSEC)
    first = await world.answer("b.test", "A")
    world.time = first.expires_at - 1
    before = len(world.asked)
    await world.answer("b.test", "A")
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(world.asked) == before
