"""The datagrams of libtlsrpt, as Postfix sends them and as sys4's collector takes them."""

import json
from typing import Any

import pytest

from letterlock.tlsrpt import InvalidDatagram, compose_datagram, parse_datagram
from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult
from letterlock.tlsrpt.report import AppliedPolicy, PolicyType
from tests.tlsrpt.reports import FAILURE, NONE, STS, SUCCESS

UNPROTECTED = SessionResult("a.example", (PolicyOutcome(NONE, succeeded=True),))
POSTFIX: dict[str, Any] = {
    "dpv": "1",
    "d": "Example.com",
    "pr": "v=TLSRPTv1; rua=mailto:tls@example.com",
    "policies": [
        {
            "policy-type": 2,
            "policy-domain": "example.com",
            "policy-string": ["version: STSv1", "mode: enforce", "mx: mx.example.com", "max_age: 604800"],
            "mx-host": ["mx.example.com"],
            "t": 0,
            "f": 0,
        },
        {
            "policy-type": 1,
            "policy-domain": "mx.example.com",
            "policy-string": ["3 1 1 00ff"],
            "failure-details": [
                {
                    "c": 205,
                    "s": "192.0.2.1",
                    "n": "mx.example.com",
                    "h": "mx.example.com ESMTP\r\nSIZE 1000\r\nSTARTTLS",
                    "r": "198.51.100.7",
                    "f": "self-signed_certificate",
                }
            ],
            "t": 1,
            "f": 1,
        },
    ],
}


def test_a_session_as_postfix_reports_it() -> None:
    result = parse_datagram(json.dumps(POSTFIX).encode())
    assert result.domain == "example.com"
    assert result.record == POSTFIX["pr"]
    sts, tlsa = result.outcomes
    assert sts.succeeded
    assert sts.policy.mx_hosts == ("mx.example.com",)
    assert not tlsa.succeeded
    assert tlsa.policy == AppliedPolicy(PolicyType.TLSA, "mx.example.com", ("3 1 1 00ff",))
    (failure,) = tlsa.failures
    assert failure.result_type == "validation-failure"
    assert failure.receiving_hello == "mx.example.com ESMTP"
    assert failure.reason == "self-signed_certificate"


def test_the_running_count_of_failures_is_not_believed() -> None:
    """libtlsrpt does not reset it: a policy that went well after one that failed has t=1."""
    document = json.loads(json.dumps(POSTFIX))
    document["policies"].reverse()
    document["policies"][1]["t"] = 1
    assert [each.succeeded for each in parse_datagram(json.dumps(document).encode()).outcomes] == [False, True]


def test_a_policy_without_domain_is_for_the_domain_of_the_datagram() -> None:
    data = b'{"d":"example.com","policies":[{"policy-type":9,"f":0}]}'
    assert parse_datagram(data).outcomes[0].policy == AppliedPolicy(PolicyType.NONE, "example.com")


@pytest.mark.parametrize("result", [SUCCESS, FAILURE, UNPROTECTED])
def test_what_is_composed_is_parsed_to_the_same(result: SessionResult) -> None:
    assert parse_datagram(compose_datagram(result)) == result


def test_composed_counts_run_on_as_those_of_libtlsrpt() -> None:
    failing = FAILURE.outcomes[0]
    result = SessionResult("a.example", (failing, PolicyOutcome(STS, succeeded=True), failing))
    policies = json.loads(compose_datagram(result))["policies"]
    assert [(each["t"], each["f"]) for each in policies] == [(1, 1), (1, 0), (2, 1)]
    assert policies[0]["failure-details"][0]["c"] == 204


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 10_000,
        b"9" * 10_000,
        b'{"d":"example.com","policies":[]}',
        b'{"d":"example.com","policies":[1]}',
        b'{"d":"","policies":[{"policy-type":9,"f":0}]}',
        b'{"dpv":"2","d":"example.com","policies":[{"policy-type":9,"f":0}]}',
        b'{"d":"example.com","policies":[{"policy-type":3,"f":0}]}',
        b'{"d":"example.com","policies":[{"policy-type":9}]}',
    ],
)
def test_what_is_no_result_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidDatagram):
        parse_datagram(data)
