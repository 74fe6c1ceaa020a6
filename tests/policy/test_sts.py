"""What MTA-STS adds to a decision: RFC 8461 sections 2, 3.3, 4.1, 4.2, 5 and 10.2."""

import datetime as dt
import hashlib
from dataclasses import replace

import pytest

from letterlock.identity.handshake import HandshakeFailed
from letterlock.identity.trust import TrustRoots
from letterlock.inspect.outlook import Attacker, Protection, Reader, outlook, protection
from letterlock.mtasts import Absent, Known, Mode, PolicyUnavailable, StsPolicy
from letterlock.policy.decision import (
    Cleared,
    DaneAuthentication,
    Demander,
    Encryption,
    Level,
    PkixAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, Origin, Route, StartTls, TargetHost
from letterlock.policy.judge import judge, next_requirement
from letterlock.policy.reasons import Reason, ResultType, result_type, status
from letterlock.policy.require import require
from letterlock.policy.route import route
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import authority
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
    rule,
    session,
    target,
    tls,
)

STRANGER = authority()
EXPIRED = ROOT.leaf(HOST, not_after=dt.datetime.fromtimestamp(NOW - 86_400, dt.UTC))


def policy(mode: Mode = Mode.ENFORCE, *mx: str, trouble: str | None = None) -> Known:
    return Known(
        policy=StsPolicy(mode=mode, max_age_seconds=604_800, mx=mx or (HOST,)),
        id="20270101",
        fetched_at=NOW - 60,
        expires_at=NOW + 604_800,
        from_cache=True,
        trouble=trouble,
        suspicious=trouble is not None,
    )


def with_policy(
    sts: Known | Absent | PolicyUnavailable | None, *, signed: bool = False, tls_rule: TlsRule | None = None
) -> DestinationEvidence:
    demand = rule(tls_rule) if tls_rule else None
    made = destination(f"10 {HOST}.", demand=demand) if signed else destination(f"10 {HOST}.", security=INSECURE)
    return replace(made, sts=sts, public_roots=ROOTS, rule=demand)


def plain_host(name: str = HOST) -> TargetHost:
    """A host in an unsigned zone."""
    return target(name=name, mx_secure=False, base=None, address_security=INSECURE)


def demanded(evidence: DestinationEvidence, host: TargetHost) -> Requirement:
    found = require(evidence, host)
    assert isinstance(found, Requirement), found
    return found


def first_code(found: object) -> str:
    assert isinstance(found, SkipHost), found
    return found.reasons[0].code


def codes(reasons: tuple[Reason, ...]) -> list[str]:
    return [reason.code for reason in reasons]


def test_rfc8461_5_enforce_demands_tls_with_a_certificate_for_the_host_and_has_no_fallback() -> None:
    found = demanded(with_policy(policy()), plain_host())
    assert found.encryption is Encryption.MANDATORY
    assert found.fallback is None
    assert isinstance(found.authentication, PkixAuthentication)
    assert found.authentication == PkixAuthentication(
        references=(HOST,), roots=ROOTS, names_secure=True, demander=Demander.MTA_STS
    )
    assert found.sni == HOST
    assert "rfc8461-5-enforce" in codes(found.reasons)
    assert "rfc7435-3-opportunistic" not in codes(found.reasons)


def test_rfc8461_4_2_a_valid_chain_for_the_host_is_authenticated() -> None:
    verdict = judge(demanded(with_policy(policy()), plain_host()), session(handshake=tls(LEAF.der)), NOW)
    assert isinstance(verdict, Cleared)
    assert verdict.achieved.level is Level.AUTHENTICATED
    assert verdict.achieved.by == "mta-sts"


@pytest.mark.parametrize(
    ("chain", "now", "code", "reported"),
    [
        (STRANGER.leaf(HOST).der, NOW, "rfc8461-4.2-untrusted", ResultType.CERTIFICATE_NOT_TRUSTED),
        (EXPIRED.der, NOW, "rfc8461-4.2-expired", ResultType.CERTIFICATE_EXPIRED),
        (
            ROOT.leaf("other.example").der,
            NOW,
            "rfc8461-4.2-wrong-name",
            ResultType.CERTIFICATE_HOST_MISMATCH,
        ),
    ],
)
def test_rfc8461_4_2_a_bad_chain_holds_the_mail_for_now(
    chain: bytes, now: float, code: str, reported: ResultType
) -> None:
    verdict = judge(demanded(with_policy(policy()), plain_host()), session(handshake=tls(chain)), now)
    assert first_code(verdict) == code
    assert isinstance(verdict, SkipHost)
    assert status(verdict.reasons[0]).startswith("4.")
    assert result_type(verdict.reasons[0]) is reported
    assert verdict.kind is SkipKind.MTA_STS


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (session(StartTls.NOT_OFFERED), "rfc8461-5-starttls-required"),
        (session(StartTls.REFUSED), "rfc8461-5-starttls-refused"),
        (session(handshake=HandshakeFailed("reset")), "rfc8461-5-handshake-failed"),
    ],
)
def test_rfc8461_5_without_tls_nothing_is_sent(shown: object, code: str) -> None:
    found = demanded(with_policy(policy()), plain_host())
    verdict = judge(found, shown, NOW)  # type: ignore[arg-type]  # parametrised
    assert first_code(verdict) == code
    assert isinstance(verdict, SkipHost)
    assert verdict.kind is SkipKind.MTA_STS
    assert next_requirement(found, shown) is None  # type: ignore[arg-type]  # parametrised


