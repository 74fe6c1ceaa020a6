"""Trust anchors: texts that are none, and what was proven from anchors that are trusted no more."""

import asyncio

import dns.message
import pytest

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.resolver import Answer, FailureKind, InvalidAnchor, LookupFailure, Resolver, parse_anchors

NOW = 1_800_000_000.0


@pytest.mark.parametrize("text", ["()", "( )\n", "(\n)\n", "( ; a comment\n)"])
def test_brackets_around_nothing_are_no_anchor(text: str) -> None:
    with pytest.raises(InvalidAnchor):
        parse_anchors(text)


class World:
    """A signed root whose every reply waits until it is let out."""

    def __init__(self) -> None:
        root = Zone(".", key=ZoneKey.make())
        root.add("a", "A", "192.0.2.1")
        root.publish(Validity.around(NOW))
        self.names = NameSpace([root])
        self.asked, self.let_out = asyncio.Event(), asyncio.Event()
        self.resolver = Resolver(self.transport, anchors=[self.names.anchor()], now=NOW)

    async def transport(self, wire: bytes, tcp: bool) -> bytes:
        self.asked.set()
        await self.let_out.wait()
        return self.names.answer(dns.message.from_wire(wire)).to_wire(max_size=65_535)

    async def begun(self) -> "asyncio.Task[Answer | LookupFailure]":
        """A lookup that is under way."""
        task = asyncio.create_task(self.resolver.resolve("a", "A"))
        await self.asked.wait()
        return task


OTHER = NameSpace([Zone(".", key=ZoneKey.make())]).anchor()


async def test_rfc5011_2_1_what_a_lookup_under_way_proves_from_old_anchors_is_not_kept() -> None:
    world = World()
    under_way = await world.begun()
    world.resolver.trust(parse_anchors(OTHER))
    world.let_out.set()
    assert isinstance(await under_way, Answer)  # who asked before is told what held before
    found = await world.resolver.resolve("a", "A")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.BOGUS


async def test_rfc5011_2_1_who_asks_under_new_anchors_does_not_join_a_lookup_under_old_ones() -> None:
    world = World()
    under_way = await world.begun()
    world.resolver.trust(parse_anchors(OTHER))
    later = asyncio.create_task(world.resolver.resolve("a", "A"))
    await asyncio.sleep(0)
    world.let_out.set()
    found = await later
    assert isinstance(await under_way, Answer)
    assert isinstance(found, LookupFailure)
