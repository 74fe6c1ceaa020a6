"""What is asked for and in which order: RFC 5321 section 5.1, RFC 7672 sections 2.1 and 2.2."""

from collections.abc import Iterable
from dataclasses import replace

import dns.rdatatype
import pytest

from letterlock.discover import MAX_ADDRESSES, Discoverer
from letterlock.mtasts import Absent, Known, Mode, StsEvidence, StsPolicy
from letterlock.policy.decision import SkipHost
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin, TargetHost
from letterlock.policy.reasons import sentence
from letterlock.policy.require import require
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop
from letterlock.routing.rules import Rules
from tests.net.https_servers import FixedClock
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INDETERMINATE,
    INSECURE,
    SECURE,
    UNUSABLE_TLSA,
    answer,
    failure,
    rule,
)

Found = Answer | LookupFailure
TLSA_NAME = f"_25._tcp.{HOST}"


class Book:
    """A resolver that answers from a list, absence for the rest, and remembers what it was asked."""

    def __init__(self, known: Iterable[Found]) -> None:
        self._known = {(str(one.question.name).rstrip("."), one.question.rdtype): one for one in known}
        self.asked: list[str] = []

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Found:
        text = dns.rdatatype.to_text(rdtype)
        self.asked.append(f"{name} {text}")
        return self._known.get((name, rdtype)) or answer(name, text)

    @property
    def asked_tlsa(self) -> list[str]:
        return [one.removesuffix(" TLSA") for one in self.asked if one.endswith(" TLSA")]


def mx_host(name: str = HOST, origin: Origin = Origin.MX) -> MxHost:
    return MxHost(name=name, preference=10, origin=origin, secure=True)


async def discovered(*known: Found, host: MxHost | None = None, port: int = 25) -> tuple[TargetHost, Book]:
    book = Book(known)
    return await Discoverer(book, Rules({}), clock=FixedClock()).host(host or mx_host(), port), book


class WithoutIpv6:
    """A machine that has only IPv4."""

    def listens(self, address: str, port: int) -> bool:  # the port's signature
        return False

    def only_by_route(self, address: str) -> bool:  # as above
        return False

    def has_ipv6(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("known", "asked", "addresses"),
    [
        ([answer(HOST, "A", "192.0.2.1", security=INSECURE), answer(HOST, "AAAA", "2001:db8::1")], "A", ["192.0.2.1"]),
        ([answer(HOST, "AAAA", "2001:db8::1", security=INSECURE)], "A AAAA A", ["2001:db8::1"]),
        ([failure(HOST, "A"), answer(HOST, "AAAA", "2001:db8::1", security=INSECURE)], "A AAAA A", ["2001:db8::1"]),
        ([], "A AAAA A", []),
    ],
    ids=["A", "no A record", "A not found out", "nothing"],
)
async def test_a_machine_without_ipv6_asks_for_it_only_where_there_is_nothing_else(
    known: list[Found], asked: str, addresses: list[str]
) -> None:
    """What it cannot dial is no reason to ask; but a host that has nothing else is there, and not without address."""
    book = Book(known)
    finder = Discoverer(book, Rules({}), clock=FixedClock(), ourselves=WithoutIpv6())
    target = await finder.host(mx_host(), 25)
    assert [one.removeprefix(f"{HOST} ") for one in book.asked] == asked.split()
    assert list(target.addresses) == addresses
    assert len(target.address_lookups) == (1 if asked == "A" else 2)


async def test_for_another_server_both_families_are_asked_for() -> None:
    book = Book([answer(HOST, "A", "192.0.2.1", security=INSECURE)])
    finder = Discoverer(book, Rules({}), clock=FixedClock(), ourselves=WithoutIpv6()).for_another_server()
    await finder.host(mx_host(), 25)
    assert book.asked == [f"{HOST} AAAA", f"{HOST} A"]


