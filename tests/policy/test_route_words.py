"""What a route tells people, the order of its hosts, and its limits."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from letterlock.policy.decision import Defer
from letterlock.policy.evidence import DestinationEvidence, MxHost, Route
from letterlock.policy.reasons import sentence
from letterlock.policy.route import MAX_HOSTS, route
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure
from letterlock.routing.routes import NextHop
from tests.policy.evidence import DOMAIN, HOST, INDETERMINATE, answer, destination, failure


def routed(evidence: DestinationEvidence) -> Route:
    found = route(evidence, list)
    assert isinstance(found, Route), found
    return found


@pytest.mark.parametrize(
    ("mx", "expected"),
    [
        (
            failure(DOMAIN, "MX"),
            "could not look up the MX records (servfail: no luck); a failed lookup does not mean that there are none",
        ),
        (
            failure(DOMAIN, "MX", FailureKind.BOGUS),
            "the MX answer fails DNSSEC validation (no luck); it may be forged",
        ),
        (
            answer(DOMAIN, "MX", security=INDETERMINATE),
            "could not determine whether the MX answer should be signed: no trust anchor covers the name",
        ),
        (
            answer(DOMAIN, "MX", *(f"10 a{number}_.b\\032c." for number in range(6))),
            "no MX record names a usable host: " + ", ".join(f"a{number}_.b\\032c." for number in range(5)),
        ),
    ],
)
def test_why_mail_waits_for_a_route(mx: Answer | LookupFailure, expected: str) -> None:
    found = route(replace(destination(), mx=mx), list)
    assert isinstance(found, Defer)
    assert [(one.subject, sentence(one)) for one in found.reasons] == [(DOMAIN, expected)]


def test_rfc5321_2_3_5_an_address_instead_of_a_name_is_told() -> None:
    found = routed(destination("10 192.0.2.1.", f"20 {HOST}."))
    assert [(one.subject, sentence(one)) for one in found.reasons] == [
        (DOMAIN, "an MX record names the IP address 192.0.2.1, and DANE needs a host name"),
    ]


def test_rfc5321_5_1_equals_are_handed_to_the_shuffle_as_they_were_answered() -> None:
    handed: list[list[str]] = []

    def shuffle(hosts: Sequence[MxHost]) -> Sequence[MxHost]:
        handed.append([host.name for host in hosts])
        return hosts[::-1]

    found = route(destination("20 z.example.", "20 a.example.", "10 m.example."), shuffle)
    assert handed == [["m.example"], ["z.example", "a.example"]]
    assert isinstance(found, Route)
    assert [host.name for host in found.hosts] == ["m.example", "a.example", "z.example"]


def test_a_host_named_by_the_operator_or_implied_has_no_preference_to_speak_of() -> None:
    static = routed(replace(destination(), next_hop=NextHop(HOST, is_host=True), mx=None))
    literal = routed(replace(destination(), next_hop=NextHop("[192.0.2.1]"), mx=None))
    assert [one.hosts[0].preference for one in (static, literal, routed(destination()))] == [0, 0, 0]


def test_the_limits_are() -> None:
    assert MAX_HOSTS == 20
    many = routed(destination(*(f"{number} h{number:03}.example." for number in range(150, 0, -1))))
    assert [host.name for host in many.hosts] == [f"h{number:03}.example" for number in range(1, 21)]


def test_records_of_another_type_are_no_hosts() -> None:
    mx = answer(DOMAIN, "MX", f"10 {HOST}.")
    stray = answer(DOMAIN, "A", "192.0.2.1")
    mixed = replace(mx, records=(*stray.records, *mx.records))
    assert [host.name for host in routed(replace(destination(), mx=mixed)).hosts] == [HOST]
