"""Whether a session held: RFC 3207 section 4, RFC 7672 sections 2.2, 3 and 8.2."""

import datetime as dt
import hashlib

import pytest

from letterlock.identity.handshake import HandshakeFailed
from letterlock.mail.replies import Reply
from letterlock.policy.decision import Achieved, Cleared, Encryption, Level, PkixAuthentication, Requirement, SkipHost
from letterlock.policy.evidence import SessionEvidence, StartTls
from letterlock.policy.judge import judge, next_requirement
from letterlock.policy.reasons import sentence, status
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import authority, self_signed
from tests.policy.evidence import (
    GOOD_TLSA,
    HOST,
    INSECURE,
    LEAF,
    NOW,
    ROOT,
    ROOTS,
    SECURE,
    TA_TLSA,
    UNUSABLE_TLSA,
    destination,
    required,
    rule,
    session,
    target,
    tls,
)

PAST = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
REFUSED = Reply(454, ("4.7.0 TLS not available",))


def by_rule(kind: TlsRule, names: tuple[str, ...] = (), *, mx_secure: bool = True) -> Requirement:
    security = SECURE if mx_secure else INSECURE
    evidence = destination(f"10 {HOST}.", security=security, demand=rule(kind, names))
    return required(target(mx_secure=mx_secure), evidence)


DANE = required(target(GOOD_TLSA))
DANE_TA = required(target(TA_TLSA))
DANE_UNSIGNED_MX = required(target(GOOD_TLSA, mx_secure=False), destination(f"10 {HOST}.", security=INSECURE))
UNUSABLE = required(target(UNUSABLE_TLSA))
OPPORTUNISTIC = required(target())
REQUIRE_TLS = by_rule(TlsRule.REQUIRE_TLS)
VERIFY = by_rule(TlsRule.VERIFY)
VERIFY_UNSIGNED = by_rule(TlsRule.VERIFY, mx_secure=False)
MANDATORY = [DANE, DANE_TA, DANE_UNSIGNED_MX, UNUSABLE, REQUIRE_TLS, VERIFY, VERIFY_UNSIGNED]
BY_TLSA = [DANE, DANE_TA, DANE_UNSIGNED_MX, UNUSABLE]


def fallback(requirement: Requirement) -> Requirement:
    assert requirement.fallback is not None
    return requirement.fallback


def cleared(requirement: Requirement, shown: SessionEvidence) -> tuple[Achieved, str]:
    """What was reached, and the code that says so."""
    found = judge(requirement, shown, NOW)
    assert isinstance(found, Cleared), found
    assert found.requirement is requirement
    assert found.reasons[: len(requirement.reasons)] == requirement.reasons
    return found.achieved, found.reasons[-1].code


def held(requirement: Requirement, shown: SessionEvidence, now: float = NOW) -> str:
    """The code; what is held is always held for a while only."""
    found = judge(requirement, shown, now)
    assert isinstance(found, SkipHost), found
    assert status(found.reasons[0]).startswith("4.7.")
    assert "?" not in sentence(found.reasons[0])
    return found.reasons[0].code


@pytest.mark.parametrize("requirement", [*MANDATORY, OPPORTUNISTIC, fallback(OPPORTUNISTIC)])
def test_rfc3207_4_2_injected_octets_end_the_session_whatever_is_required(requirement: Requirement) -> None:
    assert held(requirement, session(StartTls.INJECTED)) == "rfc3207-4.2-injected"
    assert held(requirement, session(StartTls.INJECTED, tls(*LEAF.chain))) == "rfc3207-4.2-injected"
    assert next_requirement(requirement, session(StartTls.INJECTED)) is None


@pytest.mark.parametrize("requirement", MANDATORY)
@pytest.mark.parametrize("shown", [StartTls.NOT_OFFERED, StartTls.NOT_TRIED])
def test_rfc7672_2_2_3_mandatory_tls_is_never_clear(requirement: Requirement, shown: StartTls) -> None:
    by_tlsa = requirement in BY_TLSA
    wanted = "rfc7672-2.2.3-starttls-required" if by_tlsa else "rule-starttls-required"
    assert held(requirement, session(shown)) == wanted
    assert next_requirement(requirement, session(shown)) is None


@pytest.mark.parametrize("requirement", MANDATORY)
def test_rfc7672_2_2_3_a_refused_starttls_is_no_way_out(requirement: Requirement) -> None:
    by_tlsa = requirement in BY_TLSA
    shown = session(StartTls.REFUSED, refusal=REFUSED)
    assert held(requirement, shown) == ("rfc7672-2.2.3-starttls-refused" if by_tlsa else "rule-starttls-refused")
    assert next_requirement(requirement, shown) is None


