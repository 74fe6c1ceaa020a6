"""What one lookup proved serves the next ones: keys, denials (RFC 8198), and popular answers kept fresh."""

import asyncio
import copy
import tracemalloc
from collections.abc import Callable

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdatatype import RdataType

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial, Zone
from letterlock.resolver import Absence, Answer, Question, Resolver, Security
from letterlock.resolver.cache import MAX_PROOFS, Zones
from letterlock.resolver.denial import Denials
from letterlock.resolver.inquiry import KeptProof
from letterlock.resolver.known_names import from_text

NOW = 1_800_000_000.0


class World:
    """A root, and one signed zone below it; counts what is asked."""

    def __init__(self, denial: Denial, *, signed: bool = True) -> None:
        root = Zone(".", key=ZoneKey.make())
        zone = Zone("test.", key=ZoneKey.make() if signed else None, denial=denial)
        self.change: Callable[[dns.message.Message], None] = lambda response: None
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
        response = self.names.answer(query)
        if query.question[0].name.labels[0].startswith(b"n"):
            self.change(response)
        return response.to_wire(max_size=65_535)

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


def change_soa(ttl: int | None, minimum: int = 0) -> Callable[[dns.message.Message], None]:
    """Another SOA in every denial, unsigned; None: no SOA at all."""

    def change(response: dns.message.Message) -> None:
        for rrset in [each for each in response.authority if each.rdtype == dns.rdatatype.SOA]:
            response.authority.remove(rrset)
            if ttl is not None:
                text = f"ns.nic.test. host.nic.test. 1 7200 3600 1209600 {minimum}"
                response.authority.append(dns.rrset.from_text(rrset.name, ttl, "IN", "SOA", text))

    return change


@pytest.mark.parametrize("denial", list(Denial))
@pytest.mark.parametrize(
    ("ttl", "minimum", "left"), [(86_400, 86_400, 300), (None, 0, 300), (60, 86_400, 60), (86_400, 90, 90), (0, 0, 0)]
)
async def test_rfc9077_3_the_soa_of_a_denial_can_shorten_its_life_and_never_lengthen_it(
    denial: Denial, ttl: int | None, minimum: int, left: int
) -> None:
    """The NSEC records are signed with a TTL of 300 seconds."""
    world = World(denial)
    world.change = change_soa(ttl, minimum)
    found = await world.answer("n1.test", "MX")
    assert (found.security, found.absence) == (Security.SECURE, Absence.NXDOMAIN)
    assert (found.ttl, found.expires_at) == (left, NOW + left)


async def test_rfc2308_5_the_life_of_an_absence_in_an_unsigned_zone_is_an_hour_at_most() -> None:
    world = World(Denial.NSEC, signed=False)
    for ttl, left in ((86_400 * 7, 3_600), (100, 100), (None, 0)):
        world.change = change_soa(ttl, 86_400 * 7)
        found = await world.answer(f"n{left}.test", "MX")
        assert (found.security, found.ttl) == (Security.INSECURE, left)


async def test_the_soa_of_another_zone_is_no_word_on_an_absence() -> None:
    world = World(Denial.NSEC, signed=False)

    def elsewhere(response: dns.message.Message) -> None:
        text = "ns.nic.test. host.nic.test. 1 7200 3600 1209600 3600"
        response.authority[:] = [dns.rrset.from_text("other.example.", 3_600, "IN", "SOA", text)]

    world.change = elsewhere
    found = await world.answer("n1.test", "MX")
    assert (found.security, found.ttl) == (Security.INSECURE, 0)


