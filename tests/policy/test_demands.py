"""What the message and the stronger rules demand: RFC 8689, fingerprints, versions, audits, exceptions, senders."""

import hashlib
from dataclasses import replace

import pytest

from letterlock.identity.handshake import Completed
from letterlock.mail.envelope import TlsDemand
from letterlock.policy.decision import (
    Cleared,
    Demander,
    Encryption,
    Level,
    PinAuthentication,
    PkixAuthentication,
    Requirement,
    SkipHost,
)
from letterlock.policy.evidence import DestinationEvidence, Origin, SessionEvidence, StartTls
from letterlock.policy.judge import judge, judge_extensions
from letterlock.policy.reasons import status
from letterlock.policy.require import require
from letterlock.resolver.answer import FailureKind
from letterlock.routing.destination_rule import DestinationRule, RuleException, TlsRule
from letterlock.routing.rules import Rules
from tests.policy.evidence import (
    DOMAIN,
    GOOD_TLSA,
    HOST,
    INSECURE,
    LEAF,
    NOW,
    OTHER_TLSA,
    ROOT,
    ROOTS,
    destination,
    failure,
    rule,
    session,
    target,
    tls,
)
from tests.policy.test_sts import plain_host, policy, with_policy

NO, REQUIRETLS = TlsDemand.TLS_REQUIRED_NO, TlsDemand.REQUIRETLS
GOOD_SESSION = session(handshake=tls(LEAF.der))


def evidence(demand: DestinationRule | None = None, *, signed: bool = True) -> DestinationEvidence:
    made = destination(f"10 {HOST}.") if signed else destination(f"10 {HOST}.", security=INSECURE)
    return replace(made, rule=demand, public_roots=ROOTS, at=NOW)


def asked(
    demand: TlsDemand, *tlsa: str, about: DestinationEvidence | None = None, mx_secure: bool = True
) -> Requirement | SkipHost:
    found = require(about or evidence(), target(*tlsa, mx_secure=mx_secure), demand)
    assert isinstance(found, Requirement | SkipHost)
    return found


def requirement(found: Requirement | SkipHost) -> Requirement:
    assert isinstance(found, Requirement), found
    return found


def code(found: object) -> str:
    assert isinstance(found, SkipHost), found
    return found.reasons[0].code


# --- REQUIRETLS ------------------------------------------------------------------------------------------------------


def test_rfc8689_4_2_1_with_dane_requiretls_asks_for_the_extension_and_nothing_else() -> None:
    found = requirement(asked(REQUIRETLS, GOOD_TLSA))
    plain = requirement(asked(TlsDemand.NONE, GOOD_TLSA))
    assert found.authentication == plain.authentication
    assert (found.requiretls, plain.requiretls) == (True, False)


def test_rfc8689_4_2_1_without_dane_a_webpki_certificate_for_the_signed_host_is_asked_for() -> None:
    found = requirement(asked(REQUIRETLS))
    assert found.encryption is Encryption.MANDATORY
    assert found.fallback is None
    assert isinstance(found.authentication, PkixAuthentication)
    assert found.authentication.demander is Demander.REQUIRETLS
    assert found.authentication.references == (HOST, DOMAIN)
    cleared = judge(found, GOOD_SESSION, NOW)
    assert isinstance(cleared, Cleared)
    assert cleared.achieved.level is Level.AUTHENTICATED


def test_rfc8689_4_2_1_a_host_that_nothing_proves_gets_nothing() -> None:
    unsigned = evidence(signed=False)
    assert code(asked(REQUIRETLS, about=unsigned, mx_secure=False)) == "rfc8689-4.2.1-unsigned-mx"
    assert code(asked(REQUIRETLS, GOOD_TLSA, about=unsigned, mx_secure=False)) == "rfc8689-4.2.1-unsigned-mx"
    literal = target(origin=Origin.LITERAL, name="192.0.2.1", base=None)
    assert code(require(evidence(), literal, REQUIRETLS)) == "rfc8689-4.2.1-unsigned-mx"


def test_rfc8689_4_2_1_a_policy_in_force_proves_the_host_too() -> None:
    found = require(with_policy(policy()), plain_host(), REQUIRETLS)
    assert isinstance(found, Requirement)
    assert found.requiretls
    assert isinstance(found.authentication, PkixAuthentication)
    assert found.authentication.demander is Demander.MTA_STS