async def test_a_destination_is_its_mx_answer_and_its_rule() -> None:
    mx, demand = answer(DOMAIN, "MX", f"10 {HOST}."), rule(TlsRule.VERIFY)
    book = Book([mx])
    found = await Discoverer(book, Rules({DOMAIN: demand}), clock=FixedClock()).destination(NextHop(DOMAIN, 26))
    assert (found.mx, found.rule, found.next_hop) == (mx, demand, NextHop(DOMAIN, 26))
    assert book.asked == [f"{DOMAIN} MX"]


@pytest.mark.parametrize(("written_for", "expected"), [(DOMAIN, True), ("*", False), ("." + DOMAIN, False)])
async def test_only_a_rule_for_the_very_domain_says_that_it_is_there(written_for: str, expected: bool) -> None:
    demand = replace(rule(TlsRule.MAY), domain=written_for)
    discoverer = Discoverer(Book([]), Rules({written_for: demand}), clock=FixedClock())
    assert (await discoverer.destination(NextHop(DOMAIN))).expected_by == (demand.source if expected else None)
    assert (await discoverer.destination(NextHop("other.example"))).expected_by is None


async def test_a_failed_mx_lookup_stays_a_failure() -> None:
    lost = failure(DOMAIN, "MX")
    found = await Discoverer(Book([lost]), Rules({}), clock=FixedClock()).destination(NextHop(DOMAIN))
    assert (found.mx, found.rule) == (lost, None)


async def test_rfc5321_4_1_3_an_address_literal_asks_nothing() -> None:
    book = Book([])
    discoverer = Discoverer(book, Rules({}), clock=FixedClock())
    assert (await discoverer.destination(NextHop("[192.0.2.1]"))).mx is None
    found = await discoverer.host(mx_host("192.0.2.1", Origin.LITERAL), 25)
    assert book.asked == []
    assert (found.addresses, found.address_security) == (("192.0.2.1",), INSECURE)
    assert (found.tlsa_base, found.tlsa) == (None, None)


async def test_rfc7672_2_2_2_addresses_come_first_and_then_tlsa() -> None:
    tlsa = answer(TLSA_NAME, "TLSA", GOOD_TLSA)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1"), answer(HOST, "AAAA", "2001:db8::1"), tlsa)
    assert sorted(book.asked[:2]) == [f"{HOST} A", f"{HOST} AAAA"]
    assert book.asked[2:] == [f"{TLSA_NAME} TLSA"]
    assert found.addresses == ("2001:db8::1", "192.0.2.1")
    assert (found.address_security, found.tlsa_base, found.tlsa) == (SECURE, HOST, tlsa)
    assert (found.canonical_name, found.port) == (HOST, 25)
    assert len(found.address_lookups) == 2


async def test_rfc7672_2_2_3_the_port_really_used_is_asked_for() -> None:
    tlsa = answer(f"_2525._tcp.{HOST}", "TLSA", GOOD_TLSA)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1"), tlsa, port=2525)
    assert book.asked_tlsa == [f"_2525._tcp.{HOST}"]
    assert (found.tlsa, found.port) == (tlsa, 2525)


@pytest.mark.parametrize("security", [INSECURE, INDETERMINATE])
async def test_rfc7672_2_2_2_tlsa_is_not_asked_for_where_the_address_is_not_secure(security: object) -> None:
    weak = INSECURE if security is INSECURE else INDETERMINATE
    found, book = await discovered(answer(HOST, "A", "192.0.2.1", security=weak))
    assert book.asked_tlsa == []
    assert (found.address_security, found.tlsa_base, found.tlsa) == (weak, None, None)


async def test_the_security_of_addresses_is_the_weakest_that_gave_any() -> None:
    aaaa = answer(HOST, "AAAA", "2001:db8::1", security=INSECURE)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1"), aaaa)
    assert (found.address_security, book.asked_tlsa) == (INSECURE, [])
    absent, asked = await discovered(answer(HOST, "A", "192.0.2.1"), answer(HOST, "AAAA", security=INSECURE))
    assert (absent.address_security, asked.asked_tlsa) == (SECURE, [TLSA_NAME])