@pytest.mark.parametrize("requirement", MANDATORY)
@pytest.mark.parametrize("handshake", [HandshakeFailed("no shared cipher"), None])
def test_rfc7672_2_2_a_failed_handshake_is_no_way_out(
    requirement: Requirement, handshake: HandshakeFailed | None
) -> None:
    by_tlsa = requirement in BY_TLSA
    shown = session(handshake=handshake)
    assert held(requirement, shown) == ("rfc7672-2.2-handshake-failed" if by_tlsa else "rule-handshake-failed")
    assert next_requirement(requirement, shown) is None


def test_rfc7672_2_2_only_an_earned_fallback_follows_a_failed_handshake() -> None:
    failed = session(handshake=HandshakeFailed("no shared cipher"))
    assert held(OPPORTUNISTIC, failed) == "rfc7435-3-handshake-failed"
    following = next_requirement(OPPORTUNISTIC, failed)
    assert following is OPPORTUNISTIC.fallback
    assert following is not None
    assert next_requirement(following, failed) is None
    achieved, code = cleared(following, session(StartTls.NOT_TRIED))
    assert (achieved.level, achieved.by) == (Level.CLEAR, None)
    assert code == following.reasons[-1].code
    assert following.reasons[0].code == "rfc7672-2.2-cleartext-fallback"


def test_a_handshake_that_succeeded_leads_to_no_fallback() -> None:
    assert next_requirement(OPPORTUNISTIC, session(handshake=tls(*LEAF.chain))) is None


def test_opportunistic_tls_goes_in_clear_where_there_is_none() -> None:
    assert cleared(OPPORTUNISTIC, session(StartTls.NOT_OFFERED)) == (Achieved(level=Level.CLEAR), "rfc7435-3-clear")
    refused = session(StartTls.REFUSED, refusal=REFUSED)
    assert cleared(OPPORTUNISTIC, refused) == (Achieved(level=Level.CLEAR), "rfc7435-3-clear-refused")


def test_rfc7672_1_3_1_opportunistic_tls_is_encrypted_and_never_authenticated() -> None:
    for chain in (LEAF.chain, self_signed("x.example").chain, ()):
        achieved, code = cleared(OPPORTUNISTIC, session(handshake=tls(*chain)))
        assert (achieved, code) == (Achieved(level=Level.ENCRYPTED), "rfc7435-3-encrypted")


@pytest.mark.parametrize("requirement", [UNUSABLE, REQUIRE_TLS])
def test_mandatory_tls_without_authentication_takes_any_certificate(requirement: Requirement) -> None:
    achieved, _ = cleared(requirement, session(handshake=tls(*self_signed("x.example").chain)))
    assert achieved == Achieved(level=Level.ENCRYPTED)


def test_rfc7672_3_1_1_a_matching_key_authenticates() -> None:
    achieved, code = cleared(DANE, session(handshake=tls(*LEAF.chain)))
    assert (achieved.level, achieved.by, code) == (Level.AUTHENTICATED, "dane-ee", "rfc7672-3.1.1-dane-ee")
    assert achieved.match == GOOD_TLSA[:14]


def test_rfc7672_3_1_2_a_matching_authority_authenticates() -> None:
    achieved, code = cleared(DANE_TA, session(handshake=tls(*LEAF.chain, ROOT.der)))
    assert (achieved.level, achieved.by, code) == (Level.AUTHENTICATED, "dane-ta", "rfc7672-3.1.2-dane-ta")


@pytest.mark.parametrize(
    ("requirement", "by"),
    [
        (DANE_UNSIGNED_MX, "dane-ee-unsigned-mx"),
        (
            required(target(TA_TLSA, mx_secure=False), destination(f"10 {HOST}.", security=INSECURE)),
            "dane-ta-unsigned-mx",
        ),
    ],
)
def test_rfc7672_2_2_1_dane_on_an_unsigned_mx_is_never_called_authenticated(requirement: Requirement, by: str) -> None:
    achieved, code = cleared(requirement, session(handshake=tls(*LEAF.chain, ROOT.der)))
    assert (achieved.level, achieved.by, code) == (Level.ENCRYPTED, by, "rfc7672-2.2.1-dane-unsigned-mx")
    assert held(requirement, session(handshake=tls(*self_signed(HOST).chain)))


@pytest.mark.parametrize("chain", [self_signed(HOST).chain, authority().leaf(HOST).chain, ROOT.leaf(HOST).chain])
def test_rfc7672_3_2_another_key_is_held_and_tried_again(chain: tuple[bytes, ...]) -> None:
    shown = session(handshake=tls(*chain))
    assert held(DANE, shown) == "rfc7672-3.2-dane-mismatch"
    assert next_requirement(DANE, shown) is None
    found = judge(DANE, shown, NOW)
    assert isinstance(found, SkipHost)
    assert "presented: " in sentence(found.reasons[0])
    assert status(found.reasons[0]) == "4.7.5"