@pytest.mark.parametrize("starttls", [StartTls.NOT_OFFERED, StartTls.REFUSED])
def test_rfc8689_4_2_1_without_tls_it_is_held_for_now(starttls: StartTls) -> None:
    verdict = judge(requirement(asked(REQUIRETLS)), session(starttls), NOW)
    assert code(verdict) == "rfc8689-4.2.1-no-tls"
    assert isinstance(verdict, SkipHost)
    assert status(verdict.reasons[0]) == "4.7.10"


def test_rfc8689_4_2_1_a_chain_that_proves_nothing_holds_it() -> None:
    wrong = session(handshake=tls(ROOT.leaf("other.example").der))
    assert code(judge(requirement(asked(REQUIRETLS)), wrong, NOW)) == "rfc8689-4.2.1-not-verified"


def test_rfc8689_4_2_1_a_proven_server_without_requiretls_will_never_take_it() -> None:
    cleared = judge(requirement(asked(REQUIRETLS, GOOD_TLSA)), GOOD_SESSION, NOW)
    assert isinstance(cleared, Cleared)
    assert judge_extensions(cleared, GOOD_SESSION, requiretls_offered=True) is cleared
    refused = judge_extensions(cleared, GOOD_SESSION, requiretls_offered=False)
    assert code(refused) == "rfc8689-4.2.1-not-offered"
    assert isinstance(refused, SkipHost)
    assert status(refused.reasons[0]) == "5.7.30"


def test_a_message_without_requiretls_does_not_ask_for_the_extension() -> None:
    cleared = judge(requirement(asked(TlsDemand.NONE, GOOD_TLSA)), GOOD_SESSION, NOW)
    assert isinstance(cleared, Cleared)
    assert judge_extensions(cleared, GOOD_SESSION, requiretls_offered=False) is cleared


# --- TLS-Required: No ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [(), (GOOD_TLSA,), (OTHER_TLSA,)])
def test_rfc8689_4_2_2_the_header_lifts_what_dns_demands_and_tls_is_still_tried_first(records: tuple[str, ...]) -> None:
    found = requirement(asked(NO, *records))
    assert (found.encryption, found.authentication) == (Encryption.OPTIONAL, None)
    assert found.fallback is not None
    assert isinstance(judge(found, session(StartTls.NOT_OFFERED), NOW), Cleared)


def test_rfc8689_4_2_2_the_header_lifts_a_failed_tlsa_lookup_and_a_policy() -> None:
    lost = target(answered=failure(f"_25._tcp.{HOST}", "TLSA", FailureKind.BOGUS))
    found = require(with_policy(policy()), lost, NO)
    assert isinstance(found, Requirement)
    assert found.encryption is Encryption.OPTIONAL
    assert isinstance(require(with_policy(policy()), lost), SkipHost)


STRICT = (
    rule(TlsRule.REQUIRE_TLS),
    replace(rule(TlsRule.REQUIRE_TLS), minimum_version="TLSv1.3"),
    rule(TlsRule.VERIFY),
    replace(rule(TlsRule.VERIFY), names=("other.example",)),
    replace(rule(TlsRule.VERIFY), fingerprints=(bytes(32),)),
    rule(TlsRule.DANE_ONLY),
    replace(rule(TlsRule.DANE_ONLY), minimum_version="TLSv1.3"),
)
SESSIONS = (
    session(StartTls.NOT_OFFERED),
    session(handshake=Completed(version="TLSv1.2", cipher="c", group=None, sni=HOST, chain=(LEAF.der,))),
    session(handshake=tls(LEAF.der)),
    session(handshake=tls(ROOT.leaf("evil.example").der)),
)


@pytest.mark.parametrize("records", [(), (GOOD_TLSA,), (OTHER_TLSA,)])
@pytest.mark.parametrize("demanded", STRICT, ids=lambda one: f"{one.tls.value}-{one.minimum_version}")
@pytest.mark.parametrize("shown", SESSIONS)
def test_rfc8689_3_the_header_lifts_nothing_that_the_rule_demands(
    demanded: DestinationRule, records: tuple[str, ...], shown: SessionEvidence
) -> None:
    """Whatever passes with the header fulfils the rule: with DNS that asserts nothing, it would pass without it."""
    wanted = asked(NO, *records, about=replace(with_policy(policy()), rule=demanded, at=NOW))
    passes = isinstance(wanted, Requirement) and isinstance(judge(wanted, shown, NOW), Cleared)
    without = tuple(asked(TlsDemand.NONE, *each, about=evidence(demanded)) for each in ((), records))
    by_rule = [isinstance(each, Requirement) and isinstance(judge(each, shown, NOW), Cleared) for each in without]
    assert not passes or any(by_rule)
    if demanded.tls is TlsRule.REQUIRE_TLS:
        assert passes is by_rule[0]  # DANE and MTA-STS are lifted, and nothing else