@pytest.mark.parametrize("kind", list(FailureKind))
async def test_one_failed_address_family_does_not_make_the_host_insecure(kind: FailureKind) -> None:
    lost = failure(HOST, "AAAA", kind)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1"), lost, answer(TLSA_NAME, "TLSA", GOOD_TLSA))
    assert (found.addresses, found.address_security) == (("192.0.2.1",), SECURE)
    assert book.asked_tlsa == [TLSA_NAME]
    assert lost in found.address_lookups


async def test_no_address_asks_for_no_tlsa() -> None:
    for known in ([], [failure(HOST, "A"), failure(HOST, "AAAA")], [failure(HOST, "A")]):
        found, book = await discovered(*known)
        assert (found.addresses, found.address_security, found.tlsa, book.asked_tlsa) == ((), None, None, [])
        assert (len(found.address_lookups), found.canonical_name) == (2, HOST)


async def test_rfc7672_2_1_2_a_failed_tlsa_lookup_stays_a_failure() -> None:
    lost = failure(TLSA_NAME, "TLSA")
    found, _ = await discovered(answer(HOST, "A", "192.0.2.1"), lost)
    assert (found.tlsa_base, found.tlsa) == (HOST, lost)


# CNAMEs at the host.

ALIASES = [("middle.example.net", SECURE), ("End.example.net", SECURE)]
END = "end.example.net"


async def test_rfc7672_2_2_2_a_secure_chain_asks_at_its_end_first() -> None:
    tlsa = answer(f"_25._tcp.{END}", "TLSA", GOOD_TLSA)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1", aliases=ALIASES), tlsa)
    assert book.asked_tlsa == [f"_25._tcp.{END}"]
    assert (found.tlsa_base, found.tlsa, found.canonical_name) == (END, tlsa, END)


async def test_rfc7672_2_2_2_then_at_the_name_itself_and_never_between() -> None:
    tlsa = answer(TLSA_NAME, "TLSA", GOOD_TLSA)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1", aliases=ALIASES), tlsa)
    assert book.asked_tlsa == [f"_25._tcp.{END}", TLSA_NAME]
    assert (found.tlsa_base, found.tlsa) == (HOST, tlsa)


async def test_rfc7672_2_2_2_unusable_records_at_the_end_are_records_too() -> None:
    tlsa = answer(f"_25._tcp.{END}", "TLSA", UNUSABLE_TLSA)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1", aliases=ALIASES), tlsa)
    assert (found.tlsa_base, book.asked_tlsa) == (END, [f"_25._tcp.{END}"])


async def test_rfc7672_2_2_2_insecure_records_at_the_end_do_not_hide_the_name() -> None:
    unsigned = answer(f"_25._tcp.{END}", "TLSA", GOOD_TLSA, security=INSECURE)
    tlsa = answer(TLSA_NAME, "TLSA", GOOD_TLSA)
    found, _ = await discovered(answer(HOST, "A", "192.0.2.1", aliases=ALIASES), unsigned, tlsa)
    assert (found.tlsa_base, found.tlsa) == (HOST, tlsa)


@pytest.mark.parametrize(
    "lost", [failure(f"_25._tcp.{END}", "TLSA"), answer(f"_25._tcp.{END}", "TLSA", security=INDETERMINATE)]
)
async def test_rfc7672_2_1_2_what_cannot_be_found_out_at_the_end_ends_the_search(lost: Found) -> None:
    known = answer(HOST, "A", "192.0.2.1", aliases=ALIASES)
    found, book = await discovered(known, lost, answer(TLSA_NAME, "TLSA", GOOD_TLSA))
    assert (found.tlsa_base, found.tlsa, len(book.asked_tlsa)) == (END, lost, 1)


async def test_rfc7672_2_2_2_a_signed_first_link_into_an_unsigned_zone_asks_at_the_name_only() -> None:
    aliases = [("middle.example.net", SECURE), (END, INSECURE)]
    tlsa = answer(TLSA_NAME, "TLSA", GOOD_TLSA)
    found, book = await discovered(answer(HOST, "A", "192.0.2.1", aliases=aliases, security=INSECURE), tlsa)
    assert book.asked_tlsa == [TLSA_NAME]
    assert (found.tlsa_base, found.tlsa, found.address_security) == (HOST, tlsa, INSECURE)


