"""What a decision tells people: every reason with its facts filled in, about whom, and in which order."""

from dataclasses import replace

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts import Mode, PolicyUnavailable
from letterlock.policy.decision import Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import sentence
from letterlock.policy.require import require
from letterlock.resolver.answer import FailureKind
from letterlock.routing.destination_rule import RuleException, TlsRule
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INDETERMINATE,
    INSECURE,
    NOW,
    ROOTS,
    SECURE,
    TA_TLSA,
    answer,
    destination,
    failure,
    rule,
    target,
)
from tests.policy.test_sts import plain_host, policy, with_policy

OPPORTUNISTIC = "nothing demands TLS: it is used if the server offers it, with any certificate"
NO_TLSA = "there are no TLSA records at _25._tcp.mx.example.org (proven)"
UNSIGNED_MX = "the MX record that names it is not signed: an attacker who forges it chooses the host"
UNSIGNED_ADDRESS = "its addresses are not signed, so DANE does not apply"
USABLE = "the signed TLSA records at _25._tcp.mx.example.org identify the server ({} usable)"
ENFORCED = "the MTA-STS policy 20270101 of example.org demands TLS with a certificate for the host"
BLOCKED = "the remembered MTA-STS policy of example.org is used because it cannot be confirmed at the moment: no TXT"
LITERAL = target(origin=Origin.LITERAL, base=None, name="192.0.2.1", mx_secure=False)


def evidence(
    tls: TlsRule = TlsRule.MAY,
    names: tuple[str, ...] = (),
    *,
    signed: bool = True,
    fingerprints: tuple[bytes, ...] = (),
    exception: RuleException | None = None,
) -> DestinationEvidence:
    demand = replace(rule(tls, names), fingerprints=fingerprints, exception=exception)
    return destination(f"10 {HOST}.", security=SECURE if signed else INSECURE, demand=demand)


def excepted(*, allow_clear: bool) -> DestinationEvidence:
    exception = RuleException(allow_clear=allow_clear, why="they move", until=NOW + 1)
    return replace(evidence(TlsRule.DANE_ONLY, exception=exception), at=NOW)


def told(found: DestinationEvidence, host: TargetHost, demand: TlsDemand = TlsDemand.NONE) -> tuple[str, ...]:
    """The sentences, each with its subject in front unless that is the host."""
    decided = require(found, host, demand)
    assert isinstance(decided, Requirement | SkipHost)
    return tuple(
        sentence(one) if one.subject == host.host.name else f"{one.subject}: {sentence(one)}" for one in decided.reasons
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (failure(HOST, "A"), "could not look up its addresses (servfail: no luck)"),
        (
            failure(HOST, "A", FailureKind.BOGUS),
            "the answer for its addresses fails DNSSEC validation (no luck); it may be forged",
        ),
        (
            answer(HOST, "A", security=INDETERMINATE),
            "could not determine whether its address should be signed: no trust anchor covers the name",
        ),
        (answer(HOST, "A"), "it has no address"),
    ],
)
def test_rfc7672_2_1_why_a_host_has_no_address_to_use(found: object, expected: str) -> None:
    host = target(addresses=(), base=None, lookups=(answer(HOST, "AAAA"), found))  # type: ignore[arg-type]  # either
    assert told(evidence(), host) == (expected,)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (
            target(answered=failure(HOST, "TLSA")),
            ("could not look up the TLSA records (servfail: no luck); an attacker may be hiding them",),
        ),
        (
            target(answered=failure(HOST, "TLSA", FailureKind.BOGUS)),
            ("the TLSA answer fails DNSSEC validation (no luck); it may be forged",),
        ),
        (
            target(answered=answer(HOST, "TLSA", security=INDETERMINATE)),
            ("could not determine whether its TLSA answer should be signed: no trust anchor covers the name",),
        ),
        (target(GOOD_TLSA), (USABLE.format(1),)),
        (target(GOOD_TLSA, TA_TLSA), (USABLE.format(2),)),
        (
            target(*(f"0 0 1 {digit * 64}" for digit in "abcd")),
            (
                (
                    "TLSA records at _25._tcp.mx.example.org are signed, but none is usable (0 0 1 aaaaaaaa, "
                    "0 0 1 bbbbbbbb, 0 0 1 cccccccc): TLS is required, but no certificate can be"
                ),
            ),
        ),
        (
            target(port=2525, base="base.example.org"),
            ("there are no TLSA records at _2525._tcp.base.example.org (proven)", OPPORTUNISTIC),
        ),
        (
            target(answered=answer(HOST, "TLSA", security=INSECURE)),
            ("there are no TLSA records at _25._tcp.mx.example.org (in an unsigned zone)", OPPORTUNISTIC),
        ),
        (
            target(answered=answer(HOST, "TLSA", GOOD_TLSA, security=INSECURE)),
            ("the TLSA records at _25._tcp.mx.example.org are not signed and prove nothing", OPPORTUNISTIC),
        ),
        (target(base=None, address_security=INSECURE), (UNSIGNED_ADDRESS, OPPORTUNISTIC)),
        (LITERAL, ("it is an IP address, and DANE needs a host name", OPPORTUNISTIC)),
    ],
)
def test_rfc7672_2_2_what_tlsa_demands(host: TargetHost, expected: tuple[str, ...]) -> None:
    assert told(evidence(), host) == expected