@pytest.mark.parametrize("anchored_at", [".", "test."])
async def test_no_keys_are_asked_for_of_a_zone_without_ds(anchored_at: str) -> None:
    root, test, unsigned = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make()), Zone("u.test.")
    unsigned.add("u.test.", "MX", "10 mx.u.test.")
    unsigned.add("mx", "A", "192.0.2.1")
    root.delegate(test)
    test.delegate(unsigned)
    for zone in (root, test, unsigned):
        zone.publish(Validity.around(NOW))
    names, asked = NameSpace([root, test, unsigned]), list[str]()

    async def transport(wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        asked.append(query.question[0].to_text())
        return names.answer(query).to_wire(max_size=65_535)

    anchor = {".": root, "test.": test}[anchored_at]
    assert anchor.key is not None
    ds = f"{anchored_at} IN DS {anchor.key.ds(anchor.origin).to_text()}"
    resolver = Resolver(transport, anchors=[ds], now=NOW)
    for name, rdtype in (("u.test", "MX"), ("_mta-sts.u.test", "TXT"), ("mx.u.test", "A"), ("mx.u.test", "AAAA")):
        found = await resolver.resolve(name, rdtype)
        assert isinstance(found, Answer)
        assert found.security is Security.INSECURE
    assert [each for each in asked if "u.test." in each] == [
        "u.test. IN MX",
        "u.test. IN DS",
        "_mta-sts.u.test. IN TXT",
        "mx.u.test. IN A",
        "mx.u.test. IN AAAA",
    ]


async def test_rfc1035_5_1_a_name_that_ends_in_an_escaped_dot_is_refreshed_like_any_other() -> None:
    """Its text without the dot at the end is no name: taken for one, each later lookup of any name failed with it."""
    zone = Zone(".", key=ZoneKey.make())
    zone.add("odd\\.", "A", "192.0.2.9")
    zone.publish(Validity.around(NOW))
    names, time = NameSpace([zone]), [NOW]

    async def transport(wire: bytes, tcp: bool) -> bytes:
        return names.answer(dns.message.from_wire(wire)).to_wire(max_size=65_535)

    resolver = Resolver(transport, anchors=[names.anchor()], now=lambda: time[0])
    for spelled in ("odd\\.", "odd\\..", "ODD\\."):
        found = await resolver.resolve(spelled, "A")
        assert isinstance(found, Answer)
        assert found.records
    assert len(resolver.cache) == 1
    time[0] += 290  # of a TTL of 300 seconds
    for _ in range(4):
        assert isinstance(await resolver.resolve("odd\\.", "A"), Answer)
    assert isinstance(await resolver.resolve("nothing", "A"), Answer)


def test_a_zone_keeps_its_latest_denials_and_little_besides() -> None:
    """Zones by the thousand prove one denial each: what is kept for a zone must not have room for more at once."""
    zones = Zones()
    zone = from_text("test.")
    kept = [KeptProof(Denials(zone), NOW + number) for number in range(MAX_PROOFS + 3)]
    for proof in kept:
        zones.keep_proof(zone, proof)
    assert zones.proofs(zone, NOW) == kept[: -MAX_PROOFS - 1 : -1], "the latest first"
    assert zones.proofs(zone, kept[-2].expires_at) == kept[-1:]
    names = [from_text(f"z{number}.test.") for number in range(200)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for name in names:
            zones.keep_proof(name, kept[0])
        octets = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert octets / len(names) < 400


async def test_what_is_known_is_found_under_every_spelling_of_a_name() -> None:
    """Answers are kept by their questions: text that spells a name otherwise asks the same question."""
    world = World(Denial.NSEC)
    first = await world.answer("b.test", "A")
    asked = len(world.asked)
    for spelled in ("b.test.", "B.Test", "\\098.test", "\\066.test."):
        assert (await world.answer(spelled, "A")).records == first.records
    assert len(world.asked) == asked
    assert len(world.resolver.cache) == 1
    assert world.resolver.known(first.question) is world.resolver.known("b.test. A") is not None
    assert world.resolver.known("b.test. MX") is None


def test_a_question_is_its_text_and_a_copy_of_it_the_same() -> None:
    question = Question(from_text("b.test."), RdataType.MX)
    assert (str(question), f"{question}", hash(question)) == ("b.test. MX", "b.test. MX", hash("b.test. MX"))
    assert question == Question(dns.name.from_text("B.test."), RdataType.MX)
    assert question != Question(from_text("b.test."), RdataType.A)
    copied = copy.deepcopy(question)
    assert (copied, copied.name, copied.rdtype) == (question, question.name, RdataType.MX)
