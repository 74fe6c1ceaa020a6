"""From what a session showed to whether mail may be sent in it (RFC 7672, RFC 3207 section 4.1)."""

from letterlock.identity.dane import DaneMismatch, match_dane
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMismatch, verify_pkix
from letterlock.policy.decision import (
    Achieved,
    Cleared,
    DaneAuthentication,
    Encryption,
    Level,
    PkixAuthentication,
    Requirement,
    SkipHost,
    Verdict,
)
from letterlock.policy.evidence import Completed, HandshakeFailed, SessionEvidence, StartTls
from letterlock.policy.lookups import said
from letterlock.policy.reasons import Reason

_DANE_CODES = {
    MismatchKind.NO_CERTIFICATE: "rfc7672-3.2-dane-mismatch",
    MismatchKind.MALFORMED: "rfc7672-3.2-dane-mismatch",
    MismatchKind.NO_MATCH: "rfc7672-3.2-dane-mismatch",
    MismatchKind.UNTRUSTED: "rfc7672-3.1.2-dane-untrusted",
    MismatchKind.EXPIRED: "rfc7672-3.1.2-dane-expired",
    MismatchKind.WRONG_NAME: "rfc7672-3.2.2-dane-wrong-name",
}
_PKIX_CODES = {
    MismatchKind.NO_CERTIFICATE: "rule-verify-untrusted",
    MismatchKind.MALFORMED: "rule-verify-untrusted",
    MismatchKind.NO_MATCH: "rule-verify-untrusted",
    MismatchKind.UNTRUSTED: "rule-verify-untrusted",
    MismatchKind.EXPIRED: "rule-verify-expired",
    MismatchKind.WRONG_NAME: "rule-verify-wrong-name",
}
_TLSA_CODES = frozenset({"rfc7672-2.2-usable", "rfc7672-2.2-unusable"})


def judge(requirement: Requirement, session: SessionEvidence, now: float) -> Verdict:
    """Whether a session holds what was required, at `now` (seconds since 1970): Cleared or SkipHost.

    Injected octets end the session whatever was required (RFC 3207 section 4.2). A handshake that failed is never
    cleared: what may be tried instead says `next_requirement`. Every SkipHost is temporary: whatever the path shows, an
    attacker may have shown it.
    """
    if session.starttls is StartTls.INJECTED:
        return _skip(session, "rfc3207-4.2-injected")
    if isinstance(session.handshake, Completed):
        return _judge_chain(requirement, session, session.handshake, now)
    if isinstance(session.handshake, HandshakeFailed):
        return _skip(session, _handshake_code(requirement), ("detail", said(session.handshake.detail)))
    if session.starttls is StartTls.OFFERED:
        return _skip(session, _handshake_code(requirement), ("detail", "it was not finished"))
    return _judge_clear(requirement, session)


def next_requirement(requirement: Requirement, session: SessionEvidence) -> Requirement | None:
    """What may be tried on a new connection after `judge` said SkipHost, or None.

    Only a TLS handshake that failed leads to the fallback, and only a requirement that earned one has it (RFC 7672
    section 2.2). The new session is judged against what is returned here.
    """
    return requirement.fallback if isinstance(session.handshake, HandshakeFailed) else None


def _skip(session: SessionEvidence, code: str, *facts: tuple[str, str]) -> SkipHost:
    return SkipHost(reasons=(Reason(code=code, subject=session.address, facts=facts),))


def _by_tlsa(requirement: Requirement) -> bool:
    """Whether it is TLSA records that demand TLS, rather than a rule."""
    return any(reason.code in _TLSA_CODES for reason in requirement.reasons)


def _handshake_code(requirement: Requirement) -> str:
    if requirement.encryption is not Encryption.MANDATORY:
        return "rfc7435-3-handshake-failed"
    return "rfc7672-2.2-handshake-failed" if _by_tlsa(requirement) else "rule-handshake-failed"


def _judge_clear(requirement: Requirement, session: SessionEvidence) -> Verdict:
    """There is no TLS, and none was begun."""
    reply = ("reply", said(str(session.refusal)) if session.refusal else "no reply")
    refused = session.starttls is StartTls.REFUSED
    if requirement.encryption is Encryption.MANDATORY or requirement.authentication is not None:
        code = "rfc7672-2.2.3-starttls-" if _by_tlsa(requirement) else "rule-starttls-"
        return _skip(session, code + "refused", reply) if refused else _skip(session, code + "required")
    reasons = requirement.reasons
    if requirement.encryption is Encryption.OPTIONAL:
        code, facts = ("rfc7435-3-clear-refused", (reply,)) if refused else ("rfc7435-3-clear", ())
        reasons = (*reasons, Reason(code=code, subject=session.address, facts=facts))
    return Cleared(requirement=requirement, achieved=Achieved(level=Level.CLEAR), reasons=reasons)


def _judge_chain(requirement: Requirement, session: SessionEvidence, tls: Completed, now: float) -> Verdict:
    """TLS stands: does the presented chain prove what is required?"""
    match requirement.authentication:
        case DaneAuthentication() as dane:
            return _judge_dane(requirement, dane, session, tls, now)
        case PkixAuthentication() as pkix:
            return _judge_pkix(requirement, pkix, session, tls, now)
    return _cleared(requirement, session, "rfc7435-3-encrypted", Achieved(level=Level.ENCRYPTED))


def _judge_dane(
    requirement: Requirement, dane: DaneAuthentication, session: SessionEvidence, tls: Completed, now: float
) -> Verdict:
    found = match_dane(tls.chain, dane.records, dane.references, now)
    if isinstance(found, DaneMismatch):
        return _skip(session, _DANE_CODES[found.kind], ("detail", found.detail))
    if not dane.names_secure:
        achieved = Achieved(level=Level.ENCRYPTED, by=f"{found.by}-unsigned-mx", match=str(found))
        return _cleared(requirement, session, "rfc7672-2.2.1-dane-unsigned-mx", achieved)
    code = "rfc7672-3.1.1-dane-ee" if found.by == "dane-ee" else "rfc7672-3.1.2-dane-ta"
    return _cleared(requirement, session, code, Achieved(level=Level.AUTHENTICATED, by=found.by, match=str(found)))


def _judge_pkix(
    requirement: Requirement, pkix: PkixAuthentication, session: SessionEvidence, tls: Completed, now: float
) -> Verdict:
    found = verify_pkix(tls.chain, pkix.references, pkix.roots, now)
    if isinstance(found, PkixMismatch):
        return _skip(session, _PKIX_CODES[found.kind], ("detail", said(found.detail)))
    if not pkix.names_secure:
        achieved = Achieved(level=Level.ENCRYPTED, by="pkix-unsigned-name", match=str(found))
        return _cleared(requirement, session, "rfc7672-1.3.2-unsigned-name", achieved)
    return _cleared(
        requirement, session, "rule-verified", Achieved(level=Level.AUTHENTICATED, by="pkix", match=str(found))
    )


def _cleared(requirement: Requirement, session: SessionEvidence, code: str, achieved: Achieved) -> Cleared:
    facts = (("match", said(achieved.match)),) if achieved.match else ()
    reason = Reason(code=code, subject=session.address, facts=facts)
    return Cleared(requirement=requirement, achieved=achieved, reasons=(*requirement.reasons, reason))
