"""`tls=` in the log: the words of Postfix 3.11 for how the TLS of a session compares with what was demanded."""

from dataclasses import replace

import pytest

from letterlock.deliver.log import events, lines
from letterlock.deliver.tls_status import tls_status
from letterlock.identity.handshake import HandshakeFailed
from letterlock.policy.decision import (
    Cleared,
    Demander,
    Encryption,
    PinAuthentication,
    PkixAuthentication,
    RememberedAuthentication,
    Requirement,
)
from letterlock.policy.evidence import SessionEvidence, StartTls, TargetHost
from letterlock.policy.judge import judge, judge_extensions, next_requirement
from letterlock.policy.requiretls import with_requiretls
from letterlock.queue.sessions import SessionTried
from letterlock.routing.destination_rule import TlsRule
from tests.deliver.test_log import delivered
from tests.policy.evidence import (
    GOOD_TLSA,
    HOST,
    INSECURE,
    LEAF,
    NOW,
    OTHER_TLSA,
    ROOT,
    ROOTS,
    UNUSABLE_TLSA,
    destination,
    required,
    rule,
    session,
    target,
    tls,
)

GOOD, NO_STARTTLS = session(handshake=tls(LEAF.der, ROOT.der)), session(StartTls.NOT_OFFERED)
BROKEN = session(handshake=HandshakeFailed("reset"))
PLAIN = required(target(base=None))
PIN = replace(PLAIN, encryption=Encryption.MANDATORY, authentication=PinAuthentication(fingerprints=(b"x" * 32,)))
NAMED = PkixAuthentication(references=(HOST,), roots=ROOTS, names_secure=True, demander=Demander.MTA_STS)


def status(requirement: Requirement, shown: SessionEvidence | None, *, offered: bool = True) -> str:
    """Of a session, judged as a delivery judges it."""
    verdict = None if shown is None else judge(requirement, shown, NOW)
    if shown is not None and isinstance(verdict, Cleared):
        verdict = judge_extensions(verdict, shown, requiretls_offered=offered)
    tried = SessionTried(HOST, "192.0.2.1", 25, requirement, NOW, NOW, shown, verdict)
    return tls_status(tried)


def demanding(host: TargetHost) -> Requirement:
    """The same with REQUIRETLS."""
    found = with_requiretls(replace(destination(f"10 {HOST}."), public_roots=ROOTS), host, required(host))
    assert isinstance(found, Requirement)
    return found


def ruled(kind: TlsRule, names: tuple[str, ...] = ()) -> Requirement:
    return required(target(base=None), destination(f"10 {HOST}.", demand=rule(kind, names)))


@pytest.mark.parametrize(
    ("requirement", "shown", "expected"),
    [
        (required(target(GOOD_TLSA)), GOOD, "dane"),
        (required(target(OTHER_TLSA)), GOOD, "!dane"),
        (required(target(GOOD_TLSA)), NO_STARTTLS, "!dane:none"),
        (required(target(GOOD_TLSA)), BROKEN, "!dane:none"),
        (required(target(GOOD_TLSA)), None, "dane?"),
        (
            required(target(GOOD_TLSA, mx_secure=False), destination(f"10 {HOST}.", security=INSECURE)),
            GOOD,
            "dane:halfdane",
        ),
        (required(target(UNUSABLE_TLSA)), GOOD, "encrypt"),
        (required(target(UNUSABLE_TLSA)), NO_STARTTLS, "!encrypt:none"),
        (PLAIN, GOOD, "may"),
        (PLAIN, NO_STARTTLS, "may:none"),
        (PLAIN, BROKEN, "!may:none"),
        (PLAIN, session(StartTls.INJECTED), "!may:none"),
        (PLAIN, None, "may?"),
        (ruled(TlsRule.REQUIRE_TLS), GOOD, "encrypt"),
        (ruled(TlsRule.VERIFY), GOOD, "secure"),
        (ruled(TlsRule.VERIFY, names=("other.example",)), GOOD, "!secure"),
        (PIN, GOOD, "!fingerprint"),
        (replace(PLAIN, authentication=replace(NAMED, names_secure=False)), GOOD, "verify"),
        (replace(PLAIN, also=NAMED), GOOD, "secure"),
        (replace(PLAIN, authentication=RememberedAuthentication(keys=(), pkix=NAMED)), GOOD, "secure"),
    ],
)
def test_the_level_that_applied_and_the_one_that_was_reached(
    requirement: Requirement, shown: SessionEvidence | None, expected: str
) -> None:
    assert status(requirement, shown) == expected


def test_the_fallback_of_opportunistic_tls_is_in_clear() -> None:
    fallback = next_requirement(required(target()), BROKEN)
    assert fallback is not None
    assert status(fallback, session(StartTls.NOT_TRIED)) == "may:none"


@pytest.mark.parametrize(
    ("host", "shown", "offered", "expected"),
    [
        (target(GOOD_TLSA), GOOD, True, "dane/requiretls"),
        (target(GOOD_TLSA), GOOD, False, "dane?/!requiretls:none"),
        (target(OTHER_TLSA), GOOD, True, "!dane/requiretls?"),
        (target(), GOOD, True, "encrypt/requiretls"),
        (target(), session(handshake=tls()), True, "encrypt?/!requiretls:nocertmatch"),
        (target(), NO_STARTTLS, True, "encrypt?/!requiretls:nostarttls"),
        (target(), None, True, "encrypt?/requiretls?"),
    ],
)
def test_rfc8689_4_2_1_requiretls_has_a_status_of_its_own(
    host: TargetHost, shown: SessionEvidence | None, offered: bool, expected: str
) -> None:
    assert status(demanding(host), shown, offered=offered) == expected


def test_line_and_object_have_both_words() -> None:
    requirement = required(target(GOOD_TLSA))
    tried = SessionTried(HOST, "192.0.2.1", 25, requirement, NOW, NOW, GOOD, judge(requirement, GOOD, NOW))
    made = replace(delivered(), sessions=(tried,))
    (line,) = lines(made, accepted_at=100.0)
    assert " tls=dane protection=authenticated by=dane-ee " in line
    (event,) = events(made, accepted_at=100.0)
    fields = event.fields()
    assert (fields["tls_status"], fields["tls"]) == ("dane", "authenticated")
    assert "protection" not in fields


def test_without_a_session_there_is_no_tls() -> None:
    (event,) = events(replace(delivered(), handshake=None, achieved=None), accepted_at=100.0)
    assert " tls=" not in str(event)
    assert "tls_status" not in event.fields()
