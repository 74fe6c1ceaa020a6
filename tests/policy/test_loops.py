"""Mail that would come back to this server (RFC 5321 section 5.1)."""

from dataclasses import replace

import pytest

from letterlock.mtasts import Known, Mode, StsPolicy
from letterlock.policy.decision import Defer, Refuse, Requirement
from letterlock.policy.evidence import Origin
from letterlock.policy.reasons import sentence, status
from letterlock.policy.require import require
from letterlock.resolver.answer import Security
from letterlock.routing.routes import RelayHost
from tests.policy.evidence import NOW, destination, target

OURS = ("192.0.2.1",)
HERE = ("127.0.0.1",)


def test_rfc5321_5_1_the_best_host_is_this_server_the_message_fails_at_once() -> None:
    found = require(destination("10 mx.example.org."), replace(target(), ours=OURS))
    assert isinstance(found, Refuse)
    assert found.status == "5.4.6"
    assert found.reasons[0].code == "rfc5321-5.1-loops-back"
    assert "loops back to this server" in sentence(found.reasons[0])
    assert OURS[0] in sentence(found.reasons[0])


def test_rfc5321_5_1_a_better_host_may_answer_later() -> None:
    found = require(destination("5 better.example.org.", "10 mx.example.org."), replace(target(), ours=OURS))
    assert isinstance(found, Defer)
    assert status(found.reasons[0]) == "4.4.6"


@pytest.mark.parametrize("origin", [Origin.IMPLICIT_MX, Origin.LITERAL])
def test_rfc5321_5_1_a_domain_or_literal_without_mx_that_is_this_server_fails(origin: Origin) -> None:
    host = replace(target().host, origin=origin)
    assert isinstance(require(replace(destination(), mx=None), replace(target(), host=host, ours=OURS)), Refuse)


def test_a_route_that_leads_here_is_the_operators_to_mend_and_mail_waits() -> None:
    evidence = replace(destination("10 mx.example.org."), relay=RelayHost(domain="relay.example.net", source="t:1"))
    found = require(evidence, replace(target(), ours=OURS))
    assert isinstance(found, Defer)
    assert found.reasons[0].code == "rfc5321-5.1-own-address"


def test_where_a_policy_says_that_there_is_a_server_the_address_may_be_forged() -> None:
    policy = StsPolicy(mode=Mode.ENFORCE, mx=("mx.example.org",), max_age_seconds=86400)
    sts = Known(policy=policy, id="1", fetched_at=0, expires_at=NOW + 1, from_cache=True)
    evidence = replace(destination("10 mx.example.org."), sts=sts)
    unsigned = replace(target(), address_security=Security.INSECURE, ours=OURS)
    assert isinstance(require(evidence, unsigned), Defer)
    assert isinstance(require(evidence, replace(target(), ours=OURS)), Refuse), "signed DNS proves it"


def test_where_a_rule_was_written_for_the_domain_the_address_may_be_forged() -> None:
    evidence = replace(destination("10 mx.example.org."), expected_by="t:1")
    unsigned = replace(target(), address_security=Security.INSECURE, ours=OURS)
    assert isinstance(require(evidence, unsigned), Defer)
    assert isinstance(require(destination("10 mx.example.org."), unsigned), Refuse)


def test_a_strangers_mx_host_on_this_machine_is_not_tried() -> None:
    """Another server here, such as Postfix, would give the message back to us."""
    found = require(destination("10 mx.example.org."), replace(target(), only_by_route=HERE))
    assert isinstance(found, Refuse)
    assert "127.0.0.1" in sentence(found.reasons[0])


def test_a_route_leads_to_another_server_on_this_machine() -> None:
    evidence = replace(destination("10 mx.example.org."), relay=RelayHost(domain="relay.example.net", source="t:1"))
    assert isinstance(require(evidence, replace(target(), only_by_route=HERE)), Requirement)
