"""The datagrams by which Postfix 3.10 and others hand TLS results to a collector: the protocol of libtlsrpt.

One JSON object in each, on a UNIX socket; the protocol has no specification but its implementation, sys4's libtlsrpt.
Its number of failures (`t`) is never reset between the policies of one datagram, so it is not used: each policy
counts as one session, that failed if `f` says so. Older senders leave the domain of a policy out where there is none.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from letterlock.mail.names import InvalidName, normalise
from letterlock.tlsrpt.report import AppliedPolicy, PolicyType, SessionFailure

VERSION = "1"
MAX_DATAGRAM_OCTETS = 212_992  # what Linux lets a sender have in its buffer (net.core.wmem_max), the largest possible
MAX_POLICIES = 32  # of one session: one or two
MAX_FAILURES = 32  # of one policy
MAX_LINES = 600  # chosen: of one datagram, which has 64 KiB at most
MAX_TEXT_CHARACTERS = 1_000  # chosen: of one value; names have 253

_TYPES = {1: PolicyType.TLSA, 2: PolicyType.STS, 9: PolicyType.NONE}
_NUMBERS = {kind: number for number, kind in _TYPES.items()}
_RESULTS = {
    201: "starttls-not-supported",
    202: "certificate-host-mismatch",
    203: "certificate-not-trusted",
    204: "certificate-expired",
    205: "validation-failure",
    301: "sts-policy-fetch-error",
    302: "sts-policy-invalid",
    303: "sts-webpki-invalid",
    304: "tlsa-invalid",
    305: "dnssec-invalid",
    306: "dane-required",
}
_CODES = {name: code for code, name in _RESULTS.items()}
_OTHER = "validation-failure"
_SHORT_NAMES = ("c", "s", "n", "h", "r", "a", "f")  # of the fields of a SessionFailure, in their order


class InvalidDatagram(ValueError):
    """It is no TLS result. `str()` says why, without text from outside."""


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """How a session went under one policy. Without failures one that failed is counted without details."""

    policy: AppliedPolicy
    succeeded: bool
    failures: tuple[SessionFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionResult:
    """The results of one session with a server of `domain`; `record` is the TLSRPT record that was found, if any."""

    domain: str
    outcomes: tuple[PolicyOutcome, ...]
    record: str = ""


def parse_datagram(data: bytes) -> SessionResult:
    """Read a datagram. Raises InvalidDatagram."""
    try:
        document = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidDatagram("it is not JSON") from None
    if not isinstance(document, dict) or document.get("dpv", VERSION) != VERSION:
        raise InvalidDatagram("it is no object, or of another version")
    policies = document.get("policies")
    if not isinstance(policies, list) or not policies:
        raise InvalidDatagram("it has no policies")
    try:
        domain = normalise(_text(document.get("d")))
    except InvalidName:
        raise InvalidDatagram("it names no domain") from None
    outcomes = tuple(_outcome(each, domain) for each in policies[:MAX_POLICIES])
    return SessionResult(domain, outcomes, _text(document.get("pr")))


def compose_datagram(result: SessionResult) -> bytes:
    """Write a datagram as libtlsrpt does, its running count of failures included."""
    failures = 0
    policies = []
    for outcome in result.outcomes:
        failures += len(outcome.failures)
        policies.append(_policy_values(outcome) | {"t": failures, "f": 0 if outcome.succeeded else 1})
    document = {"dpv": VERSION, "d": result.domain, "pr": result.record, "policies": policies}
    return json.dumps(document).encode()


def _outcome(value: Any, domain: str) -> PolicyOutcome:
    if not isinstance(value, dict):
        raise InvalidDatagram("a policy is no object")
    kind, final = _TYPES.get(_number(value.get("policy-type"))), value.get("f")
    if kind is None:
        raise InvalidDatagram("a policy has a type that is not known")
    if final not in (0, 1):
        raise InvalidDatagram("a policy has no final result")
    try:
        about = normalise(_text(value.get("policy-domain")) or domain)
    except InvalidName:
        about = domain
    policy = AppliedPolicy(kind, about, _lines(value.get("policy-string")), _lines(value.get("mx-host")))
    details = value.get("failure-details")
    failures = [each for each in details[:MAX_FAILURES] if isinstance(each, dict)] if isinstance(details, list) else []
    return PolicyOutcome(policy, final == 0, () if final == 0 else tuple(_failure(each) for each in failures))


def _failure(value: dict[str, Any]) -> SessionFailure:
    code, *texts = (value.get(name) for name in _SHORT_NAMES)
    sending, host, hello, address, information, reason = (_text(each) for each in texts)
    name = _RESULTS.get(_number(code), _OTHER)
    return SessionFailure(name, sending, host, _first_line(hello), address, information, reason)


def _first_line(hello: str) -> str:
    """The name that the server goes by: libtlsrpt gets its whole reply to EHLO, several lines."""
    return hello.splitlines()[0] if hello else ""


def _policy_values(outcome: PolicyOutcome) -> dict[str, Any]:
    policy = outcome.policy
    values: dict[str, Any] = {"policy-type": _NUMBERS[PolicyType(policy.type)], "policy-domain": policy.domain}
    if policy.lines:
        values["policy-string"] = list(policy.lines)
    if policy.mx_hosts:
        values["mx-host"] = list(policy.mx_hosts)
    if outcome.failures:
        values["failure-details"] = [_failure_values(each) for each in outcome.failures]
    return values


def _failure_values(failure: SessionFailure) -> dict[str, Any]:
    values = zip(_SHORT_NAMES[1:], failure[1:], strict=True)
    return {"c": _CODES.get(failure.result_type, _CODES[_OTHER])} | {name: value for name, value in values if value}


def _number(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _lines(value: Any) -> tuple[str, ...]:
    lines: Sequence[Any] = value if isinstance(value, list) else ()
    return tuple(text for each in lines[:MAX_LINES] if (text := _text(each)))


def _text(value: Any) -> str:
    return value[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode().strip() if isinstance(value, str) else ""
