"""Mail does not go round in a circle: this server, and no better hosts, are left out (RFC 5321 section 5.1)."""

import pytest

from letterlock.policy.decision import Defer
from letterlock.policy.evidence import Route
from letterlock.policy.reasons import status
from letterlock.policy.route import MAX_HOSTS, route
from tests.policy.evidence import destination

OWN = "mx2.example.org"


@pytest.mark.parametrize(
    ("records", "left"),
    [
        (("10 mx1.example.org.", "20 mx2.example.org.", "30 mx3.example.org."), ["mx1.example.org"]),
        (("10 mx1.example.org.", "20 mx2.example.org.", "20 mx4.example.org."), ["mx1.example.org"]),
        (("10 mx1.example.org.", "20 MX2.Example.ORG.", "5 mx0.example.org."), ["mx0.example.org", "mx1.example.org"]),
        (("10 mx1.example.org.", "20 mx3.example.org."), ["mx1.example.org", "mx3.example.org"]),
    ],
)
def test_rfc5321_5_1_hosts_no_better_than_this_one_are_left_out(records: tuple[str, ...], left: list[str]) -> None:
    found = route(destination(*records), list, OWN)
    assert isinstance(found, Route)
    assert [host.name for host in found.hosts] == left


def test_rfc5321_5_1_when_nobody_is_better_mail_waits_for_the_record_may_be_forged() -> None:
    found = route(destination("10 mx2.example.org.", "20 mx3.example.org."), list, OWN)
    assert isinstance(found, Defer)
    assert found.reasons[0].code == "rfc5321-5.1-own-host"
    assert status(found.reasons[0]) == "4.4.6"


def test_rfc5321_5_1_a_domain_without_mx_that_is_this_server_waits_too() -> None:
    found = route(destination(), list, "example.org")
    assert isinstance(found, Defer)
    assert found.reasons[0].code == "rfc5321-5.1-own-host"


@pytest.mark.parametrize("preference", [10, 20])
def test_rfc5321_5_1_this_server_is_found_among_more_hosts_than_are_tried(preference: int) -> None:
    """Cut off first, it would not be seen, and the mail would go round by a host that is no better."""
    others = [f"{preference} h{number}.example.org." for number in range(MAX_HOSTS + 5)]
    found = route(destination(*others, f"10 {OWN}."), list, OWN)
    assert isinstance(found, Defer)
    assert found.reasons[0].code == "rfc5321-5.1-own-host"
    better = route(destination("5 mx0.example.org.", *others, f"10 {OWN}."), list, OWN)
    assert isinstance(better, Route)
    assert [host.name for host in better.hosts] == ["mx0.example.org"]


def test_rfc7505_3_root_names_beside_a_host_are_no_null_mx_however_many() -> None:
    found = route(destination(*(f"{number} ." for number in range(120)), "200 mx1.example.org."), list, OWN)
    assert isinstance(found, Route)
    assert [host.name for host in found.hosts] == ["mx1.example.org"]
