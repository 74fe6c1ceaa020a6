"""What each attacker gets, host by host, and what it comes to."""

import dataclasses

import pytest

from letterlock.identity.trust import TrustRoots
from letterlock.inspect.outlook import Attacker, Protection, Reader, Summary, outlook, protection, weakest
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.require import require
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop
from tests.policy.evidence import (
    GOOD_TLSA,
    HOST,
    INSECURE,
    ROOT,
    TA_TLSA,
    UNUSABLE_TLSA,
    destination,
    failure,
    rule,
    target,
)

SYSTEM = TrustRoots("system", (ROOT.der,))


def evidence(
    tls: TlsRule = TlsRule.MAY, names: tuple[str, ...] = (), *, signed: bool = True, trust: TrustRoots | None = None
) -> DestinationEvidence:
    demand = rule(tls, names, trust) if trust else rule(tls, names)
    return destination(f"10 {HOST}.", security=Security.SECURE if signed else INSECURE, demand=demand)


def read_by(found: DestinationEvidence, host: TargetHost) -> str:
    """One letter an attacker, in order: R he reads, - nobody does."""
    prospects = outlook(found, host, require(found, host))
    assert [one.attacker for one in prospects] == list(Attacker)
    assert all(one.why for one in prospects)
    return "".join("R" if one.who_can_read is Reader.ATTACKER else "-" for one in prospects)


def summary(found: DestinationEvidence, host: TargetHost) -> Summary:
    return protection(found, host, require(found, host))


PLAIN, UNSIGNED_ADDRESS = target(), target(base=None, address_security=INSECURE)
UNSIGNED_MX = target(mx_secure=False)


@pytest.mark.parametrize(
    ("found", "host", "letters", "verdict"),
    [
        # removing STARTTLS, own certificate, forging DNS, bought certificate, first contact
        (evidence(), target(GOOD_TLSA), "-----", "protected"),
        (evidence(), target(TA_TLSA), "-----", "protected"),
        (evidence(), target(UNUSABLE_TLSA), "-R-RR", "unprotected"),
        (evidence(), PLAIN, "RR-RR", "unprotected"),
        (evidence(), UNSIGNED_ADDRESS, "RRRRR", "unprotected"),
        (evidence(signed=False), UNSIGNED_MX, "RRRRR", "unprotected"),
        (evidence(signed=False), target(GOOD_TLSA, mx_secure=False), "--R-R", "unprotected"),
        (evidence(TlsRule.REQUIRE_TLS), PLAIN, "-R-RR", "unprotected"),
        (evidence(TlsRule.REQUIRE_TLS), UNSIGNED_ADDRESS, "-RRRR", "unprotected"),
        (evidence(TlsRule.VERIFY), PLAIN, "-----", "protected"),
        (evidence(TlsRule.VERIFY), UNSIGNED_ADDRESS, "-----", "protected"),
        (evidence(TlsRule.VERIFY, trust=SYSTEM), PLAIN, "---R-", "protected"),
        (evidence(TlsRule.VERIFY, signed=False), UNSIGNED_MX, "--R-R", "unprotected"),
        (evidence(TlsRule.VERIFY, (HOST,), signed=False), UNSIGNED_MX, "-----", "protected"),
        (evidence(TlsRule.DANE_ONLY), target(GOOD_TLSA), "-----", "protected"),
        (evidence(TlsRule.DANE_ONLY), PLAIN, "-----", "held"),
        (evidence(TlsRule.DANE_ONLY, signed=False), target(GOOD_TLSA, mx_secure=False), "-----", "held"),
    ],
)
def test_what_each_attacker_gets(found: DestinationEvidence, host: TargetHost, letters: str, verdict: str) -> None:
    assert read_by(found, host) == letters
    assert summary(found, host).protection == verdict


def test_a_rule_in_audit_protects_from_nobody_and_fingerprints_from_a_forged_mx() -> None:
    for demand in (rule(TlsRule.DANE_ONLY), rule(TlsRule.VERIFY, (HOST,))):
        audited = destination(f"10 {HOST}.", security=INSECURE, demand=dataclasses.replace(demand, audit=True))
        assert read_by(audited, UNSIGNED_MX) == "RRRRR"
    pinned = dataclasses.replace(rule(TlsRule.VERIFY), fingerprints=(bytes(32),))
    assert read_by(destination(f"10 {HOST}.", security=INSECURE, demand=pinned), UNSIGNED_MX) == "-----"


def test_a_host_that_cannot_be_found_out_gets_nothing_now() -> None:
    lost = target(answered=failure(f"_25._tcp.{HOST}", "TLSA"))
    assert read_by(evidence(), lost) == "-----"
    found = summary(evidence(), lost)
    assert found.protection is Protection.UNKNOWN
    assert found.sentence.startswith("nothing is sent there: could not look up the TLSA records")


def test_a_forged_mx_takes_the_mail_even_from_a_host_that_is_skipped() -> None:
    lost = target(answered=failure(f"_25._tcp.{HOST}", "TLSA"), mx_secure=False)
    assert read_by(evidence(signed=False), lost) == "--R-R"


def test_an_address_literal_is_open_to_the_path_and_not_to_dns() -> None:
    literal = DestinationEvidence(next_hop=NextHop("[192.0.2.1]"), mx=None, rule=None)
    host = target(origin=Origin.LITERAL, name="192.0.2.1", mx_secure=False, base=None, address_security=INSECURE)
    assert read_by(literal, host) == "RR-RR"


def test_the_sentence_says_what_an_attacker_could_still_do() -> None:
    assert (
        summary(evidence(), target(GOOD_TLSA)).sentence == "an attacker on the path can delay the mail but not read it"
    )
    assert "remove STARTTLS and read everything" in summary(evidence(), PLAIN).sentence
    assert "another certificate" in summary(evidence(TlsRule.REQUIRE_TLS), PLAIN).sentence
    assert "forges the unsigned DNS" in summary(evidence(signed=False), target(GOOD_TLSA, mx_secure=False)).sentence
    assert "a public authority" in summary(evidence(TlsRule.VERIFY, trust=SYSTEM), PLAIN).sentence


def test_an_attacker_picks_the_weakest_host_that_mail_would_go_to() -> None:
    good, bad = Summary(Protection.PROTECTED, "good"), Summary(Protection.UNPROTECTED, "bad")
    lost, held = Summary(Protection.UNKNOWN, "lost"), Summary(Protection.HELD, "held")
    assert weakest([good, bad, lost, held]) is bad
    assert weakest([lost, good, held]) is good
    assert weakest([held, lost]) is lost
    assert weakest([held]) is held
    assert weakest([]).protection is Protection.UNKNOWN


def test_a_requirement_without_reasons_is_summed_up_too() -> None:
    skip = require(evidence(TlsRule.DANE_ONLY), PLAIN)
    bare = dataclasses.replace(skip, reasons=())
    assert protection(evidence(), PLAIN, bare).sentence == "nothing is sent there: no reason given"
