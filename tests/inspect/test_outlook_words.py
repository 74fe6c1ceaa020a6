"""What people are told about each attacker, word for word, and what it comes to."""

from dataclasses import replace

import pytest

from letterlock.identity.trust import TrustRoots
from letterlock.inspect.outlook import Attacker, Protection, Reader, outlook, protection, weakest
from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts import Mode
from letterlock.policy.codes import Code
from letterlock.policy.decision import Encryption, PinAuthentication, Refuse, Requirement, SkipHost, SkipKind
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.policy.require import require
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INSECURE,
    ROOT,
    SECURE,
    TA_TLSA,
    destination,
    rule,
    target,
)
from tests.policy.test_sts import plain_host, policy, with_policy

SYSTEM = TrustRoots("system", (ROOT.der,))
FIRST_CONTACT = "a sender that has never seen the policy is not protected: "
UNSIGNED_MX = target(mx_secure=False)
UNSIGNED_ADDRESS = target(base=None, address_security=INSECURE)
NOTICED = "forged answers are detected, or point to a server that cannot prove its identity"
NO_MEMORY = "nothing here rests on memory"


def evidence(
    tls: TlsRule = TlsRule.MAY, names: tuple[str, ...] = (), *, signed: bool = True, trust: TrustRoots | None = None
) -> DestinationEvidence:
    demand = replace(rule(tls, names), trust=trust) if trust else rule(tls, names)
    return destination(f"10 {HOST}.", security=SECURE if signed else INSECURE, demand=demand)


def told(found: DestinationEvidence, host: TargetHost) -> dict[Attacker, str]:
    return {one.attacker: one.why for one in outlook(found, host, require(found, host))}


PINNED = replace(evidence(), rule=replace(rule(TlsRule.VERIFY), fingerprints=(bytes(32),)))


@pytest.mark.parametrize(
    ("found", "host", "why"),
    [
        (
            evidence(),
            target(GOOD_TLSA),
            (
                "held and tried again: TLS is demanded",
                "held: it matches no TLSA record",
                NOTICED,
                "held: it matches no TLSA record",
                NO_MEMORY,
            ),
        ),
        (
            evidence(),
            target(TA_TLSA, GOOD_TLSA),
            (
                "held and tried again: TLS is demanded",
                "held: it matches no TLSA record",
                NOTICED,
                "held, unless the authority in the TLSA record issued it",
                NO_MEMORY,
            ),
        ),
        (
            evidence(),
            target(),
            (
                "sent in cleartext: nothing demands TLS",
                "any certificate is accepted",
                NOTICED,
                "any certificate is accepted",
                FIRST_CONTACT + "sent in cleartext: nothing demands TLS",
            ),
        ),
        (
            evidence(TlsRule.REQUIRE_TLS),
            UNSIGNED_ADDRESS,
            (
                "held and tried again: TLS is demanded",
                "any certificate is accepted",
                "the addresses are not signed, and nothing proves the server",
                "any certificate is accepted",
                FIRST_CONTACT + "any certificate is accepted",
            ),
        ),
        (
            evidence(TlsRule.VERIFY),
            target(),
            (
                "held and tried again: TLS is demanded",
                "held: no trusted authority issued it",
                NOTICED,
                "held: only own.pem is trusted",
                NO_MEMORY,
            ),
        ),
        (
            evidence(TlsRule.VERIFY, trust=SYSTEM, signed=False),
            UNSIGNED_MX,
            (
                "held and tried again: TLS is demanded",
                "held: no trusted authority issued it",
                "the MX records are not signed: an attacker who forges them chooses the host",
                "public authorities are trusted",
                FIRST_CONTACT + "the MX records are not signed: an attacker who forges them chooses the host",
            ),
        ),
        (
            evidence(TlsRule.VERIFY, (HOST,), signed=False),
            UNSIGNED_MX,
            (
                "held and tried again: TLS is demanded",
                "held: no trusted authority issued it",
                "held: the certificate must have a name that the rule gives",
                "held: only own.pem is trusted",
                NO_MEMORY,
            ),
        ),
        (
            PINNED,
            target(),
            (
                "held and tried again: TLS is demanded",
                "held: it has none of the fingerprints",
                NOTICED,
                "held: it has none of the fingerprints",
                NO_MEMORY,
            ),
        ),
        (
            evidence(TlsRule.DANE_ONLY, signed=False),
            target(GOOD_TLSA, mx_secure=False),
            (
                "held: nothing is sent there",
                "held: nothing is sent there",
                "held: the rule demands a signed MX",
                "held: nothing is sent there",
                NO_MEMORY,
            ),
        ),
        (
            with_policy(policy()),
            plain_host(),
            (
                "held and tried again: TLS is demanded",
                "held: no trusted authority issued it",
                "held: the MTA-STS policy says which hosts are the domain's",
                "public authorities are trusted",
                FIRST_CONTACT + "sent in cleartext: nothing demands TLS",
            ),
        ),
        (
            with_policy(policy(), signed=True),
            target(GOOD_TLSA),
            (
                "held and tried again: TLS is demanded",
                "held: it matches no TLSA record",
                "held: the MTA-STS policy says which hosts are the domain's",
                "held: it matches no TLSA record",
                "DANE, or the rule, needs no memory",
            ),
        ),
        (
            with_policy(policy(Mode.TESTING)),
            plain_host(),
            (
                "sent in cleartext: nothing demands TLS",
                "any certificate is accepted",
                "the MX records are not signed: an attacker who forges them chooses the host",
                "any certificate is accepted",
                FIRST_CONTACT + "sent in cleartext: nothing demands TLS",
            ),
        ),
    ],
)
def test_why_each_attacker_gets_what_he_gets(
    found: DestinationEvidence, host: TargetHost, why: tuple[str, ...]
) -> None:
    assert tuple(told(found, host).values()) == why


