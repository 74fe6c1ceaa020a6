"""What a session came to, as people are told it: the level and by what, and the last reason with its facts."""

from dataclasses import replace

import pytest

from letterlock.identity.handshake import HandshakeFailed
from letterlock.identity.trust import TrustRoots
from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts import Mode
from letterlock.policy.decision import (
    Audit,
    Cleared,
    DaneAuthentication,
    Demander,
    Encryption,
    PkixAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, SessionEvidence, StartTls
from letterlock.policy.judge import judge
from letterlock.policy.reasons import sentence
from letterlock.policy.require import require, tlsa_records
from letterlock.policy.requiretls import with_requiretls
from letterlock.policy.sts import NO_ROOTS
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import self_signed
from tests.policy.evidence import (
    GOOD_TLSA,
    HOST,
    LEAF,
    NOW,
    ROOT,
    ROOTS,
    answer,
    destination,
    required,
    rule,
    session,
    target,
    tls,
)
from tests.policy.test_judge import (
    DANE,
    DANE_TA,
    DANE_UNSIGNED_MX,
    OPPORTUNISTIC,
    REFUSED,
    REQUIRE_TLS,
    UNUSABLE,
    VERIFY,
    VERIFY_UNSIGNED,
)
from tests.policy.test_sts import plain_host, policy, with_policy


def by_message(roots: TrustRoots | None = ROOTS) -> Requirement:
    found = require(replace(destination(f"10 {HOST}."), public_roots=roots), target(), TlsDemand.REQUIRETLS)
    assert isinstance(found, Requirement)
    return found


def pinned(fingerprint: bytes) -> Requirement:
    demand = replace(rule(TlsRule.VERIFY), fingerprints=(fingerprint,))
    return required(target(), destination(f"10 {HOST}.", demand=demand))


def in_audit(tls_rule: TlsRule) -> DestinationEvidence:
    return destination(f"10 {HOST}.", demand=replace(rule(tls_rule), audit=True))


REQUIRETLS = by_message()
NEWEST = required(target(GOOD_TLSA), destination(f"10 {HOST}.", demand=replace(rule(), minimum_version="TLSv1.3")))
AUDITED = required(target(), in_audit(TlsRule.REQUIRE_TLS))
ENFORCED = required(plain_host(), with_policy(policy()))
TESTING = required(plain_host(), with_policy(policy(Mode.TESTING)))

GOOD = session(handshake=tls(*LEAF.chain))
STRANGER = session(handshake=tls(*self_signed("x.example").chain))
NOT_OFFERED = session(StartTls.NOT_OFFERED)
TURNED_DOWN = session(StartTls.REFUSED, refusal=REFUSED)
FAILED = session(handshake=HandshakeFailed("no shared cipher\n"))
SAID = f"{HOST}, issued under Test Root"
UNTRUSTED = "certificate of x.example: it is self-signed and not among the trusted certificates (trusting own.pem)"
RECORD = GOOD_TLSA[:14]


def told(requirement: Requirement, shown: SessionEvidence) -> str:
    """The last reason of a verdict, which is about the address."""
    found = judge(requirement, shown, NOW)
    assert isinstance(found, Cleared | SkipHost)
    assert found.reasons[-1].subject == shown.address
    return sentence(found.reasons[-1])


@pytest.mark.parametrize(
    ("requirement", "shown", "expected"),
    [
        (DANE, FAILED, "the TLS handshake failed (no shared cipher?) although TLSA records demand TLS"),
        (DANE, session(), "the TLS handshake failed (it was not finished) although TLSA records demand TLS"),
        (REQUIRE_TLS, FAILED, "the TLS handshake failed (no shared cipher?) although a rule demands TLS"),
        (OPPORTUNISTIC, FAILED, "the TLS handshake failed (no shared cipher?)"),
        (REQUIRETLS, FAILED, "REQUIRETLS: there is no TLS session with the server: no shared cipher?"),
        (REQUIRETLS, NOT_OFFERED, "REQUIRETLS: there is no TLS session with the server: STARTTLS was not offered"),
        (
            REQUIRETLS,
            TURNED_DOWN,
            "REQUIRETLS: there is no TLS session with the server: STARTTLS was refused (454 4.7.0 TLS not available)",
        ),
        (
            REQUIRETLS,
            session(StartTls.REFUSED),
            "REQUIRETLS: there is no TLS session with the server: STARTTLS was refused (no reply)",
        ),
        (
            DANE,
            TURNED_DOWN,
            (
                "STARTTLS was refused (454 4.7.0 TLS not available) although TLSA records demand it; an attacker on "
                "the path may have answered"
            ),
        ),
        (OPPORTUNISTIC, NOT_OFFERED, "sent in cleartext: the server did not offer TLS, and nothing demands it"),
        (
            OPPORTUNISTIC,
            TURNED_DOWN,
            "sent in cleartext: the server refused STARTTLS (454 4.7.0 TLS not available), and nothing demands it",
        ),
        (
            NEWEST,
            session(handshake=replace(tls(*LEAF.chain), version="TLSv1.2")),
            "the session has TLSv1.2, and the rule letterlock.toml:7 demands at least TLSv1.3",
        ),
        (REQUIRETLS, STRANGER, f"REQUIRETLS: the certificate proves nothing: {UNTRUSTED}"),
        (VERIFY, STRANGER, f"the certificate is not trusted: {UNTRUSTED}"),
        (OPPORTUNISTIC, GOOD, "encrypted, but to an unidentified server: the certificate proves nothing here"),
    ],
)
def test_why_a_session_holds_nothing_or_not_enough(
    requirement: Requirement, shown: SessionEvidence, expected: str
) -> None:
    assert told(requirement, shown) == expected


@pytest.mark.parametrize(
    ("requirement", "shown", "level", "by", "match", "expected"),
    [
        (
            DANE,
            GOOD,
            "authenticated",
            "dane-ee",
            RECORD,
            f"the server's key is the one that its TLSA record names ({RECORD})",
        ),
        (
            DANE_UNSIGNED_MX,
            GOOD,
            "encrypted",
            "dane-ee-unsigned-mx",
            RECORD,
            (
                f"the server is the one that its TLSA record names ({RECORD}), but the MX record that led there is not "
                "signed"
            ),
        ),
        (
            pinned(bytes.fromhex(GOOD_TLSA[6:])),
            GOOD,
            "authenticated",
            "fingerprint",
            RECORD,
            "the server has a fingerprint that the rule names",
        ),
        (
            VERIFY,
            GOOD,
            "authenticated",
            "pkix",
            SAID,
            f"the certificate is trusted and has the right name ({SAID})",
        ),
        (
            VERIFY_UNSIGNED,
            GOOD,
            "encrypted",
            "pkix-unsigned-name",
            SAID,
            (
                f"the certificate is trusted ({SAID}), but for a name from unsigned DNS, which an attacker could have "
                "chosen"
            ),
        ),
        (REQUIRETLS, GOOD, "authenticated", "pkix", SAID, f"REQUIRETLS: verified by WebPKI: {SAID}"),
        (
            ENFORCED,
            GOOD,
            "authenticated",
            "mta-sts",
            SAID,
            f"verified by WebPKI, as the MTA-STS policy demands: {SAID}",
        ),
    ],
    ids=lambda _: "",  # the words hold digests of keys that are made anew for each run
)
def test_by_what_a_session_is_cleared(
    requirement: Requirement, shown: SessionEvidence, level: str, by: str, match: str, expected: str
) -> None:
    found = judge(requirement, shown, NOW)
    assert isinstance(found, Cleared)
    assert (found.achieved.level, found.achieved.by, found.achieved.match) == (level, by, match)
    assert told(requirement, shown) == expected


def test_rfc7672_3_2_2_dane_ta_tells_the_record_and_the_name() -> None:
    found = judge(DANE_TA, session(handshake=tls(LEAF.der, ROOT.der)), NOW)
    assert isinstance(found, Cleared)
    assert sentence(found.reasons[-1]).endswith(f"for {HOST})")


def test_a_fingerprint_that_does_not_match_says_what_was_wanted() -> None:
    assert told(pinned(bytes(32)), GOOD).startswith(
        "neither the certificate nor its key has a fingerprint that the rule names: wanted the server's certificate "
        f"with SHA2-256 {'00' * 32}; presented: "
    )


@pytest.mark.parametrize(
    ("requirement", "shown", "expected"),
    [
        (
            AUDITED,
            NOT_OFFERED,
            (
                "the rule letterlock.toml:7 would have held this mail if it were not in audit mode: STARTTLS was not "
                "offered although a rule demands it; an attacker on the path may have removed it"
            ),
        ),
        (AUDITED, GOOD, "the rule letterlock.toml:7, in audit mode, would have let this mail pass"),
        (TESTING, GOOD, "the MTA-STS policy of example.org would have let this mail pass if it were enforced"),
        (
            TESTING,
            STRANGER,
            (
                "the MTA-STS policy of example.org would have held this mail if it were enforced: the certificate "
                f"does not satisfy the MTA-STS policy: {UNTRUSTED}"
            ),
        ),
        (
            replace(
                OPPORTUNISTIC,
                audits=(Audit(what="the rule x", by=Demander.RULE, required=SkipHost(kind=SkipKind.RULE, reasons=())),),
            ),
            GOOD,
            "the rule x would have held this mail if it were not in audit mode: no reason given",
        ),
    ],
)
def test_what_an_audited_demand_would_have_come_to(
    requirement: Requirement, shown: SessionEvidence, expected: str
) -> None:
    assert told(requirement, shown) == expected


def test_where_nothing_is_sent_nothing_audited_is_told() -> None:
    for requirement in (AUDITED, TESTING):
        found = judge(requirement, session(StartTls.INJECTED), NOW)
        assert isinstance(found, SkipHost)
        assert [reason.code for reason in found.reasons] == ["rfc3207-4.2-injected"]


def test_what_is_audited_has_no_way_out_and_audits_nothing_itself() -> None:
    for found in (required(target(), in_audit(TlsRule.MAY)), TESTING):
        assert found.fallback is not None
        [audit] = found.audits
        assert isinstance(audit.required, Requirement)
        assert (audit.required.fallback, audit.required.audits) == (None, ())
    evidence = replace(with_policy(policy(Mode.TESTING)), rule=in_audit(TlsRule.REQUIRE_TLS).rule)
    sts, by_rule = required(plain_host(), evidence).audits
    assert (sts.by, by_rule.by) == (Demander.MTA_STS, Demander.RULE)
    assert isinstance(by_rule.required, Requirement)
    assert by_rule.required.audits == ()


def test_rfc8689_4_2_1_what_the_message_raises() -> None:
    assert REQUIRETLS.encryption is Encryption.MANDATORY
    assert REQUIRETLS.fallback is None
    assert REQUIRETLS.requiretls
    skip = SkipHost(kind=SkipKind.RULE, reasons=())
    assert with_requiretls(destination(f"10 {HOST}."), target(), skip) is skip


def test_without_roots_nothing_is_trusted_and_it_says_so() -> None:
    assert NO_ROOTS.name == "no roots"
    held = "there is no root to trust (trusting no roots)"
    without_trust = required(target(), destination(f"10 {HOST}.", demand=rule(TlsRule.VERIFY, trust=None)))
    by_policy = required(plain_host(), replace(with_policy(policy()), public_roots=None))
    for requirement in (by_message(None), without_trust, by_policy):
        assert told(requirement, GOOD).endswith(held)


def test_what_is_no_tlsa_record_is_left_out() -> None:
    assert tlsa_records(answer(HOST, "A", "192.0.2.1")) == ()


def test_names_are_believed_and_rules_have_no_other_source_unless_it_is_said() -> None:
    assert DaneAuthentication(records=(), references=()).names_secure
    assert PkixAuthentication(references=(), roots=ROOTS, names_secure=True).demander is Demander.RULE
    assert (UNUSABLE.minimum_version, UNUSABLE.minimum_source) == (None, "")
    assert destination(f"10 {HOST}.").at == 0.0
