"""One odd record makes itself unusable and nobody else, and nothing that a lookup does not need can fail it."""

import struct
import time
from collections.abc import Callable

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.lab.authority import Validity
from letterlock.lab.zones import Denial
from letterlock.resolver import Absence, Answer, FailureKind, LookupFailure, Security, rdata, signatures
from letterlock.resolver.answer import Question
from letterlock.resolver.dns_message import DNSReply, Fault, read_reply
from letterlock.resolver.known_names import from_text
from letterlock.resolver.rdata import soa_minimum
from letterlock.resolver.wire import MAX_RECORDS, Names, Unreadable
from tests.resolver.odd import (
    NOW,
    RIGHT,
    SERVICE,
    Change,
    OddWorld,
    raw,
    rdata_of,
    record,
    texts,
    with_additional,
    with_options,
    with_records,
)

BAD_TLSA = [
    bytes.fromhex("030101" + "ab" * 31),
    bytes.fromhex("030102" + "ab" * 32),
    bytes.fromhex("030101"),
    bytes.fromhex("0301"),
    b"",
    bytes(65_000),
]


@pytest.mark.parametrize("bad", BAD_TLSA[:5], ids=["31-octets", "512-of-32", "no-data", "2-octets", "empty"])
async def test_rfc6698_4_1_one_bad_tlsa_record_leaves_the_others_as_secure_as_they_are(bad: bytes) -> None:
    world = OddWorld()
    raw(world.zone, "_25._tcp.mx", "TLSA", RIGHT, bad)
    found = await world.answer(SERVICE, "TLSA")
    assert found.secure
    assert rdata_of(found) == {RIGHT, bad}


@pytest.mark.parametrize("bad", BAD_TLSA, ids=len)
async def test_rfc7671_9_bad_tlsa_records_alone_are_records_and_not_an_absence(bad: bytes) -> None:
    world = OddWorld()
    raw(world.zone, "_25._tcp.mx", "TLSA", bad)
    found = await world.answer(SERVICE, "TLSA")
    assert (found.secure, found.absence, rdata_of(found)) == (True, None, {bad})


@pytest.mark.parametrize(
    "bad", [b"", b"\0\0\0", b"\0\0\0\0\0", b"\x12\x34\x0d\x02" + bytes(20), b"\1\2\3\4\5"], ids=len
)
async def test_rfc4035_5_2_one_bad_ds_record_leaves_the_zone_secure(bad: bytes) -> None:
    world = OddWorld()
    world.zone.add("host", "A", "192.0.2.2")
    raw(world.top, "odd", "DS", bad)
    assert (await world.answer("host.odd.test", "A")).secure


@pytest.mark.parametrize("bad", [b"", b"\0\0\0\0\0", b"\x12\x34\xfb\x02" + bytes(20)], ids=len)
async def test_rfc6840_5_2_ds_records_of_unknown_kinds_alone_make_the_zone_insecure(bad: bytes) -> None:
    world = OddWorld()
    del world.top.rrsets[world.zone.origin][dns.rdatatype.DS]
    raw(world.top, "odd", "DS", bad)
    assert (await world.answer("mx.odd.test", "A")).security is Security.INSECURE


async def test_rfc4035_5_2_a_cut_digest_of_a_known_kind_is_bogus_and_never_insecure() -> None:
    world = OddWorld()
    del world.top.rrsets[world.zone.origin][dns.rdatatype.DS]
    raw(world.top, "odd", "DS", b"\x12\x34\x0d\x02" + bytes(20))
    found = await world.resolve("mx.odd.test", "A")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.BOGUS


@pytest.mark.parametrize("bad", [b"", b"\1\1\3", b"\1\1\3\x0d"], ids=len)
async def test_rfc4035_5_2_one_bad_key_leaves_the_zone_secure(bad: bytes) -> None:
    world = OddWorld()
    world.zone.more_keys = (bad,)
    assert (await world.answer("mx.odd.test", "A")).secure
    assert bad in rdata_of(await world.answer("odd.test", "DNSKEY"))