@pytest.mark.parametrize("demanded", STRICT, ids=lambda one: f"{one.tls.value}-{one.minimum_version}")
def test_a_rule_that_says_so_is_lifted_by_the_header(demanded: DestinationRule) -> None:
    found = requirement(asked(NO, OTHER_TLSA, about=evidence(replace(demanded, lifted_by_header=True))))
    assert isinstance(judge(found, session(StartTls.NOT_OFFERED), NOW), Cleared)


def test_an_exception_holds_for_a_message_with_the_header_too() -> None:
    about = evidence(excepted(clear=False, until=NOW + 1))
    found = requirement(asked(NO, OTHER_TLSA, about=about))
    assert (found.encryption, found.reasons[0].code) == (Encryption.MANDATORY, "rule-exception")
    demands_nothing = replace(about, rule=replace(excepted(clear=False, until=NOW + 1), tls=TlsRule.MAY))
    assert requirement(asked(NO, OTHER_TLSA, about=demands_nothing)).encryption is Encryption.OPTIONAL


def test_a_rule_in_audit_does_not_hold_a_message_with_the_header() -> None:
    found = requirement(asked(NO, about=evidence(replace(rule(TlsRule.DANE_ONLY), audit=True))))
    assert found.encryption is Encryption.OPTIONAL


def test_the_header_does_not_make_addresses_up() -> None:
    assert code(require(evidence(), target(addresses=()), NO)) == "rfc5321-5.1-no-address"


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [LEAF.der, LEAF.spki], ids=["certificate", "key"])
def test_a_fingerprint_of_the_certificate_or_its_key_proves_the_server(octets: bytes) -> None:
    pinned = replace(rule(TlsRule.VERIFY), fingerprints=(bytes(32), hashlib.sha256(octets).digest()))
    found = requirement(asked(TlsDemand.NONE, about=evidence(pinned, signed=False), mx_secure=False))
    assert isinstance(found.authentication, PinAuthentication)
    cleared = judge(found, GOOD_SESSION, NOW + 40 * 365 * 86_400)  # a fingerprint has no date
    assert isinstance(cleared, Cleared)
    assert (cleared.achieved.level, cleared.achieved.by) == (Level.AUTHENTICATED, "fingerprint")


def test_another_fingerprint_holds_the_mail() -> None:
    pinned = replace(rule(TlsRule.VERIFY), fingerprints=(bytes(32),))
    found = requirement(asked(TlsDemand.NONE, about=evidence(pinned, signed=False), mx_secure=False))
    assert code(judge(found, GOOD_SESSION, NOW)) == "rule-fingerprint-mismatch"
    assert code(judge(found, session(StartTls.NOT_OFFERED), NOW)) == "rule-starttls-required"


@pytest.mark.parametrize(
    ("least", "version", "passes"),
    [
        ("TLSv1.2", "TLSv1.2", True),
        ("TLSv1.2", "TLSv1.3", True),
        ("TLSv1.3", "TLSv1.2", False),
        ("TLSv1.3", "TLSv1.3", True),
        ("TLSv1.2", "TLSv1.1", False),
    ],
)
def test_a_minimum_version_is_judged(least: str, version: str, passes: bool) -> None:
    strict = replace(rule(TlsRule.REQUIRE_TLS), minimum_version=least)
    shown = session(handshake=Completed(version=version, cipher="c", group=None, sni=HOST, chain=(LEAF.der,)))
    for records in ((), (GOOD_TLSA,)):
        verdict = judge(requirement(asked(TlsDemand.NONE, *records, about=evidence(strict))), shown, NOW)
        assert isinstance(verdict, Cleared) is passes
        if not passes:
            assert code(verdict) == "rule-tls-version"


def test_rfc8689_4_2_1_what_demands_tls_does_not_say_that_nothing_demands_it() -> None:
    found = require(destination(f"10 {HOST}."), target(), TlsDemand.REQUIRETLS)
    assert "rfc7435-3-opportunistic" not in {reason.code for reason in found.reasons}