def test_a_forged_mx_leads_to_nobody_with_the_fingerprint() -> None:
    unsigned = replace(evidence(TlsRule.VERIFY, signed=False), rule=PINNED.rule)
    assert told(unsigned, UNSIGNED_MX)[Attacker.FORGES_DNS] == "held: it has none of the fingerprints"


@pytest.mark.parametrize("security", [SECURE, INSECURE, None])
def test_a_forged_address_matters_only_where_nothing_proves_the_server(security: Security | None) -> None:
    host = replace(target(), address_security=security)
    required = Requirement(encryption=Encryption.MANDATORY, authentication=None, sni=None, fallback=None, reasons=())
    by_attacker = {one.attacker: one.who_can_read for one in outlook(evidence(), host, required)}
    assert (by_attacker[Attacker.FORGES_DNS] is Reader.NOBODY) is (security is SECURE)
    pinned = replace(required, authentication=PinAuthentication(fingerprints=(bytes(32),)))
    assert outlook(evidence(), host, pinned)[2].who_can_read is Reader.NOBODY


def test_rfc8689_a_certificate_that_only_the_message_demands_is_not_remembered() -> None:
    found = replace(evidence(), public_roots=SYSTEM)
    required = require(found, target(), TlsDemand.REQUIRETLS)
    assert [one.who_can_read for one in outlook(found, target(), required)] == [
        Reader.NOBODY,
        Reader.NOBODY,
        Reader.NOBODY,
        Reader.ATTACKER,
        Reader.NOBODY,
    ]


@pytest.mark.parametrize(
    ("found", "host", "verdict", "sentence"),
    [
        (evidence(), target(GOOD_TLSA), "protected", "an attacker on the path can delay the mail but not read it"),
        (evidence(), target(), "unprotected", "an attacker on the path can remove STARTTLS and read everything"),
        (
            evidence(TlsRule.REQUIRE_TLS),
            target(),
            "unprotected",
            "an attacker on the path can answer with another certificate and read everything",
        ),
        (
            evidence(signed=False),
            target(GOOD_TLSA, mx_secure=False),
            "unprotected",
            "an attacker who forges the unsigned DNS answers can direct the mail to another host",
        ),
        (
            evidence(TlsRule.VERIFY, trust=SYSTEM),
            target(),
            "protected",
            (
                "an attacker on the path can delay the mail; to read it they need a certificate that a public "
                "authority wrongly issued"
            ),
        ),
        (
            with_policy(policy()),
            plain_host(),
            "protected-once-known",
            (
                "an attacker who hides the MTA-STS policy at first contact can read the mail; later on they can delay "
                "it, and need a certificate that a public authority wrongly issued"
            ),
        ),
    ],
)
def test_what_it_comes_to(found: DestinationEvidence, host: TargetHost, verdict: str, sentence: str) -> None:
    summary = protection(found, host, require(found, host))
    assert (summary.protection, summary.sentence) == (verdict, sentence)


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (SkipKind.RULE, Protection.HELD),
        (SkipKind.NO_USABLE_TLSA, Protection.HELD),
        (SkipKind.UNSIGNED_MX, Protection.HELD),
        (SkipKind.MTA_STS, Protection.HELD),
        (SkipKind.REQUIRETLS, Protection.HELD),
        (SkipKind.TLSA_UNKNOWN, Protection.UNKNOWN),
        (SkipKind.ADDRESS_UNKNOWN, Protection.UNKNOWN),
        (SkipKind.NO_ADDRESS, Protection.UNKNOWN),
    ],
)
def test_held_by_a_demand_or_not_found_out(kind: SkipKind, verdict: Protection) -> None:
    refused = SkipHost(kind=kind, reasons=(Reason(code=Code.RULE_VERIFY_NO_NAME, subject=HOST),))
    assert protection(evidence(), target(), refused).protection is verdict
    bare = protection(evidence(), target(), Refuse(status="5.1.2", reasons=()))
    assert (bare.protection, bare.sentence) == (Protection.UNKNOWN, "nothing is sent there: no reason given")


def test_where_there_is_no_host_the_summary_says_so() -> None:
    summary = weakest([])
    assert (summary.protection, summary.sentence) == (Protection.UNKNOWN, "there is no host to send to")


def test_an_address_literal_has_no_dns_to_forge() -> None:
    literal = DestinationEvidence(next_hop=NextHop("[192.0.2.1]"), mx=None, rule=None)
    host = target(origin=Origin.LITERAL, name="192.0.2.1", mx_secure=False, base=None, address_security=INSECURE)
    assert told(literal, host)[Attacker.FORGES_DNS] == NOTICED
    assert DOMAIN not in "".join(told(literal, host).values())