@pytest.mark.parametrize(
    ("found", "host", "expected"),
    [
        (evidence(signed=False), target(GOOD_TLSA, mx_secure=False), (USABLE.format(1), UNSIGNED_MX)),
        (
            evidence(TlsRule.DANE_ONLY),
            target(),
            ("the rule letterlock.toml:7 demands DANE, and there is no usable TLSA record", NO_TLSA),
        ),
        (
            evidence(TlsRule.DANE_ONLY, signed=False),
            target(GOOD_TLSA, mx_secure=False),
            (
                "the rule letterlock.toml:7 demands DANE, and the MX records are not signed",
                USABLE.format(1),
                UNSIGNED_MX,
            ),
        ),
        (evidence(TlsRule.REQUIRE_TLS), target(), ("the rule letterlock.toml:7 demands TLS", NO_TLSA)),
        (
            evidence(TlsRule.VERIFY, ("a.example", "b.example")),
            target(),
            ("the rule letterlock.toml:7 demands a certificate for a.example, b.example", NO_TLSA),
        ),
        (
            evidence(TlsRule.VERIFY),
            target(),
            ("the rule letterlock.toml:7 demands a certificate for mx.example.org", NO_TLSA),
        ),
        (
            evidence(TlsRule.VERIFY, fingerprints=(bytes(32), b"1" * 32)),
            target(),
            ("the rule letterlock.toml:7 demands a certificate or key with one of 2 fingerprints", NO_TLSA),
        ),
        (
            evidence(TlsRule.VERIFY),
            LITERAL,
            (
                ("the rule letterlock.toml:7 demands a certificate, and an IP address has no name to verify it for"),
                "it is an IP address, and DANE needs a host name",
            ),
        ),
        (
            excepted(allow_clear=True),
            target(),
            (
                (
                    "the exception letterlock.toml:7 lets mail pass with less than is demanded, until 2027-01-15 08:00 "
                    "UTC: they move"
                ),
                OPPORTUNISTIC,
            ),
        ),
        (
            excepted(allow_clear=False),
            target(),
            (
                (
                    "the exception letterlock.toml:7 lets mail pass with less than is demanded, until 2027-01-15 08:00 "
                    "UTC: they move"
                ),
            ),
        ),
    ],
)
def test_what_a_rule_demands(found: DestinationEvidence, host: TargetHost, expected: tuple[str, ...]) -> None:
    assert told(found, host) == expected


@pytest.mark.parametrize(
    ("found", "host", "expected"),
    [
        (with_policy(policy()), plain_host(), (ENFORCED, UNSIGNED_ADDRESS, UNSIGNED_MX)),
        (
            with_policy(policy(trouble="no TXT")),
            plain_host(),
            (ENFORCED, UNSIGNED_ADDRESS, UNSIGNED_MX, f"{DOMAIN}: {BLOCKED}"),
        ),
        (
            with_policy(policy(trouble="no TXT"), signed=True),
            target(GOOD_TLSA),
            (USABLE.format(1), ENFORCED, f"{DOMAIN}: {BLOCKED}"),
        ),
        (
            with_policy(policy(Mode.ENFORCE, "a.example", "b.example", "c.example", "d.example", trouble="no TXT")),
            plain_host(),
            (
                (
                    "the MTA-STS policy 20270101 of example.org does not name this host; it names a.example, "
                    "b.example, c.example"
                ),
                f"{DOMAIN}: {BLOCKED}",
            ),
        ),
        (
            with_policy(policy(Mode.TESTING, trouble="no TXT")),
            plain_host(),
            (
                UNSIGNED_ADDRESS,
                UNSIGNED_MX,
                (
                    f"{DOMAIN}: the MTA-STS policy 20270101 of example.org is in testing mode: its demands are "
                    "checked but not enforced"
                ),
                f"{DOMAIN}: {BLOCKED}",
                OPPORTUNISTIC,
            ),
        ),
        (
            with_policy(policy(Mode.NONE)),
            plain_host(),
            (
                UNSIGNED_ADDRESS,
                UNSIGNED_MX,
                f"{DOMAIN}: the MTA-STS policy 20270101 of example.org has mode none and demands nothing",
                OPPORTUNISTIC,
            ),
        ),
        (
            with_policy(PolicyUnavailable("timeout\n")),
            plain_host(),
            (
                UNSIGNED_ADDRESS,
                UNSIGNED_MX,
                (
                    f"{DOMAIN}: could not determine whether example.org has an MTA-STS policy, and none is "
                    "remembered: timeout?"
                ),
                OPPORTUNISTIC,
            ),
        ),
    ],
)
def test_rfc8461_5_what_a_policy_demands(
    found: DestinationEvidence, host: TargetHost, expected: tuple[str, ...]
) -> None:
    assert told(found, host) == expected


def test_rfc8689_4_2_what_a_message_demands() -> None:
    found = replace(evidence(), public_roots=ROOTS)
    assert told(found, target(GOOD_TLSA), TlsDemand.TLS_REQUIRED_NO) == (
        "the message has the header TLS-Required: No: its sender prefers delivery to protection",
        OPPORTUNISTIC,
    )
    assert told(found, target(GOOD_TLSA), TlsDemand.REQUIRETLS) == (
        "the sender demands TLS with a verified certificate at every hop (REQUIRETLS)",
        USABLE.format(1),
    )
    unsigned = replace(evidence(signed=False), public_roots=ROOTS)
    assert told(unsigned, target(mx_secure=False), TlsDemand.REQUIRETLS)[0] == (
        "REQUIRETLS: nothing proves that this is a host of the domain: the MX record is not signed, and no MTA-STS "
        "policy names it"
    )