def test_rfc7672_9_1_a_rule_in_audit_holds_nothing_and_tells_what_it_would_have_held() -> None:
    watching = replace(rule(TlsRule.DANE_ONLY), audit=True)
    found = requirement(asked(TlsDemand.NONE, about=evidence(watching)))
    assert found.encryption is Encryption.OPTIONAL
    cleared = judge(found, GOOD_SESSION, NOW)
    assert isinstance(cleared, Cleared)
    assert cleared.reasons[-1].code == "rule-audit-would-hold"


def test_a_rule_in_audit_tells_when_it_would_have_passed() -> None:
    watching = replace(rule(TlsRule.VERIFY), audit=True)
    cleared = judge(requirement(asked(TlsDemand.NONE, about=evidence(watching))), GOOD_SESSION, NOW)
    assert isinstance(cleared, Cleared)
    assert cleared.reasons[-1].code == "rule-audit-would-pass"
    assert cleared.achieved.level is Level.ENCRYPTED


def test_a_rule_in_audit_does_not_lower_what_dane_demands() -> None:
    watching = replace(rule(TlsRule.REQUIRE_TLS), audit=True)
    found = requirement(asked(TlsDemand.NONE, OTHER_TLSA, about=evidence(watching)))
    assert code(judge(found, GOOD_SESSION, NOW)) == "rfc7672-3.2-dane-mismatch"


def excepted(*, clear: bool, until: float) -> DestinationRule:
    exception = RuleException(allow_clear=clear, why="their record is old", until=until)
    return replace(rule(TlsRule.VERIFY), exception=exception)


def test_rfc7672_9_1_an_exception_for_a_site_lets_mail_pass_with_tls_or_in_clear_as_it_says() -> None:
    for clear in (False, True):
        about = evidence(excepted(clear=clear, until=NOW + 1))
        found = requirement(asked(TlsDemand.NONE, OTHER_TLSA, about=about))
        assert found.reasons[0].code == "rule-exception"
        assert dict(found.reasons[0].facts)["why"] == "their record is old"
        assert isinstance(judge(found, GOOD_SESSION, NOW), Cleared)
        assert isinstance(judge(found, session(StartTls.NOT_OFFERED), NOW), Cleared) is clear


def test_an_exception_ends_at_its_date() -> None:
    about = evidence(excepted(clear=True, until=NOW))
    found = requirement(asked(TlsDemand.NONE, OTHER_TLSA, about=about))
    assert code(judge(found, GOOD_SESSION, NOW)) == "rfc7672-3.2-dane-mismatch"


def test_an_exception_is_not_for_messages_with_requiretls() -> None:
    about = evidence(excepted(clear=True, until=NOW + 1))
    found = requirement(asked(REQUIRETLS, OTHER_TLSA, about=about))
    assert code(judge(found, GOOD_SESSION, NOW)) == "rfc7672-3.2-dane-mismatch"


@pytest.mark.parametrize(
    ("by_hop", "by_sender", "holds"),
    [
        (None, None, None),
        (TlsRule.MAY, TlsRule.VERIFY, TlsRule.VERIFY),
        (TlsRule.DANE_ONLY, TlsRule.VERIFY, TlsRule.DANE_ONLY),
        (None, TlsRule.REQUIRE_TLS, TlsRule.REQUIRE_TLS),
        (TlsRule.REQUIRE_TLS, None, TlsRule.REQUIRE_TLS),
    ],
)
def test_of_a_rule_for_the_next_hop_and_one_for_the_sender_the_stricter_holds(
    by_hop: TlsRule | None, by_sender: TlsRule | None, holds: TlsRule | None
) -> None:
    book = Rules({DOMAIN: rule(by_hop)} if by_hop else {}, {"sender.example": rule(by_sender)} if by_sender else {})
    found = book.for_message(DOMAIN, "sender.example").rule
    assert (found.tls if found else None) is holds


def test_the_null_reverse_path_has_no_rule_by_sender_and_equals_go_by_the_next_hop() -> None:
    hop, sender = rule(TlsRule.VERIFY, names=("hop.example",)), rule(TlsRule.VERIFY, names=("sender.example",))
    book = Rules({DOMAIN: hop}, {"*": sender})
    assert book.for_message(DOMAIN, None).rule is hop
    assert book.for_message(DOMAIN, "any.example").rule is hop
    assert book.for_message("other.example", "any.example").rule is sender
    assert book.for_message("other.example", None).rule is None