@pytest.mark.parametrize(
    ("rdtype", "good", "bad"),
    [
        ("A", "192.0.2.2", b"\1\2\3"),
        ("AAAA", "2001:db8::1", bytes(17)),
        ("MX", "10 mx.odd.test.", b"\0"),
        ("TXT", '"v=STSv1; id=1"', b"\xffcut"),
        ("TXT", '"v=STSv1; id=1"', b""),
        ("SRV", "0 0 25 mx.odd.test.", b"\0\0"),
        ("CAA", '0 issue "ca.test"', b"\0"),
        ("SVCB", '1 mx.odd.test. port="853"', b"\0\1\0\0\1\0"),
    ],
)
@pytest.mark.parametrize("denial", list(Denial))
async def test_one_record_that_cannot_be_read_stands_beside_those_that_can(
    denial: Denial, rdtype: str, good: str, bad: bytes
) -> None:
    world = OddWorld(denial)
    world.zone.add("name", rdtype, good)
    raw(world.zone, "name", rdtype, bad)
    found = await world.answer("name.odd.test", rdtype)
    assert found.secure
    assert good in texts(found)
    assert bad in rdata_of(found)


@pytest.mark.parametrize(("rdtype", "name"), [("CNAME", "name.odd.test"), ("DNAME", "below.name.odd.test")])
async def test_an_alias_that_cannot_be_read_fails_the_lookup_that_needs_it(rdtype: str, name: str) -> None:
    world = OddWorld()
    raw(world.zone, "name", rdtype, b"\x05cut")
    alias = world.zone.rrsets[dns.name.from_text("name.odd.test")].pop(dns.rdatatype.from_text(rdtype))
    world.publish()
    assert world.zone.key
    signed = [alias, world.zone.key.sign(alias, world.zone.origin, Validity.around(NOW))]
    world.changes.append(lambda response: _only(response, signed))
    found = await world.resolve(name, "A")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.MALFORMED


def _only(response: dns.message.Message, answer: list[dns.rrset.RRset]) -> None:
    if response.question[0].rdtype == dns.rdatatype.A:
        response.answer, response.authority = answer, []


ODD_OPTIONS = [
    *((code, octets) for code in range(20) for octets in (b"", b"\0", b"\0\1\2", bytes(300))),
    (15, b"\xff"),
    (15, b"\0\6\xff\xfe"),
    (65_535, b"x" * 500),
    (8, b"\0\1\x21\0\1\2\3\4\5"),
    (10, b"abc"),
]


@pytest.mark.parametrize("option", ODD_OPTIONS, ids=lambda option: f"{option[0]}-{len(option[1])}")
async def test_rfc6891_6_1_2_no_option_fails_an_answer(option: tuple[int, bytes]) -> None:
    world = OddWorld()
    raw(world.zone, "_25._tcp.mx", "TLSA", RIGHT)
    world.changes.append(with_options(option))
    assert (await world.answer(SERVICE, "TLSA")).secure


ODD_NEIGHBOURS: list[Change] = [
    with_records("authority", record("odd.test", 2, b"\x05cut")),
    with_records("authority", record("odd.test", 6, b"\0")),
    with_records("authority", record("odd.test", 47, b"\0\x22")),
    with_records("authority", record("odd.test", 47, b"\0\0\x21" + bytes(33))),
    with_records("authority", record("00.odd.test", 50, b"\1\0\0")),
    with_records("answer", record("odd.test", 65_400, b"any")),
    with_records("answer", record("odd.test", 1, b"\1", rdclass=3)),
    with_records("answer", record("odd.test", 1, b"\1", rdclass=254)),
    with_records("answer", record(SERVICE, 46, b"\0\x34\x0d")),
    with_records("answer", record(SERVICE, 46, b"")),
    with_records("answer", record("odd.test", 41, b"\0\1")),
    with_records("answer", record("odd.test", 250, b"\0")),
    with_records("answer", record("odd.test", 64, b"\0\1\0\0\1\0\xff")),
    with_records("additional", record(".", 250, b"\0")),
    with_records("additional", record(".", 249, b"\0")),
    with_records("additional", record("mx.odd.test", 1, b"\1\2\3\4\5")),
    with_records("additional", record("mx.odd.test", 46, b"\0\1")),
    with_records("additional", *(record(f"n{number}.odd.test", 1, bytes(4)) for number in range(2 * MAX_RECORDS))),
]


