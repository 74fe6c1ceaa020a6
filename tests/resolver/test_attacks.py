"""Forgers on the path to the upstream: none gets a secure answer, and none a false insecure one or a false absence."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Denial, Zone
from letterlock.resolver import Answer, FailureKind, LookupFailure, Resolver, Security

NOW = 1_800_000_000.0
SERVICE = "_25._tcp.mx.signed.test."
TLSA = "3 1 1 " + "ab" * 32
Forger = Callable[["World", dns.message.Message, dns.message.Message], None]


@dataclass
class World:
    """A signed root, a signed TLD, a signed and an unsigned domain, and somebody on the path."""

    denial: Denial
    forge: Forger | None = None

    def __post_init__(self) -> None:
        root, tld = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make(), denial=self.denial)
        signed, unsigned = Zone("signed.test.", key=ZoneKey.make(), denial=self.denial), Zone("unsigned.test.")
        for zone in (signed, unsigned):
            zone.add("@", "MX", f"10 mx.{zone.origin}")
            zone.add("mx", "A", "192.0.2.1")
        signed.add("_25._tcp.mx", "TLSA", TLSA)
        signed.add("other", "A", "192.0.2.2")
        root.delegate(tld)
        for zone in (signed, unsigned):
            tld.delegate(zone)
        for zone in (root, tld, signed, unsigned):
            zone.publish(Validity.around(NOW))
        self.names = NameSpace([root, tld, signed, unsigned])

    def honest(self, name: str, rdtype: str) -> dns.message.Message:
        """What the upstream really has."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        return self.names.answer(query)

    async def transport(self, wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        response = self.names.answer(query)
        response.flags |= dns.flags.AD  # the forger says so; nobody may believe it
        if self.forge is not None:
            self.forge(self, query, response)
        return response.to_wire(max_size=65_535)

    async def resolve(self, name: str, rdtype: str) -> Answer | LookupFailure:
        return await Resolver(self.transport, anchors=[self.names.anchor()], now=NOW).resolve(name, rdtype)


def asks(query: dns.message.Message, name: str, rdtype: str) -> bool:
    [question] = query.question
    return question.name == dns.name.from_text(name) and question.rdtype == dns.rdatatype.from_text(rdtype)


def without(section: list[dns.rrset.RRset], rdtype: str) -> None:
    section[:] = [rrset for rrset in section if rrset.rdtype != dns.rdatatype.from_text(rdtype)]


def drop_signatures(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    without(response.answer, "RRSIG")


def other_data(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    if asks(query, SERVICE, "TLSA"):
        signature = [rrset for rrset in response.answer if rrset.rdtype == dns.rdatatype.RRSIG]
        response.answer = [dns.rrset.from_text(SERVICE, 300, "IN", "TLSA", "3 1 1 " + "cd" * 32), *signature]


def attackers_key(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    """The zone, whole, signed by a key of the attacker's."""
    if asks(query, SERVICE, "TLSA") or asks(query, "signed.test.", "DNSKEY"):
        fake = Zone("signed.test.", key=ZoneKey.make())
        fake.add("_25._tcp.mx", "TLSA", "3 1 1 " + "cd" * 32)
        fake.publish(Validity.around(NOW))
        response.answer = NameSpace([fake]).answer(query).answer


def empty(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    if asks(query, SERVICE, "TLSA"):
        response.answer, response.authority = [], []


def gone(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    empty(world, query, response)
    if asks(query, SERVICE, "TLSA"):
        response.set_rcode(dns.rcode.NXDOMAIN)


def replayed_denial(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    """The proof that something else is absent."""
    if asks(query, SERVICE, "TLSA"):
        response.answer, response.authority = [], world.honest("nothing.signed.test.", "TLSA").authority


def replayed_denial_of_the_type_elsewhere(
    world: World, query: dns.message.Message, response: dns.message.Message
) -> None:
    if asks(query, SERVICE, "TLSA"):
        response.answer, response.authority = [], world.honest("other.signed.test.", "TLSA").authority


def parents_denial(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    """RFC 6840 section 4.1: what the parent's side of a cut says is not about the names below it."""
    if asks(query, SERVICE, "TLSA"):
        response.answer, response.authority = [], world.honest("unsigned.test.", "DS").authority


def stripped_delegation(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    if asks(query, "signed.test.", "DS"):
        response.answer, response.authority = [], []
    without(response.answer, "RRSIG")


def insecure_by_a_neighbours_proof(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    """The proof that another domain is unsigned, for this one; and unsigned data to go with it."""
    if asks(query, "signed.test.", "DS"):
        response.answer, response.authority = [], world.honest("unsigned.test.", "DS").authority
    elif asks(query, SERVICE, "TLSA"):
        without(response.answer, "RRSIG")


def insecure_by_the_childs_proof(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    """RFC 6840 section 4.4: the child's own NSEC at its apex is no proof that its parent has no DS."""
    if asks(query, "signed.test.", "DS"):
        response.answer, response.authority = [], world.honest("signed.test.", "HINFO").authority
    elif asks(query, SERVICE, "TLSA"):
        without(response.answer, "RRSIG")


def no_keys(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    if asks(query, "signed.test.", "DNSKEY"):
        response.answer = []
    elif asks(query, SERVICE, "TLSA"):
        without(response.answer, "RRSIG")


def led_away(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
    """An unsigned alias in a signed zone, to a name of the attacker's."""
    if asks(query, SERVICE, "TLSA"):
        response.answer = [dns.rrset.from_text(SERVICE, 300, "IN", "CNAME", "tlsa.unsigned.test.")]
        response.answer.append(dns.rrset.from_text("tlsa.unsigned.test.", 300, "IN", "TLSA", TLSA))


FORGERS = (
    drop_signatures,
    other_data,
    attackers_key,
    empty,
    gone,
    replayed_denial,
    replayed_denial_of_the_type_elsewhere,
    parents_denial,
    stripped_delegation,
    insecure_by_a_neighbours_proof,
    insecure_by_the_childs_proof,
    no_keys,
    led_away,
)


@pytest.mark.parametrize("denial", list(Denial))
@pytest.mark.parametrize("forge", FORGERS, ids=lambda forge: forge.__name__)
async def test_a_forgery_is_bogus_never_secure_insecure_or_absent(denial: Denial, forge: Forger) -> None:
    result = await World(denial, forge).resolve(SERVICE, "TLSA")
    assert isinstance(result, LookupFailure), result
    assert result.kind is FailureKind.BOGUS
    assert result.ede is not None
    assert result.proof


@pytest.mark.parametrize("denial", list(Denial))
async def test_the_same_world_without_a_forger_is_secure(denial: Denial) -> None:
    result = await World(denial).resolve(SERVICE, "TLSA")
    assert isinstance(result, Answer)
    assert result.security is Security.SECURE
    assert [record.to_text() for record in result.records] == [TLSA]


@pytest.mark.parametrize("denial", list(Denial))
async def test_rfc4035_4_9_3_the_ad_bit_is_never_believed(denial: Denial) -> None:
    result = await World(denial).resolve("mx.unsigned.test", "A")
    assert isinstance(result, Answer)
    assert result.security is Security.INSECURE


@pytest.mark.parametrize("denial", list(Denial))
@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR])
async def test_rfc7672_2_1_1_an_error_is_a_failure_and_no_absence(denial: Denial, rcode: dns.rcode.Rcode) -> None:
    def fail(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
        if asks(query, "mx.unsigned.test.", "A"):
            response.answer, response.authority = [], []
            response.set_rcode(rcode)

    result = await World(denial, fail).resolve("mx.unsigned.test", "A")
    assert isinstance(result, LookupFailure)
    assert result.kind is FailureKind.SERVFAIL


@pytest.mark.parametrize("denial", list(Denial))
async def test_an_unsigned_domain_needs_the_proof_that_it_is_unsigned(denial: Denial) -> None:
    def unproven(world: World, query: dns.message.Message, response: dns.message.Message) -> None:
        if asks(query, "unsigned.test.", "DS"):
            response.authority = []

    result = await World(denial, unproven).resolve("mx.unsigned.test", "A")
    assert isinstance(result, LookupFailure)
    assert (result.kind, result.ede) == (FailureKind.BOGUS, 12)


async def test_rfc5452_a_reply_to_another_question_or_with_another_id_is_no_reply() -> None:
    world = World(Denial.NSEC)

    async def mismatched(wire: bytes, tcp: bool) -> bytes:
        reply = bytearray(await world.transport(wire, tcp))
        reply[0] ^= 0xFF
        return bytes(reply)

    async def other_question(wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        other = dns.message.make_query("other.signed.test.", "A", id=query.id, want_dnssec=True)
        return world.names.answer(other).to_wire()

    for transport in (mismatched, other_question):
        result = await Resolver(transport, anchors=[world.names.anchor()], now=NOW).resolve(SERVICE, "TLSA")
        assert isinstance(result, LookupFailure)
        assert result.kind is FailureKind.MALFORMED


def with_wildcard_alias(denial: Denial) -> tuple[Zone, NameSpace]:
    """`test.` with an alias at `*.test.`, and a signed `domain.test.` below it."""
    root, top = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make(), denial=denial)
    domain = Zone("domain.test.", key=ZoneKey.make())
    domain.add("@", "A", "192.0.2.1")
    top.add("*", "CNAME", "elsewhere.test.")
    top.add("elsewhere", "A", "192.0.2.2")
    root.delegate(top)
    top.delegate(domain)
    for zone in (root, top, domain):
        zone.publish(Validity.around(NOW))
    return top, NameSpace([root, top, domain])


def expanded(top: Zone, query: dns.message.Message) -> list[dns.rrset.RRset]:
    """The wildcard's alias with its signature, as if it were the name that was asked for."""
    alias = top.rrset(dns.name.from_text("*.test."), dns.rdatatype.CNAME)
    assert alias is not None
    made = copy.deepcopy(top.with_signature(alias))
    for each in made:
        each.name = query.question[0].name
    return made


@pytest.mark.parametrize("denial", list(Denial))
async def test_rfc4035_5_3_4_an_alias_of_a_wildcard_does_not_hide_a_delegation(denial: Denial) -> None:
    """Else one forged reply would make a whole domain bogus for as long as it is remembered."""
    top, names = with_wildcard_alias(denial)
    forges = True

    async def transport(wire: bytes, _tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        response = names.answer(query)
        if forges and asks(query, "domain.test.", "DS"):
            response.answer, response.authority = expanded(top, query), top.deny(dns.name.from_text("other.test."))
        return response.to_wire(max_size=65_535)

    resolver = Resolver(transport, anchors=[names.anchor()], now=NOW)
    assert isinstance(await resolver.resolve("domain.test.", "A"), LookupFailure)
    forges = False
    resolver.cache._held.clear()  # the failure itself is held for seconds
    found = await resolver.resolve("domain.test.", "A")
    assert isinstance(found, Answer)
    assert found.security is Security.SECURE


@pytest.mark.parametrize("denial", list(Denial))
async def test_rfc4035_5_3_4_an_alias_of_a_wildcard_at_a_name_that_is_absent_is_followed(denial: Denial) -> None:
    top, names = with_wildcard_alias(denial)

    async def transport(wire: bytes, _tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        response = names.answer(query)
        asked = query.question[0].name
        if asked.is_subdomain(dns.name.from_text("other.test.")):
            response.set_rcode(dns.rcode.NOERROR)
            response.authority = top.deny(asked)
            response.answer = expanded(top, query)
            if query.question[0].rdtype == dns.rdatatype.A:
                response.answer += names.answer(dns.message.make_query("elsewhere.test.", "A", want_dnssec=True)).answer
        return response.to_wire(max_size=65_535)

    found = await Resolver(transport, anchors=[names.anchor()], now=NOW).resolve("other.test.", "A")
    assert isinstance(found, Answer)
    assert found.security is Security.SECURE
    assert found.records