@pytest.mark.parametrize(
    ("patterns", "host", "named"),
    [
        (("mx.example.org",), "mx.example.org", True),
        (("*.example.org",), "mx.example.org", True),
        (("*.example.org",), "a.mx.example.org", False),
        (("*.example.org",), "example.org", False),
        (("mx.example.net", "MX.example.org"), "mx.example.org", True),
        (("other.example.org",), "mx.example.org", False),
    ],
)
def test_rfc8461_4_1_only_hosts_that_the_policy_names(patterns: tuple[str, ...], host: str, named: bool) -> None:
    found = require(with_policy(policy(Mode.ENFORCE, *patterns)), plain_host(host))
    if named:
        assert isinstance(found, Requirement)
    else:
        assert first_code(found) == "rfc8461-4.1-mx-mismatch"


def test_rfc8461_4_1_without_mx_the_domain_itself_must_be_named() -> None:
    host = target(origin=Origin.IMPLICIT_MX, name=DOMAIN, mx_secure=False, base=None, address_security=INSECURE)
    assert first_code(require(with_policy(policy()), host)) == "rfc8461-4.1-mx-mismatch"
    assert isinstance(require(with_policy(policy(Mode.ENFORCE, DOMAIN)), host), Requirement)


def test_rfc8461_4_1_an_address_in_the_mx_record_is_never_named() -> None:
    host = target(origin=Origin.LITERAL, name="192.0.2.1", mx_secure=False, base=None, address_security=INSECURE)
    assert first_code(require(with_policy(policy(Mode.ENFORCE, "192.0.2.1")), host)) == "rfc8461-4.1-mx-mismatch"


def test_rfc8461_2_mta_sts_never_overrides_a_failing_dane() -> None:
    """The chain is fine for WebPKI, and wrong for the TLSA record."""
    found = demanded(with_policy(policy(), signed=True), target(OTHER_TLSA))
    assert isinstance(found.authentication, DaneAuthentication)
    assert first_code(judge(found, session(handshake=tls(LEAF.der)), NOW)) == "rfc7672-3.2-dane-mismatch"


def test_rfc8461_2_where_both_apply_both_are_verified() -> None:
    found = demanded(with_policy(policy(), signed=True), target(GOOD_TLSA))
    assert isinstance(found.also, PkixAuthentication)
    verdict = judge(found, session(handshake=tls(LEAF.der)), NOW)
    assert isinstance(verdict, Cleared)
    assert verdict.achieved.by == "dane-ee"
    assert codes(verdict.reasons)[-2:] == ["rfc7672-3.1.1-dane-ee", "rfc8461-4.2-verified"]
    ee = "3 1 1 " + hashlib.sha256(EXPIRED.spki).hexdigest()  # DANE-EE does not look at the date
    late = judge(demanded(with_policy(policy(), signed=True), target(ee)), session(handshake=tls(EXPIRED.der)), NOW)
    assert first_code(late) == "rfc8461-4.2-expired"


def test_rfc7672_2_2_1_behind_an_unsigned_mx_mta_sts_authenticates_what_dane_only_encrypts() -> None:
    found = demanded(with_policy(policy()), target(GOOD_TLSA, mx_secure=False))
    verdict = judge(found, session(handshake=tls(LEAF.der)), NOW)
    assert isinstance(verdict, Cleared)
    assert (verdict.achieved.level, verdict.achieved.by) == (Level.AUTHENTICATED, "mta-sts")


def test_a_rule_that_verifies_and_a_policy_are_both_heard() -> None:
    other = TrustRoots("own", (STRANGER.der,))
    evidence = with_policy(policy())
    evidence = replace(evidence, rule=rule(TlsRule.VERIFY, trust=other))
    found = demanded(evidence, plain_host())
    assert isinstance(found.authentication, PkixAuthentication)
    assert found.authentication.demander is Demander.RULE
    assert found.also is not None
    assert first_code(judge(found, session(handshake=tls(LEAF.der)), NOW)) == "rule-verify-untrusted"
    stranger = STRANGER.leaf(HOST).der
    assert first_code(judge(found, session(handshake=tls(stranger)), NOW)) == "rfc8461-4.2-untrusted"


