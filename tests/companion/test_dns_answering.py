"""Responses of the resolver door: AD, signatures, failures with their errors, sizes, cookies and time."""

import time
from collections.abc import Sequence
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from letterlock.companion import dns_answering
from tests.agreement.build import build
from tests.agreement.internet import Internet
from tests.companion.dns_world import (
    FAR_UDP,
    LOCAL_TCP,
    LOCAL_UDP,
    SITE,
    DnsWorld,
    extended_errors,
    query,
    rrsets,
)


@pytest.fixture(name="internet", scope="module")
def fixture_internet(tmp_path_factory: pytest.TempPathFactory) -> Internet:
    return build([SITE], tmp_path_factory.mktemp("zones"))


@pytest.fixture(name="world")
def fixture_world(internet: Internet) -> DnsWorld:
    return DnsWorld(internet)


@pytest.mark.parametrize(("do", "ad", "shown"), [(False, False, False), (True, False, True), (False, True, True)])
async def test_rfc6840_5_8_ad_is_set_for_secure_answers_to_clients_that_know_it(
    world: DnsWorld, do: bool, ad: bool, shown: bool
) -> None:
    for _ in range(2):  # from a lookup, and from memory
        reply = await world.ask("mx.s1", "A", do=do, ad=ad)
        assert reply.rcode() == dns.rcode.NOERROR
        assert bool(reply.flags & dns.flags.AD) is shown
        assert reply.flags & dns.flags.RA
        assert not reply.flags & dns.flags.AA
        assert [each.to_text() for each in reply.answer[0]] == ["192.0.2.1"]


async def test_rfc4035_3_2_3_ad_is_clear_for_what_is_proven_insecure(world: DnsWorld) -> None:
    reply = await world.ask("host.plain.s1", "A", do=True)
    assert reply.rcode() == dns.rcode.NOERROR
    assert not reply.flags & dns.flags.AD
    assert [each.to_text() for each in reply.answer[0]] == ["192.0.2.8"]
    alias = await world.ask("out.s1", "A", do=True)
    assert not alias.flags & dns.flags.AD
    assert rrsets(alias.answer)[:2] == ["out.s1. CNAME", "out.s1. RRSIG"]


async def test_rfc4035_3_2_1_signatures_come_with_do_and_only_then(world: DnsWorld) -> None:
    assert rrsets((await world.ask("mx.s1", "A", do=True)).answer) == ["mx.s1. A", "mx.s1. RRSIG"]
    assert rrsets((await world.ask("mx.s1", "A", ad=True)).answer) == ["mx.s1. A"]
    denied = await world.ask("mx.s1", "TXT", do=True)
    assert {"s1. SOA", "s1. RRSIG"} <= set(rrsets(denied.authority))
    assert any("NSEC" in each for each in rrsets(denied.authority))
    assert rrsets((await world.ask("mx.s1", "TXT")).authority) == ["s1. SOA"]


def kinds(section: list[dns.rrset.RRset]) -> set[str]:
    return {each for each in rrsets(section) if "RRSIG" not in each}


