"""The hosts to try: RFC 5321 section 5.1, RFC 7505, RFC 7672 sections 2.1 and 2.2.1."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.policy.decision import Defer, Refuse, Requirement
from letterlock.policy.evidence import DestinationEvidence, MxHost, Origin, Route
from letterlock.policy.reasons import status
from letterlock.policy.require import require
from letterlock.policy.route import MAX_HOSTS, route
from letterlock.resolver.answer import Absence, FailureKind
from letterlock.routing.destination_rule import RuleException, TlsRule
from letterlock.routing.routes import NextHop
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    INDETERMINATE,
    INSECURE,
    NOW,
    SECURE,
    destination,
    failure,
    rule,
    skipped,
    target,
)


def same(hosts: Sequence[MxHost]) -> Sequence[MxHost]:
    return hosts


def backwards(hosts: Sequence[MxHost]) -> Sequence[MxHost]:
    return hosts[::-1]


def routed(evidence: DestinationEvidence) -> Route:
    found = route(evidence, same)
    assert isinstance(found, Route), found
    return found


def deferred(evidence: DestinationEvidence) -> tuple[str, str]:
    """The code and the status."""
    found = route(evidence, same)
    assert isinstance(found, Defer), found
    return found.reasons[0].code, status(found.reasons[0])


def refused(evidence: DestinationEvidence) -> tuple[str, str]:
    found = route(evidence, same)
    assert isinstance(found, Refuse), found
    assert status(found.reasons[0]) == found.status
    return found.reasons[0].code, found.status


def names(found: Route) -> list[str]:
    return [host.name for host in found.hosts]


def test_rfc5321_5_1_hosts_come_by_preference() -> None:
    found = routed(destination("20 b.example.", "10 A.example.", "30 c.example."))
    assert names(found) == ["a.example", "b.example", "c.example"]
    assert [host.preference for host in found.hosts] == [10, 20, 30]
    assert {host.origin for host in found.hosts} == {Origin.MX}
    assert (found.next_hop, found.mx_security, found.reasons) == (NextHop(DOMAIN), SECURE, ())


def test_rfc5321_5_1_equals_are_shuffled_within_their_preference_only() -> None:
    evidence = destination("10 a.example.", "10 b.example.", "5 first.example.", "20 c.example.", "20 d.example.")
    found = route(evidence, backwards)
    assert isinstance(found, Route)
    assert names(found) == ["first.example", "b.example", "a.example", "d.example", "c.example"]


def test_rfc7672_2_2_1_a_host_is_secure_exactly_when_the_mx_answer_is() -> None:
    assert routed(destination("10 a.example.")).hosts[0].secure
    found = routed(destination("10 a.example.", security=INSECURE))
    assert (found.hosts[0].secure, found.mx_security) == (False, INSECURE)


def test_a_host_named_twice_is_tried_once_at_its_best() -> None:
    found = routed(destination("20 a.example.", "10 A.EXAMPLE.", "15 b.example."))
    assert [(host.name, host.preference) for host in found.hosts] == [("a.example", 10), ("b.example", 15)]


def test_the_number_of_hosts_is_bounded() -> None:
    found = routed(destination(*(f"{number} h{number}.example." for number in range(60))))
    assert names(found) == [f"h{number}.example" for number in range(MAX_HOSTS)]


@pytest.mark.parametrize("security", [SECURE, INSECURE])
def test_rfc5321_5_1_without_mx_the_domain_itself_is_the_host(security: object) -> None:
    secure = security is SECURE
    found = routed(destination(security=SECURE if secure else INSECURE))
    assert found.hosts == (MxHost(name=DOMAIN, preference=0, origin=Origin.IMPLICIT_MX, secure=secure),)
    assert found.reasons[0].code == "rfc5321-5.1-implicit-mx"


@pytest.mark.parametrize("kind", list(FailureKind))
def test_rfc7672_2_1_2_a_failed_mx_lookup_defers_and_is_never_an_absence(kind: FailureKind) -> None:
    evidence = DestinationEvidence(next_hop=NextHop(DOMAIN), mx=failure(DOMAIN, "MX", kind), rule=None)
    special = {
        FailureKind.BOGUS: ("rfc7672-2.1.2-mx-bogus", "4.7.5"),
        FailureKind.NO_UPSTREAM: ("rfc7672-2.1.2-no-resolver", "4.4.3"),
    }
    assert deferred(evidence) == special.get(kind, ("rfc7672-2.1.2-mx-lookup-failed", "4.4.3"))


@pytest.mark.parametrize("records", [(), ("10 a.example.",)])
def test_rfc7672_2_1_1_indeterminate_is_a_failed_lookup(records: tuple[str, ...]) -> None:
    assert deferred(destination(*records, security=INDETERMINATE)) == ("rfc7672-2.1.1-indeterminate", "4.7.5")


def test_rfc7505_3_null_mx_is_refused() -> None:
    assert refused(destination("0 .")) == ("rfc7505-3-null-mx", "5.1.10")
    assert refused(destination("10 .", "0 .")) == ("rfc7505-3-null-mx", "5.1.10")


def test_rfc7505_3_a_null_mx_beside_others_is_no_host() -> None:
    assert names(routed(destination("0 .", "10 a.example."))) == ["a.example"]


def test_rfc5321_5_1_no_such_domain_is_refused() -> None:
    for security in (SECURE, INSECURE):
        evidence = destination(absence=Absence.NXDOMAIN, security=security)
        assert refused(evidence) == ("rfc5321-5.1-no-such-domain", "5.1.2")


def test_rfc7672_2_2_an_mx_that_is_an_ip_address_gets_no_dane() -> None:
    found = routed(destination("10 192.0.2.7.", "20 a.example."))
    assert found.hosts[0] == MxHost(name="192.0.2.7", preference=10, origin=Origin.LITERAL, secure=False)
    assert [reason.code for reason in found.reasons] == ["rfc5321-2.3.5-mx-is-address"]


@pytest.mark.parametrize(("literal", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1")])
def test_rfc5321_4_1_3_an_address_literal_is_its_own_host(literal: str, address: str) -> None:
    found = routed(DestinationEvidence(next_hop=NextHop(literal), mx=None, rule=None))
    assert found.hosts == (MxHost(name=address, preference=0, origin=Origin.LITERAL, secure=False),)
    assert (found.mx_security, found.reasons[0].code) == (INSECURE, "rfc5321-4.1.3-literal")


def test_a_literal_without_an_address_in_it_is_refused() -> None:
    evidence = DestinationEvidence(next_hop=NextHop("[nonsense]"), mx=None, rule=None)
    assert refused(evidence) == ("rfc5321-5.1-no-such-domain", "5.1.2")


def test_names_that_cannot_be_asked_for_are_left_out_and_alone_defer() -> None:
    assert names(routed(destination(r"10 a\032b.example.", "20 ok.example."))) == ["ok.example"]
    evidence = destination(r"10 a\032b.example.")
    assert deferred(evidence) == ("rfc5321-5.1-mx-unusable", "4.4.4")


def test_rfc7672_2_2_1_and_6_mandatory_dane_needs_a_signed_mx() -> None:
    evidence = destination("10 a.example.", security=INSECURE, demand=rule(TlsRule.DANE_ONLY))
    [host] = routed(evidence).hosts
    unsigned = target(GOOD_TLSA, mx_secure=host.secure)
    assert skipped(unsigned, evidence) == "rfc7672-6-insecure-mx"


@pytest.mark.parametrize(
    ("change", "demand"),
    [
        ({"audit": True}, TlsDemand.NONE),
        ({"exception": RuleException(allow_clear=True, why="they sign it next week", until=NOW)}, TlsDemand.NONE),
        ({"lifted_by_header": True}, TlsDemand.TLS_REQUIRED_NO),
    ],
)
def test_what_lifts_mandatory_dane_lifts_it_for_an_unsigned_mx_too(
    change: dict[str, object], demand: TlsDemand
) -> None:
    mandatory = replace(rule(TlsRule.DANE_ONLY), **change)  # type: ignore[arg-type]  # tests name the fields themselves
    evidence = destination("10 a.example.", security=INSECURE, demand=mandatory)
    assert names(routed(evidence)) == ["a.example"]
    assert isinstance(require(evidence, target(mx_secure=False), demand), Requirement)