def test_rfc8461_5_testing_delivers_and_tells_what_would_have_been_held() -> None:
    found = demanded(with_policy(policy(Mode.TESTING)), plain_host())
    assert found.encryption is Encryption.OPTIONAL
    assert found.fallback is not None
    cleared = judge(found, session(StartTls.NOT_OFFERED), NOW)
    assert isinstance(cleared, Cleared)
    told = cleared.reasons[-1]
    assert told.code == "rfc8461-5-would-hold"
    assert "STARTTLS was not offered" in dict(told.facts)["reason"]
    good = judge(found, session(handshake=tls(LEAF.der)), NOW)
    assert isinstance(good, Cleared)
    assert good.reasons[-1].code == "rfc8461-5-would-pass"
    assert good.achieved.level is Level.ENCRYPTED


def test_rfc8461_5_testing_tells_of_a_host_that_the_policy_does_not_name() -> None:
    found = demanded(with_policy(policy(Mode.TESTING, "other.example.org")), plain_host())
    cleared = judge(found, session(handshake=tls(LEAF.der)), NOW)
    assert isinstance(cleared, Cleared)
    assert cleared.reasons[-1].code == "rfc8461-5-would-hold"


@pytest.mark.parametrize("sts", [None, Absent(), policy(Mode.NONE)])
def test_rfc8461_5_without_a_policy_nothing_is_added(sts: Known | Absent | None) -> None:
    found = demanded(with_policy(sts), plain_host())
    assert (found.encryption, found.authentication, found.also, found.audits) == (Encryption.OPTIONAL, None, None, ())


def test_rfc8461_3_3_what_could_not_be_found_out_is_told_and_not_called_absent() -> None:
    found = demanded(with_policy(PolicyUnavailable("the policy host does not answer")), plain_host())
    assert found.encryption is Encryption.OPTIONAL
    assert "rfc8461-3.3-unreachable" in codes(found.reasons)


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.TESTING])
def test_rfc8461_10_2_a_blocked_policy_still_holds_and_is_a_sign_of_attack(mode: Mode) -> None:
    found = demanded(with_policy(policy(mode, trouble="the TXT record has gone")), plain_host())
    assert "rfc8461-10.2-blocked" in codes(found.reasons)
    assert (found.encryption is Encryption.MANDATORY) is (mode is Mode.ENFORCE)


def test_a_host_that_dns_tells_to_leave_alone_is_left_alone_whatever_the_policy_says() -> None:
    found = require(with_policy(policy()), target(addresses=(), base=None))
    assert first_code(found) == "rfc5321-5.1-no-address"


def test_the_outlook_says_what_the_policy_stops_and_what_it_does_not() -> None:
    evidence, host = with_policy(policy()), plain_host()
    evidence = replace(evidence, public_roots=TrustRoots("system", ROOTS.certificates))
    found = require(evidence, host)
    readers = {one.attacker: one.who_can_read for one in outlook(evidence, host, found)}
    assert readers == {
        Attacker.REMOVES_STARTTLS: Reader.NOBODY,
        Attacker.OWN_CERTIFICATE: Reader.NOBODY,
        Attacker.FORGES_DNS: Reader.NOBODY,
        Attacker.BOUGHT_CERTIFICATE: Reader.ATTACKER,
        Attacker.FIRST_CONTACT: Reader.ATTACKER,
    }
    summary = protection(evidence, host, found)
    assert summary.protection is Protection.ONCE_KNOWN
    assert "at first contact" in summary.sentence
    mismatch = require(with_policy(policy(Mode.ENFORCE, "other.example.org")), host)
    assert protection(evidence, host, mismatch).protection is Protection.HELD


def test_rfc8461_10_2_with_dane_beside_it_nothing_rests_on_first_contact() -> None:
    evidence, host = with_policy(policy(), signed=True), target(GOOD_TLSA)
    found = require(evidence, host)
    first = next(one for one in outlook(evidence, host, found) if one.attacker is Attacker.FIRST_CONTACT)
    assert first.who_can_read is Reader.NOBODY
    assert protection(evidence, host, found).protection is Protection.PROTECTED


def test_rfc8461_7_1_sni_is_the_mx_host() -> None:
    assert demanded(with_policy(policy()), plain_host()).sni == HOST


def test_rfc8461_8_4_a_policy_changes_nothing_of_the_order_of_the_hosts() -> None:
    evidence = destination("20 mx.example.org.", "10 other.example.org.", security=INSECURE)
    plain, governed = (route(replace(evidence, sts=sts), list) for sts in (None, policy()))
    assert isinstance(plain, Route)
    assert plain == governed
    assert [host.name for host in plain.hosts] == ["other.example.org", "mx.example.org"]


def test_rfc8461_4_2_a_common_name_is_no_name() -> None:
    """DNS-IDs only, as RFC 8461 section 4.2 has it of RFC 6125."""
    nameless = ROOT.leaf("other.example.org", common_name=HOST)
    verdict = judge(demanded(with_policy(policy()), plain_host()), session(handshake=tls(nameless.der)), NOW)
    assert isinstance(verdict, SkipHost)
    assert verdict.reasons[0].code == "rfc8461-4.2-wrong-name"
