"""Negative trust anchors (RFC 7646): a zone is taken for unsigned until a date, and not a moment longer."""

import dns.message
import dns.name
import pytest

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.resolver import Answer, NegativeAnchor, Resolver, Security

NOW = 1_800_000_000.0
UNTIL = NOW + 60


class World:
    """A root with two signed zones, of which one is under a negative anchor; an alias leads into it."""

    def __init__(self) -> None:
        root = Zone(".", key=ZoneKey.make())
        broken, sound = Zone("broken.", key=ZoneKey.make()), Zone("sound.", key=ZoneKey.make())
        broken.add("mx", "A", "192.0.2.1")
        sound.add("alias", "CNAME", "mx.broken.")
        sound.add("mx", "A", "192.0.2.2")
        for zone in (broken, sound):
            root.delegate(zone)
        for zone in (root, broken, sound):
            zone.publish(Validity.around(NOW))
        self.names = NameSpace([root, broken, sound])
        self.time = NOW
        negative = NegativeAnchor(zone=dns.name.from_text("broken."), reason="they lost a key", until=UNTIL)
        self.resolver = Resolver(
            self.transport, anchors=[self.names.anchor()], now=lambda: self.time, negative_anchors=[negative]
        )

    async def transport(self, wire: bytes, tcp: bool) -> bytes:
        return self.names.answer(dns.message.from_wire(wire)).to_wire(max_size=65_535)

    async def answer(self, name: str, rdtype: str = "A") -> Answer:
        found = await self.resolver.resolve(name, rdtype)
        assert isinstance(found, Answer), found
        return found


@pytest.mark.parametrize(
    ("name", "rdtype"), [("mx.broken", "A"), ("mx.broken", "TXT"), ("gone.broken", "A"), ("alias.sound", "A")]
)
async def test_rfc7646_what_a_negative_anchor_made_insecure_ends_with_it(name: str, rdtype: str) -> None:
    """Records, absences and what an alias leads to; neither the cache nor the TTL outlives the anchor."""
    world = World()
    before = await world.answer(name, rdtype)
    assert before.security is Security.INSECURE
    assert before.expires_at <= UNTIL
    assert before.ttl <= UNTIL - NOW
    world.time = UNTIL - 0.5
    for _ in range(5):
        assert (await world.answer(name, rdtype)).security is Security.INSECURE
    world.time = UNTIL
    assert (await world.answer(name, rdtype)).security is Security.SECURE


async def test_other_zones_keep_their_ttl() -> None:
    assert (await World().answer("mx.sound")).expires_at > UNTIL