def test_rfc7672_8_2_an_anonymous_session_is_held() -> None:
    assert held(DANE, session(handshake=tls())) == "rfc7672-3.2-dane-mismatch"
    assert held(VERIFY, session(handshake=tls())) == "rule-verify-untrusted"


def test_rfc7672_3_1_2_each_way_in_which_dane_ta_fails_has_its_reason() -> None:
    forged = authority().leaf(HOST)
    expired = ROOT.leaf(HOST, not_after=PAST)
    other = ROOT.leaf("other.example")
    assert held(DANE_TA, session(handshake=tls(*LEAF.chain))) == "rfc7672-3.2-dane-mismatch"
    assert held(DANE_TA, session(handshake=tls(forged.der, ROOT.der))) == "rfc7672-3.1.2-dane-untrusted"
    assert held(DANE_TA, session(handshake=tls(expired.der, ROOT.der))) == "rfc7672-3.1.2-dane-expired"
    assert held(DANE_TA, session(handshake=tls(other.der, ROOT.der))) == "rfc7672-3.2.2-dane-wrong-name"
    assert held(DANE_TA, session(handshake=tls(b"nonsense", ROOT.der))) == "rfc7672-3.2-dane-mismatch"


def test_rfc7672_3_1_1_dane_ee_does_not_look_at_the_date() -> None:
    expired = ROOT.leaf("other.example", not_after=PAST)
    requirement = required(target("3 1 1 " + hashlib.sha256(expired.spki).hexdigest()))
    assert cleared(requirement, session(handshake=tls(expired.der)))[0].level is Level.AUTHENTICATED


def test_rule_verify_authenticates_a_name_that_can_be_believed() -> None:
    achieved, code = cleared(VERIFY, session(handshake=tls(*LEAF.chain)))
    assert achieved == Achieved(level=Level.AUTHENTICATED, by="pkix", match=f"{HOST}, issued under Test Root")
    assert code == "rule-verified"


def test_rfc7672_1_3_2_a_certificate_for_an_unsigned_name_is_never_called_authenticated() -> None:
    achieved, code = cleared(VERIFY_UNSIGNED, session(handshake=tls(*LEAF.chain)))
    assert (achieved.level, achieved.by, code) == (
        Level.ENCRYPTED,
        "pkix-unsigned-name",
        "rfc7672-1.3.2-unsigned-name",
    )


@pytest.mark.parametrize("requirement", [VERIFY, VERIFY_UNSIGNED])
def test_rule_verify_holds_every_other_certificate(requirement: Requirement) -> None:
    cases = {
        self_signed(HOST).chain: "rule-verify-untrusted",
        authority().leaf(HOST).chain: "rule-verify-untrusted",
        ROOT.leaf(HOST, not_after=PAST).chain: "rule-verify-expired",
        ROOT.leaf("other.example").chain: "rule-verify-wrong-name",
        (b"nonsense",): "rule-verify-untrusted",
    }
    assert {chain: held(requirement, session(handshake=tls(*chain))) for chain in cases} == cases


def test_the_moment_is_an_argument() -> None:
    shown = session(handshake=tls(*LEAF.chain, ROOT.der))
    assert held(DANE_TA, shown, now=0) == "rfc7672-3.1.2-dane-expired"
    assert held(VERIFY, shown, now=0) == "rule-verify-expired"


def test_a_remote_text_is_cut_and_made_printable() -> None:
    hostile = Reply(454, ("4.7.0 \x1b[31m" + "x" * 5000,))
    found = judge(DANE, session(StartTls.REFUSED, refusal=hostile), NOW)
    assert isinstance(found, SkipHost)
    assert len(sentence(found.reasons[0])) < 400
    assert "\x1b" not in sentence(found.reasons[0])
    missing = judge(DANE, session(StartTls.REFUSED), NOW)
    assert isinstance(missing, SkipHost)
    assert "no reply" in sentence(missing.reasons[0])


def test_no_requirement_of_ours_is_encrypted_by_chance() -> None:
    assert {one.encryption for one in MANDATORY} == {Encryption.MANDATORY}
    assert all(one.fallback is None for one in MANDATORY)


def test_whoever_demands_a_certificate_clears_no_session_in_cleartext() -> None:
    """Also where the demand comes second, and nobody said that TLS is mandatory."""
    pkix = PkixAuthentication(references=(HOST,), roots=ROOTS, names_secure=True)
    for encryption in (Encryption.NONE, Encryption.OPTIONAL):
        wanted = Requirement(encryption=encryption, authentication=None, also=pkix, sni=None, fallback=None, reasons=())
        clear = SessionEvidence(address="192.0.2.1", port=25, starttls=StartTls.NOT_OFFERED)
        assert isinstance(judge(wanted, clear, NOW), SkipHost)
