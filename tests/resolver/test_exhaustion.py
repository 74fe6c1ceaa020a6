"""A validator is a target: what one hostile zone can make us do is bounded, and running out is a named failure."""

import base64
import itertools
from collections.abc import Iterator

import dns.dnssec
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.lab.authority import Validity, ZoneKey
from letterlock.lab.namespace import NameSpace
from letterlock.lab.zones import Zone
from letterlock.resolver import (
    Answer,
    Breathe,
    Budget,
    FailureKind,
    InquirySettings,
    Lookup,
    LookupFailure,
    Question,
    Resolver,
)
from letterlock.resolver.budget import Spending
from letterlock.resolver.cache import Zones
from letterlock.resolver.denial import Denials, deny_name
from letterlock.resolver.dns_message import DNSReply, Fault, read_reply
from letterlock.resolver.inquiry import Ask, Steps
from letterlock.resolver.rdata import RRset, SignedRRset
from letterlock.resolver.signatures import Unverified, key_tag, verify
from letterlock.resolver.trust_anchors import as_anchors
from letterlock.resolver.wire import MAX_RECORDS

NOW = 1_800_000_000.0
ZONE = dns.name.from_text("victim.test.")


def colliding_keys(count: int) -> list[DNSKEY]:
    """Keys of one algorithm and one key tag: the tag is a sum, so its last octets can make up for the others."""
    found: list[DNSKEY] = []
    for number in itertools.count():
        material = number.to_bytes(62, "big")
        missing = (4711 - key_tag(_key(material + b"\0\0"))) % (1 << 16)
        key = _key(material + missing.to_bytes(2, "big"))
        found += [key] if key_tag(key) == 4711 else []  # a carry may spoil it
        if len(found) == count:
            break
    return found


def _key(material: bytes) -> DNSKEY:
    key = dns.rdata.from_text("IN", "DNSKEY", f"257 3 13 {base64.b64encode(material).decode()}")
    assert isinstance(key, DNSKEY)
    return key


def colliding_signatures(count: int) -> list[RRSIG]:
    """Signatures that all name key 4711, and of which none holds."""
    made = []
    for number in range(count):
        octets = base64.b64encode(number.to_bytes(64, "big")).decode()
        text = f"A 13 2 300 {int(NOW) + 1000} {int(NOW) - 1000} 4711 {ZONE} {octets}"
        signature = dns.rdata.from_text("IN", "RRSIG", text)
        assert isinstance(signature, RRSIG)
        made.append(signature)
    return made


def test_cve_2023_50387_keytrap_costs_a_few_signature_checks() -> None:
    spending = Spending(Budget())
    rrset = dns.rrset.from_text(ZONE, 300, "IN", "A", "192.0.2.1")
    signed = SignedRRset(RRset.of(rrset), tuple(colliding_signatures(100)))
    with pytest.raises(Exception, match="more than"):
        verify(signed, ZONE, colliding_keys(100), NOW, spending)
    assert spending.spent("signatures") <= Budget().failures + 1


def test_one_bad_signature_beside_a_good_one_does_no_harm() -> None:
    """RFC 6840 section 5.4."""
    key = ZoneKey.make()
    rrset = dns.rrset.from_text(ZONE, 300, "IN", "A", "192.0.2.1")
    good = key.sign(rrset, ZONE, Validity.around(NOW))
    signed = SignedRRset(RRset.of(rrset), (*colliding_signatures(2), *good))
    result = verify(signed, ZONE, [*colliding_keys(1), key.dnskey], NOW, Spending(Budget()))
    assert not isinstance(result, Unverified)


def test_cve_2023_50868_nsec3_hashes_are_bounded() -> None:
    spending = Spending(Budget(hashes=2000))
    denials = Denials(ZONE)
    owner = dns.name.from_text("00000000000000000000000000000000", ZONE)
    denials.add(owner, nsec3(150), 150)
    deep = dns.name.from_text(".".join("a" * 40), ZONE)
    with pytest.raises(Exception, match="hashes"):
        deny_name(denials, deep, spending)


def test_rfc9276_3_2_records_with_too_many_iterations_are_not_used() -> None:
    denials = Denials(ZONE)
    denials.add(dns.name.from_text("00000000000000000000000000000000", ZONE), nsec3(2500), 150)
    assert not denials
    assert denials.too_many_iterations == 2500


async def test_a_long_chain_of_aliases_ends_in_a_named_failure() -> None:
    root, zone = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make())
    for number in range(30):
        zone.add(f"n{number}", "CNAME", f"n{number + 1}.test.")
    root.delegate(zone)
    for each in (root, zone):
        each.publish(Validity.around(NOW))
    names = NameSpace([root, zone])

    async def transport(wire: bytes, tcp: bool) -> bytes:
        return names.answer(dns.message.from_wire(wire)).to_wire(max_size=65_535)

    result = await Resolver(transport, anchors=[names.anchor()], now=NOW).resolve("n0.test", "A")
    assert isinstance(result, LookupFailure)
    assert result.kind is FailureKind.BUDGET
    assert "aliases" in result.detail