async def test_rfc7672_2_2_2_an_unsigned_first_link_has_no_dane() -> None:
    aliases = [("middle.example.net", INSECURE), (END, SECURE)]
    found, book = await discovered(answer(HOST, "A", "192.0.2.1", aliases=aliases, security=INSECURE))
    assert (found.tlsa_base, found.tlsa, book.asked_tlsa) == (None, None, [])
    assert found.canonical_name == END


# Bounds.


async def test_the_number_of_addresses_is_bounded_and_both_families_stay() -> None:
    many_a = answer(HOST, "A", *(f"192.0.2.{number}" for number in range(1, 60)))
    many_aaaa = answer(HOST, "AAAA", *(f"2001:db8::{number:x}" for number in range(1, 60)))
    found, _ = await discovered(many_a, many_aaaa)
    assert len(found.addresses) == MAX_ADDRESSES
    assert sum(":" in address for address in found.addresses) == MAX_ADDRESSES // 2


async def test_an_address_given_twice_is_dialled_once() -> None:
    found, _ = await discovered(answer(HOST, "A", "192.0.2.1", "192.0.2.1", "192.0.2.2"))
    assert found.addresses == ("192.0.2.1", "192.0.2.2")


# --- MTA-STS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("octets", "asked"), [(244, True), (245, False), (246, False), (253, False)])
async def test_a_name_too_long_for_tlsa_is_a_lookup_that_failed(octets: int, asked: bool) -> None:
    """`_25._tcp.` has nine octets, and a name 255 on the wire, which are 253 as text (RFC 1035 section 2.3.4)."""
    name = ".".join(["x" * 61] * 3 + ["y" * (octets - 3 * 62)])
    name = name if octets - 3 * 62 <= 63 else ".".join(["x" * 61] * 3 + ["y" * 29, "z" * (octets - 3 * 62 - 30)])
    assert len(name) == octets
    found, book = await discovered(answer(name, "A", "192.0.2.1", security=SECURE), host=mx_host(name))
    assert bool(book.asked_tlsa) is asked
    assert isinstance(found.tlsa, Answer if asked else LookupFailure)
    required = require(DestinationEvidence(next_hop=NextHop(DOMAIN), mx=None, rule=None), found)
    if not asked:
        assert isinstance(required, SkipHost)
        assert required.reasons[0].code == "rfc7672-2.1.2-tlsa-lookup-failed"
        assert "longer than the 255 octets" in sentence(required.reasons[0])


class HandPolicies:
    """Policies by hand, and what a second look finds."""

    def __init__(self, first: StsEvidence, later: StsEvidence) -> None:
        self.first, self.later = first, later

    async def find(self, domain: str) -> StsEvidence:
        return self.first

    async def recheck(self, domain: str) -> StsEvidence:
        return self.later


def known(mode: Mode, *, from_cache: bool = True) -> Known:
    policy = StsPolicy(mode=mode, max_age_seconds=604_800, mx=(HOST,))
    return Known(policy=policy, id="1", fetched_at=0, expires_at=1, from_cache=from_cache)


def discoverer_with(first: StsEvidence, later: StsEvidence) -> Discoverer:
    book = Book([answer(DOMAIN, "MX", f"10 {HOST}.")])
    return Discoverer(book, Rules({}), clock=FixedClock(), sts=HandPolicies(first, later))


async def test_rfc8461_3_4_the_policy_is_that_of_the_next_hop_domain() -> None:
    found = await discoverer_with(known(Mode.ENFORCE), Absent()).destination(NextHop(DOMAIN))
    assert found.sts == known(Mode.ENFORCE)
    assert found.at == FixedClock().now()


async def test_rfc8461_an_address_literal_has_no_policy() -> None:
    discoverer = discoverer_with(known(Mode.ENFORCE), Absent())
    found = await discoverer.destination(NextHop("[192.0.2.1]"))
    assert found.sts is None
    assert not await discoverer.reconsider(found)


