"""Mail does not go round in a circle: this server, and no better hosts, are left out (RFC 5321 section 5.1)."""

import pytest

from letterlock.policy.decision import Defer
from letterlock.policy.evidence import Route
from letterlock.policy.reasons import status
from letterlock.policy.route import route
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