@pytest.mark.parametrize("number", range(len(ODD_NEIGHBOURS)))
@pytest.mark.parametrize("denial", list(Denial))
async def test_odd_records_beside_the_answer_change_nothing(denial: Denial, number: int) -> None:
    world = OddWorld(denial)
    raw(world.zone, "_25._tcp.mx", "TLSA", RIGHT)
    world.changes.append(ODD_NEIGHBOURS[number])
    found = await world.answer(SERVICE, "TLSA")
    assert (found.secure, rdata_of(found)) == (True, {RIGHT})
    absent = await world.answer("mx.odd.test", "AAAA")
    assert (absent.secure, absent.absence) == (True, Absence.NODATA)


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        (b"junk", 0),
        (b"junk", 1),
        (b"\xc0\x00", 1),
        (b"\0\0\1", 1),
        (b"", 9),
        (b"\xc0\xff\0\1", 65_535),
        (bytes(4_000), 400),
    ],
)
async def test_what_follows_the_authority_section_is_read_as_far_as_it_goes(octets: bytes, count: int) -> None:
    world = OddWorld()
    raw(world.zone, "_25._tcp.mx", "TLSA", RIGHT)
    world.after = lambda wire: with_additional(wire, octets, count)
    assert (await world.answer(SERVICE, "TLSA")).secure


@pytest.mark.parametrize("bitmap", [b"\0\0", b"\0\x21" + bytes(33), b"\1\1\x40\0\1\x40", b"\0\5\x40"], ids=len)
async def test_rfc4034_4_1_2_a_signed_nsec_record_with_an_odd_bitmap_proves_nothing(bitmap: bytes) -> None:
    world = OddWorld()
    world.publish()
    assert world.zone.key
    odd = record("mx.odd.test", 47, b"\3odd\4test\0" + bitmap)
    signed = [odd, world.zone.key.sign(odd, world.zone.origin, Validity.around(NOW))]

    def deny_by_it(response: dns.message.Message) -> None:
        if response.question[0].rdtype == dns.rdatatype.AAAA:
            response.authority = signed

    world.changes.append(deny_by_it)
    found = await world.resolve("mx.odd.test", "AAAA")
    assert isinstance(found, LookupFailure)
    assert found.kind is FailureKind.BOGUS


def reply_to(question: Question, *rest: bytes, counts: tuple[int, int, int]) -> bytes:
    head = struct.pack("!6H", 1, 0x8180, 1, *counts)
    return head + (question.name.to_wire() or b"") + struct.pack("!2H", question.rdtype, 1) + b"".join(rest)


def test_compressed_names_are_expanded_before_they_are_read_and_signed() -> None:
    question = Question(dns.name.from_text("odd.test"), dns.rdatatype.MX)
    rdata = b"\0\x0a\2MX\xc0\x0c"
    head = b"\xc0\x0c" + struct.pack("!HHIH", dns.rdatatype.MX, 1, 300, len(rdata))
    reply = read_reply(reply_to(question, head, rdata, counts=(1, 0, 0)), question, 1)
    assert isinstance(reply, DNSReply)
    rrset = reply.answer[question.name, question.rdtype].rrset
    assert [one.to_text() for one in rrset] == ["10 MX.odd.test."]
    assert rrset.canonical == (b"\0\x0a\2mx\3odd\4test\0",)