def driven(steps: Steps[Answer | LookupFailure], names: NameSpace) -> Iterator[Ask | Breathe]:
    """Drive a lookup to its end, and show everything that it wanted."""
    replies: dict[Question, DNSReply | Fault] = {}
    wanted = next(steps)
    while True:
        yield wanted
        if isinstance(wanted, Ask):
            for each in wanted.questions:
                query = dns.message.make_query(each.name, each.rdtype, id=1, want_dnssec=True)
                replies[each] = read_reply(names.answer(query).to_wire(), each, 1)
        try:
            wanted = steps.send(replies)
        except StopIteration:
            return


def nsec3(iterations: int) -> NSEC3:
    text = f"1 0 {iterations} aabb 0123456789abcdefghijklmnopqrstuv A RRSIG"
    record = dns.rdata.from_text("IN", "NSEC3", text)
    assert isinstance(record, NSEC3)
    return record


def test_work_between_two_breaths_is_one_check() -> None:
    """The stepper gives way between signatures, so that nobody else waits for a whole chain."""
    root, zone = Zone(".", key=ZoneKey.make()), Zone("test.", key=ZoneKey.make())
    zone.add("mx", "A", "192.0.2.1")
    root.delegate(zone)
    for made in (root, zone):
        made.publish(Validity.around(NOW))
    names = NameSpace([root, zone])
    question = Question(dns.name.from_text("mx.test."), dns.rdatatype.A)
    steps = Lookup(question, InquirySettings(anchors=as_anchors([names.anchor()])), Zones(), NOW).run()
    breaths = sum(isinstance(wanted, Breathe) for wanted in driven(steps, names))
    assert breaths >= 4  # keys of the root, DS of test, keys of test, the answer


async def test_a_deep_name_with_many_nsec3_records_at_each_label_costs_few_queries_and_one_hash_a_name() -> None:
    """70 labels, and for each 80 well signed records that prove nothing: once 144 queries and a second of work."""
    root, zone = Zone(".", key=ZoneKey.make()), Zone("victim.test.", key=ZoneKey.make())
    root.delegate(zone)
    for each in (root, zone):
        each.publish(Validity.around(NOW))
    names, asked, denial = NameSpace([root, zone]), [], []
    assert zone.key
    for number in range(80):
        text = f"1 0 100 aabb {number * 2 + 1:032x} A RRSIG"
        rrset = dns.rrset.from_text(dns.name.from_text(f"{number * 2:032x}", ZONE), 300, "IN", "NSEC3", text)
        denial += [rrset, zone.key.sign(rrset, ZONE, Validity.around(NOW))]

    async def transport(wire: bytes, tcp: bool) -> bytes:
        query = dns.message.from_wire(wire)
        asked.append(query.question[0].to_text())
        response = names.answer(query)
        if query.question[0].name.labels[0] == b"a":
            response.answer, response.authority = [], denial
        return response.to_wire(max_size=65_535)

    deep = ".".join("a" * 70) + ".victim.test"
    result = await Resolver(transport, anchors=[names.anchor()], now=NOW).resolve(deep, "A")
    assert isinstance(result, LookupFailure)
    assert result.kind in (FailureKind.BUDGET, FailureKind.BOGUS)
    assert len(asked) <= 16


def test_a_hash_is_paid_for_once() -> None:
    spending, denials = Spending(Budget()), Denials(ZONE)
    denials.add(dns.name.from_text("00000000000000000000000000000000", ZONE), nsec3(100), 150)
    deep = dns.name.from_text(".".join("a" * 20), ZONE)
    deny_name(denials, deep, spending)
    before = spending.spent("hashes")
    assert before == 21 * 101  # the name, its ancestors in the zone, and the zone itself
    deny_name(denials, deep, spending)
    assert spending.spent("hashes") == before


def test_a_reply_of_very_many_records_is_not_even_parsed() -> None:
    question = Question(ZONE, dns.rdatatype.A)
    query = dns.message.make_query(ZONE, "A", id=1)
    response = dns.message.make_response(query)
    addresses = (f"10.{number >> 8}.{number & 255}.1" for number in range(MAX_RECORDS + 1))
    response.answer.append(dns.rrset.from_text_list(ZONE, 300, "IN", "A", list(addresses)))
    fault = read_reply(response.to_wire(max_size=65_535), question, 1)
    assert getattr(fault, "kind", None) is FailureKind.MALFORMED


@pytest.mark.parametrize("wire", [b"", b"\x00", b"\x00" * 12, b"\xff" * 600, base64.b64decode("AAGBgAABAAEAAAAA")])
def test_octets_that_are_no_reply_are_a_fault(wire: bytes) -> None:
    fault = read_reply(wire, Question(ZONE, dns.rdatatype.A), 1)
    assert getattr(fault, "kind", None) is FailureKind.MALFORMED