TYPES = [
    ("s1", "MX"), ("mx.s1", "AAAA"), ("_25._tcp.mx.s1", "TLSA"), ("s1", "NS"), ("s1", "SOA"), ("s1", "DNSKEY"),
    ("s1", "DS"), ("alias.s1", "A"), ("alias.s1", "CNAME"), ("mx.tree.s1", "A"), ("tree.s1", "DNAME"),
    ("a.wild.s1", "TXT"), ("big.s1", "TXT"), ("odd.s1", "TYPE65400"), ("caa.s1", "CAA"), ("srv.s1", "SRV"),
    ("web.s1", "HTTPS"), ("here.s1", "LOC"), (".", "NS"), (".", "DNSKEY"), ("none.s1", "A"), ("mx.s1", "NSEC"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rdtype"), TYPES, ids=[" ".join(each) for each in TYPES])
async def test_every_type_is_answered_as_the_authority_has_it_and_its_signatures_are_valid(
    world: DnsWorld, name: str, rdtype: str
) -> None:
    reply = await world.ask(name, rdtype, LOCAL_TCP, do=True)
    honest = dns.message.from_wire(world.internet.answer(query(name, rdtype, do=True).to_wire(), 65_535))
    assert reply.rcode() == honest.rcode()
    assert reply.flags & dns.flags.AD
    assert kinds(reply.answer) == kinds(honest.answer)
    for rrset in reply.answer:
        if rrset.rdtype != dns.rdatatype.RRSIG:
            theirs = dns.message.from_wire(honest.to_wire()).find_rrset(1, rrset.name, rrset.rdclass, rrset.rdtype)
            assert set(rrset.items) <= set(theirs.items)


async def test_bogus_is_servfail_with_an_extended_error_and_cd_gets_the_data(world: DnsWorld) -> None:
    world.forged.add(dns.name.from_text("mx.s1"))
    reply = await world.ask("mx.s1", "A", do=True)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert not reply.answer
    [(code, text)] = extended_errors(reply)
    assert code in (6, 7, 9, 10)
    assert text
    checking = await world.ask("mx.s1", "A", do=True, cd=True)
    assert checking.rcode() == dns.rcode.NOERROR
    assert checking.flags & dns.flags.CD
    assert not checking.flags & dns.flags.AD
    assert [each.to_text() for each in checking.answer[0]] == ["203.0.113.66"]
    assert rrsets(checking.answer) == ["mx.s1. A", "mx.s1. RRSIG"]


async def test_a_failed_lookup_is_servfail_with_an_extended_error(world: DnsWorld) -> None:
    world.broken |= {dns.name.from_text("mx.s1")}
    reply = await world.ask("mx.s1", "A")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert extended_errors(reply)[0][0] in (22, 23)
    without = await world.ask("mx.s1", "A", edns=False)
    assert without.rcode() == dns.rcode.SERVFAIL
    assert without.edns == -1


async def test_rfc6891_7_a_client_without_edns_gets_none_and_at_most_512_octets(world: DnsWorld) -> None:
    wire = await world.wire(query("big.s1", "TXT", edns=False).to_wire())
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert len(wire) <= 512
    assert reply.flags & dns.flags.TC
    assert not reply.answer
    assert reply.edns == -1


@pytest.mark.parametrize(("payload", "truncated"), [(512, True), (1232, True), (4096, True), (100, True)])
async def test_what_does_not_fit_is_truncated_and_whole_over_tcp(
    world: DnsWorld, payload: int, truncated: bool
) -> None:
    asked = query("big.s1", "TXT", do=True, payload=payload).to_wire()
    over_udp, over_tcp = await world.wire(asked), await world.wire(asked, LOCAL_TCP)
    assert over_udp is not None
    assert over_tcp is not None
    assert len(over_udp) <= max(512, min(payload, 1232))
    assert bool(dns.message.from_wire(over_udp).flags & dns.flags.TC) is truncated
    whole = dns.message.from_wire(over_tcp)
    assert whole.flags & dns.flags.AD
    assert len(whole.answer[0][0].strings) == 8


async def test_the_ttl_counts_down_and_nothing_is_served_past_it(world: DnsWorld) -> None:
    first = (await world.ask("mx.s1", "A")).answer[0].ttl
    queries = world.queries
    world.time = 10.0
    assert (await world.ask("mx.s1", "A")).answer[0].ttl == first - 10
    assert world.queries == queries
    world.time = first + 1.0
    await world.ask("mx.s1", "A")
    assert world.queries > queries


async def test_what_the_resolver_forgets_is_not_served_any_more(world: DnsWorld) -> None:
    await world.ask("mx.s1", "A")
    world.forged.add(dns.name.from_text("mx.s1"))
    world.resolver.trust(world.resolver.anchors)
    assert (await world.ask("mx.s1", "A")).rcode() == dns.rcode.SERVFAIL


async def test_the_client_gets_its_question_back_in_its_own_spelling(world: DnsWorld) -> None:
    for _ in range(2):
        asked = query("Mx.S1", "A").to_wire()
        wire = await world.wire(asked)
        assert wire is not None
        assert wire[12:23] == asked[12:23]
        assert dns.message.from_wire(wire).answer


@pytest.mark.parametrize("rdtype", ["ANY", "AXFR", "IXFR", "RRSIG", "TSIG"])
async def test_rfc8482_4_what_cannot_be_validated_is_not_implemented(world: DnsWorld, rdtype: str) -> None:
    reply = await world.ask("s1", rdtype)
    assert reply.rcode() == dns.rcode.NOTIMP
    assert extended_errors(reply) == [(21, "")]


async def test_rfc7873_5_2_3_a_client_on_this_machine_gets_a_cookie_and_an_answer(world: DnsWorld) -> None:
    reply = await world.ask("mx.s1", "A", cookie=b"12345678")
    [option] = [each for each in reply.options if each.otype == 10]
    assert reply.answer
    assert len(option.to_wire()) == 24
    assert option.to_wire()[:8] == b"12345678"


async def test_rfc7873_5_2_3_others_have_to_show_it_first(world: DnsWorld) -> None:
    refused = await world.ask("mx.s1", "A", FAR_UDP, cookie=b"12345678")
    assert refused.rcode() == dns.rcode.BADCOOKIE
    assert not refused.answer
    [option] = [each for each in refused.options if each.otype == 10]
    reply = await world.ask("mx.s1", "A", FAR_UDP, cookie=option.to_wire())
    assert reply.answer
    elsewhere = dns_answering.Client(b"\xc0\0\2\2", over_tcp=False, is_local=False)
    assert (await world.ask("mx.s1", "A", elsewhere, cookie=option.to_wire())).rcode() == dns.rcode.BADCOOKIE
    world.time = 3700.0
    assert (await world.ask("mx.s1", "A", FAR_UDP, cookie=option.to_wire())).rcode() == dns.rcode.BADCOOKIE


async def test_rfc7873_5_2_2_a_cookie_of_a_wrong_length_is_a_format_error(world: DnsWorld) -> None:
    for cookie in (b"", b"1234567", b"123456789", b"x" * 41):
        assert (await world.ask("mx.s1", "A", cookie=cookie)).rcode() == dns.rcode.FORMERR


QUERIES: Sequence[dict[str, Any]] = ({}, {"edns": False}, {"do": True}, {"do": True, "payload": 4096}, {"cd": True})


@pytest.mark.parametrize("options", QUERIES)
async def test_nobody_who_may_be_forged_gets_more_than_they_sent(world: DnsWorld, options: dict[str, Any]) -> None:
    for name, rdtype in TYPES:
        asked = query(name, rdtype, **options).to_wire()
        wire = await world.wire(asked, FAR_UDP)
        assert wire is not None
        assert len(wire) <= len(asked)
        assert dns.message.from_wire(wire).flags & dns.flags.TC


async def test_lookups_are_bounded(world: DnsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_answering, "MAX_LOOKUPS", 0)
    reply = await world.ask("mx.s1", "A")
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert extended_errors(reply) == [(0, "too many lookups at once")]


async def test_responses_that_are_kept_are_bounded_in_octets(world: DnsWorld) -> None:
    small = dns_answering.DnsAnswering(world.resolver, world.now, max_octets=3_000)
    world.answering = small
    for number in range(50):
        await world.ask(f"n{number}.wild.s1", "TXT", do=True)
    assert small._octets <= 3_000
    assert small._octets == sum(450 + 2 * len(each.body.records) for each in small._ready.values())
    assert len(small._ready) < 5


async def test_a_response_and_half_a_header_are_never_answered(world: DnsWorld) -> None:
    reply = query("mx.s1", "A")
    reply.flags |= dns.flags.QR
    assert await world.wire(reply.to_wire()) is None
    assert await world.wire(b"\0" * 11) is None
    assert await world.wire(b"") is None


async def test_a_query_from_memory_takes_no_lookup_and_little_time(world: DnsWorld) -> None:
    asked = query("mx.s1", "A", do=True).to_wire()
    await world.wire(asked)
    await world.wire(asked)
    began = time.process_time()
    for _ in range(200):
        assert isinstance(world.answering.at_once(asked, LOCAL_UDP), bytes)
    assert time.process_time() - began < 0.5  # some 20 microseconds each where it was measured