def test_a_name_of_many_pointers_costs_nothing_and_is_refused() -> None:
    """Each pointer to the one before: 8,000 of them, followed by every record."""
    question = Question(dns.name.from_text("odd.test"), dns.rdatatype.MX)
    start = len(reply_to(question, counts=(0, 0, 0))) + 12
    chain = b"\xc0\x0c" + b"".join(
        struct.pack("!H", 0xC000 | start + 2 * number) for number in range(8_000 - start // 2)
    )
    first = b"\xc0\x0c" + struct.pack("!HHIH", 65_400, 1, 300, len(chain)) + chain
    last = struct.pack("!H", 0xC000 | start + len(chain) - 2)
    rdata = b"\0\x0a" + last
    records = (b"\xc0\x0c" + struct.pack("!HHIH", dns.rdatatype.MX, 1, 300, len(rdata)) + rdata) * (MAX_RECORDS - 1)
    begun = time.thread_time()
    reply = read_reply(reply_to(question, first, records, counts=(MAX_RECORDS, 0, 0)), question, 1)
    assert time.thread_time() - begun < 0.25  # 250 names times 8,000 pointers would be a second or more
    assert isinstance(reply, DNSReply)
    owner = last + struct.pack("!HHIH", 1, 1, 300, 4) + bytes(4)
    fault = read_reply(reply_to(question, first, owner, counts=(2, 0, 0)), question, 1)
    assert isinstance(fault, Fault)
    assert "pointer" in fault.detail


@pytest.mark.parametrize("cut", range(1, 60))
async def test_a_reply_whose_answer_is_cut_off_is_no_answer(cut: int) -> None:
    world = OddWorld()
    world.after = lambda wire: _answer_alone(wire)[:-cut]
    found = await world.resolve("mx.odd.test", "A")
    assert isinstance(found, LookupFailure)


def _answer_alone(wire: bytes) -> bytes:
    message = dns.message.from_wire(wire)
    message.authority, message.additional = [], []
    message.use_edns(False)
    return message.to_wire()


async def test_a_badvers_reply_is_a_failure_though_its_lower_bits_are_noerror() -> None:
    """RFC 6891 section 6.1.3: the upper bits of the response code are in OPT."""
    world = OddWorld()

    def badvers(response: dns.message.Message) -> None:
        response.answer, response.authority = [], []
        response.use_edns(0, 1 << 24, 1232)

    world.changes.append(badvers)
    found = await world.resolve("mx.odd.test", "A")
    assert isinstance(found, LookupFailure)


def test_a_name_that_is_read_twice_ends_where_it_ended_before() -> None:
    """The question's name is known beforehand; one that was made from a pointer is shorter in the message."""
    question = Question(from_text("odd.test"), dns.rdatatype.MX)
    names = Names(reply_to(question, b"\2mx\xc0\x0c\0\0", counts=(0, 0, 0)), {12: from_text("odd.test")})
    begin = len(reply_to(question, counts=(0, 0, 0)))
    assert names.read(12) == (from_text("odd.test"), begin - 4)
    assert names.after(12) == begin - 4
    for _ in range(2):
        assert names.read(begin) == (from_text("mx.odd.test"), begin + 5)
    assert names.after(begin) == begin + 5


@given(st.binary(max_size=40))
def test_a_name_that_nobody_wants_is_refused_as_one_that_is_wanted(octets: bytes) -> None:
    wire = b"\3org\0\1a\xc0\0" + octets

    def end_of(read: Callable[[int], int]) -> int | str:
        try:
            return read(9)
        except Unreadable as error:
            return str(error)

    assert end_of(Names(wire).after) == end_of(lambda at: Names(wire).read(at)[1])


def test_a_soa_minimum_is_read_as_from_the_whole_record() -> None:
    names = b"\2ns\0\4host\0"
    good = names + struct.pack("!5I", 1, 2, 3, 4, 5)
    assert soa_minimum(Names(good), 0, len(good)) == 5
    for bad in (good[:-1], good + b"\0", b"\x80" + good[1:], b"\xc0\xff" + good):
        assert soa_minimum(Names(bad), 0, len(bad)) is None


async def test_large_records_are_not_remembered_beside_the_answers() -> None:
    """The memories of parsed records and checked signatures are bounded by number: 64 KB in each would be too much."""
    world = OddWorld()
    raw(world.zone, "large", "TLSA", bytes.fromhex("030100") + bytes(50_000))
    resolver = world.resolver()
    assert isinstance(await resolver.resolve("mx.odd.test", "A"), Answer)
    before = rdata._parsed.cache_info().misses, signatures._cached_check.cache_info().misses
    found = await resolver.resolve("large.odd.test", "TLSA")
    assert isinstance(found, Answer)
    assert found.secure
    assert (rdata._parsed.cache_info().misses, signatures._cached_check.cache_info().misses) == before