@pytest.mark.parametrize(
    ("first", "later", "changed"),
    [
        (known(Mode.ENFORCE), known(Mode.ENFORCE, from_cache=False), False),
        (known(Mode.ENFORCE), known(Mode.NONE), True),
        (known(Mode.ENFORCE), Absent(), True),
        (Absent(), Absent(), False),
        (Absent(), known(Mode.ENFORCE), True),
    ],
)
async def test_rfc8461_5_1_a_second_look_tells_whether_another_policy_holds(
    first: StsEvidence, later: StsEvidence, *, changed: bool
) -> None:
    discoverer = discoverer_with(first, later)
    evidence = await discoverer.destination(NextHop(DOMAIN))
    assert await discoverer.reconsider(evidence) is changed


async def test_a_rule_for_the_sender_is_found_with_the_destination() -> None:
    book = Book([answer(DOMAIN, "MX", f"10 {HOST}.")])
    by_sender = rule(TlsRule.DANE_ONLY)
    discoverer = Discoverer(book, Rules({}, {"sender.example": by_sender}), clock=FixedClock())
    assert (await discoverer.destination(NextHop(DOMAIN), "sender.example")).rule is by_sender
    assert (await discoverer.destination(NextHop(DOMAIN))).rule is None


SRV = answer(f"_smtp-tls._tcp.{DOMAIN}", "SRV", f"0 1 465 {HOST}.", security=SECURE)


async def announced(*known: Found, on: bool = True, domain: str = DOMAIN) -> tuple[DestinationEvidence, Book]:
    book = Book(known)
    discoverer = Discoverer(book, Rules({}), clock=FixedClock(), implicit_tls=on)
    return await discoverer.destination(NextHop(domain)), book


async def test_srv_records_of_implicit_tls_are_asked_for_beside_signed_mx_records() -> None:
    evidence, book = await announced(answer(DOMAIN, "MX", f"10 {HOST}.", security=SECURE), SRV)
    assert evidence.smtp_tls == SRV
    assert book.asked == [f"{DOMAIN} MX", f"_smtp-tls._tcp.{DOMAIN} SRV"]


async def test_rfc1035_3_2_1_evidence_is_of_the_moment_when_the_last_answer_came() -> None:
    """Who remembers it counts what is left of the first TTL from then on."""

    class Slow(Book, FixedClock):
        """A resolver by whose every answer it is three seconds later."""

        def now(self) -> float:
            return 3.0 * len(self.asked)

    book = Slow([answer(DOMAIN, "MX", f"10 {HOST}.", security=SECURE), SRV])
    evidence = await Discoverer(book, Rules({}), clock=book, implicit_tls=True).destination(NextHop(DOMAIN))
    assert evidence.smtp_tls == SRV
    assert evidence.at == book.now() == 6.0


@pytest.mark.parametrize(
    "mx",
    [
        answer(DOMAIN, "MX", f"10 {HOST}.", security=INSECURE),
        answer(DOMAIN, "MX", security=SECURE),
        failure(DOMAIN, "MX"),
    ],
    ids=["unsigned", "none", "failed"],
)
async def test_they_are_not_asked_for_where_they_cannot_pay(mx: Found) -> None:
    evidence, book = await announced(mx, SRV)
    assert evidence.smtp_tls is None
    assert book.asked == [f"{DOMAIN} MX"]


async def test_off_they_are_never_asked_for_and_for_another_server_neither() -> None:
    mx = answer(DOMAIN, "MX", f"10 {HOST}.", security=SECURE)
    assert (await announced(mx, SRV, on=False))[0].smtp_tls is None
    book = Book((mx, SRV))
    discoverer = Discoverer(book, Rules({}), clock=FixedClock(), implicit_tls=True).for_another_server()
    assert (await discoverer.destination(NextHop(DOMAIN))).smtp_tls is None


async def test_a_domain_too_long_for_the_service_has_none() -> None:
    domain = ".".join(["a" * 60] * 4)[:244]
    mx = answer(domain, "MX", f"10 {HOST}.", security=SECURE)
    evidence, _ = await announced(mx, domain=domain)
    assert evidence.smtp_tls is None
