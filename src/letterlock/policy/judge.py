"""From what a session showed to whether mail may be sent in it (RFC 7672, RFC 3207 section 4.1)."""

from letterlock.identity.dane import DaneMismatch, match_dane
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.keys_shown import shows_key
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMismatch, verify_pkix
from letterlock.identity.tlsa import TLSARecord
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    _SEAL,
    Achieved,
    Audit,
    Cleared,
    DaneAuthentication,
    Demander,
    Encryption,
    Level,
    PinAuthentication,
    PkixAuthentication,
    RememberedAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
    Verdict,
)
from letterlock.policy.evidence import SessionEvidence, StartTls
from letterlock.policy.lookups import said
from letterlock.policy.reasons import Reason, sentence

_DANE_CODES = {
    MismatchKind.NO_CERTIFICATE: Code.RFC7672_3_2_DANE_MISMATCH,
    MismatchKind.MALFORMED: Code.RFC7672_3_2_DANE_MISMATCH,
    MismatchKind.NO_MATCH: Code.RFC7672_3_2_DANE_MISMATCH,
    MismatchKind.UNTRUSTED: Code.RFC7672_3_1_2_DANE_UNTRUSTED,
    MismatchKind.EXPIRED: Code.RFC7672_3_1_2_DANE_EXPIRED,
    MismatchKind.WRONG_NAME: Code.RFC7672_3_2_2_DANE_WRONG_NAME,
}
_PKIX_CODES: dict[Demander, dict[MismatchKind | None, Code]] = {
    Demander.RULE: {
        MismatchKind.EXPIRED: Code.RULE_VERIFY_EXPIRED,
        MismatchKind.WRONG_NAME: Code.RULE_VERIFY_WRONG_NAME,
        None: Code.RULE_VERIFY_UNTRUSTED,
    },
    Demander.MTA_STS: {
        MismatchKind.EXPIRED: Code.RFC8461_4_2_EXPIRED,
        MismatchKind.WRONG_NAME: Code.RFC8461_4_2_WRONG_NAME,
        None: Code.RFC8461_4_2_UNTRUSTED,
    },
    Demander.REQUIRETLS: {None: Code.RFC8689_4_2_1_NOT_VERIFIED},
    Demander.MEMORY: {None: Code.MEMORY_OTHER_CERTIFICATE},
}
_VERIFIED = {
    Demander.RULE: (Code.RULE_VERIFIED, "pkix"),
    Demander.MTA_STS: (Code.RFC8461_4_2_VERIFIED, "mta-sts"),
    Demander.REQUIRETLS: (Code.RFC8689_4_2_1_VERIFIED, "pkix"),
    Demander.MEMORY: (Code.MEMORY_VERIFIED, "pkix"),
}
_AUDITED: dict[Demander, tuple[Code | None, Code]] = {
    Demander.RULE: (Code.RULE_AUDIT_WOULD_PASS, Code.RULE_AUDIT_WOULD_HOLD),
    Demander.MTA_STS: (Code.RFC8461_5_WOULD_PASS, Code.RFC8461_5_WOULD_HOLD),
    Demander.MEMORY: (None, Code.MEMORY_WOULD_HOLD),  # that all is as always is not worth a word at each delivery
}
_VERSIONS = ("TLSv1.2", "TLSv1.3")
_HELD_BY = {
    Demander.DANE: SkipKind.DANE,
    Demander.MTA_STS: SkipKind.MTA_STS,
    Demander.REQUIRETLS: SkipKind.REQUIRETLS,
    Demander.MEMORY: SkipKind.MEMORY,
    Demander.RULE: SkipKind.RULE,
}
_HANDSHAKE_FAILED = {
    Demander.DANE: Code.RFC7672_2_2_HANDSHAKE_FAILED,
    Demander.MTA_STS: Code.RFC8461_5_HANDSHAKE_FAILED,
    Demander.REQUIRETLS: Code.RFC8689_4_2_1_NO_TLS,
    Demander.MEMORY: Code.MEMORY_HANDSHAKE_FAILED,
    Demander.RULE: Code.RULE_HANDSHAKE_FAILED,
}
_STARTTLS_REFUSED = {
    Demander.DANE: Code.RFC7672_2_2_3_STARTTLS_REFUSED,
    Demander.MTA_STS: Code.RFC8461_5_STARTTLS_REFUSED,
    Demander.MEMORY: Code.MEMORY_STARTTLS_REFUSED,
    Demander.RULE: Code.RULE_STARTTLS_REFUSED,
}
_STARTTLS_REQUIRED = {
    Demander.DANE: Code.RFC7672_2_2_3_STARTTLS_REQUIRED,
    Demander.MTA_STS: Code.RFC8461_5_STARTTLS_REQUIRED,
    Demander.MEMORY: Code.MEMORY_NO_STARTTLS,
    Demander.RULE: Code.RULE_STARTTLS_REQUIRED,
}


def judge(requirement: Requirement, session: SessionEvidence, now: float) -> Verdict:
    """Whether a session holds what was required, at `now` (seconds since 1970): Cleared or SkipHost.

    Injected octets end the session whatever was required (RFC 3207 section 4.2). A handshake that failed is never
    cleared: what may be tried instead says `next_requirement`. Every SkipHost is temporary: whatever the path shows, an
    attacker may have shown it. Demands in audit (`audits`) are judged too, and reported in the reasons.
    """
    verdict = _judge(requirement, session, now)
    if not isinstance(verdict, Cleared) or not requirement.audits:
        return verdict
    audited = (_audited(audit, session, now) for audit in requirement.audits)
    told = tuple(reason for reason in audited if reason is not None)
    return _clear(session, requirement, verdict.achieved, (*verdict.reasons, *told))


def judge_extensions(cleared: Cleared, session: SessionEvidence, *, requiretls_offered: bool) -> Verdict:
    """Whether the server's second EHLO reply, inside TLS, offers what the message needs (RFC 8689 section 4.2.1).

    The server is proven by then, so its word counts: without REQUIRETLS it will never take the message (5.7.30).
    """
    if cleared.requirement.requiretls and not requiretls_offered:
        return _skip(session, SkipKind.REQUIRETLS_NOT_OFFERED, Code.RFC8689_4_2_1_NOT_OFFERED)
    return cleared


def _judge(requirement: Requirement, session: SessionEvidence, now: float) -> Verdict:
    if session.starttls is StartTls.INJECTED:
        return _skip(session, SkipKind.INJECTED, Code.RFC3207_4_2_INJECTED)
    if isinstance(session.handshake, Completed):
        return _judge_session(requirement, session, session.handshake, now)
    if isinstance(session.handshake, HandshakeFailed):
        return _no_handshake(requirement, session, session.handshake.detail)
    if session.starttls in (StartTls.OFFERED, StartTls.IMPLICIT):
        return _no_handshake(requirement, session, "it was not finished")
    return _judge_clear(requirement, session)


def _audited(audit: Audit, session: SessionEvidence, now: float) -> Reason | None:
    """What an audited demand would have come to in this very session; None: nothing worth a word."""
    verdict = _judge(audit.required, session, now) if isinstance(audit.required, Requirement) else audit.required
    what = ("what", audit.what)
    passes, holds = _AUDITED[audit.by]
    if isinstance(verdict, Cleared):
        return Reason(code=passes, subject=session.address, facts=(what,)) if passes is not None else None
    why = ("reason", said(sentence(verdict.reasons[0])) if verdict.reasons else "no reason given")
    return Reason(code=holds, subject=session.address, facts=(what, why))


def next_requirement(requirement: Requirement, session: SessionEvidence) -> Requirement | None:
    """What may be tried on a new connection after `judge` said SkipHost, or None.

    Only a TLS handshake that failed leads to the fallback, and only a requirement that earned one has it (RFC 7672
    section 2.2). The new session is judged against what is returned here.
    """
    return requirement.fallback if isinstance(session.handshake, HandshakeFailed) else None


def _skip(session: SessionEvidence, kind: SkipKind, code: Code, *facts: tuple[str, str]) -> SkipHost:
    return SkipHost(kind=kind, reasons=(Reason(code=code, subject=session.address, facts=facts),))


def _demanded_by(requirement: Requirement) -> Demander:
    """Who demands TLS: DANE before MTA-STS before the message before a rule."""
    return next((each for each in Demander if each in requirement.demanders), Demander.RULE)


def _no_handshake(requirement: Requirement, session: SessionEvidence, detail: str) -> SkipHost:
    fact = ("detail", said(detail))
    if requirement.encryption is not Encryption.MANDATORY:
        return _skip(session, SkipKind.HANDSHAKE_FAILED, Code.RFC7435_3_HANDSHAKE_FAILED, fact)
    by = _demanded_by(requirement)
    return _skip(session, _HELD_BY[by], _HANDSHAKE_FAILED[by], fact, *requirement.memory_facts)


def _judge_clear(requirement: Requirement, session: SessionEvidence) -> Verdict:
    """There is no TLS, and none was begun."""
    reply = ("reply", said(str(session.refusal)) if session.refusal else "no reply")
    refused = session.starttls is StartTls.REFUSED
    if requirement.encryption is Encryption.MANDATORY or requirement.demands_certificate:
        if requirement.memory_facts and session.starttls is StartTls.NOT_TRIED:  # after a handshake that failed
            return _no_handshake(requirement, session, "cleartext was tried instead")
        return _no_starttls(requirement, session, reply if refused else None)
    reasons = requirement.reasons
    if requirement.encryption is Encryption.OPTIONAL:
        code, facts = (Code.RFC7435_3_CLEAR_REFUSED, (reply,)) if refused else (Code.RFC7435_3_CLEAR, ())
        reasons = (*reasons, Reason(code=code, subject=session.address, facts=facts))
    return _clear(session, requirement, Achieved(level=Level.CLEAR), reasons)


def _no_starttls(requirement: Requirement, session: SessionEvidence, refusal: tuple[str, str] | None) -> SkipHost:
    by, known = _demanded_by(requirement), requirement.memory_facts
    if by is Demander.REQUIRETLS:
        detail = f"STARTTLS was refused ({refusal[1]})" if refusal else "STARTTLS was not offered"
        return _skip(session, _HELD_BY[by], Code.RFC8689_4_2_1_NO_TLS, ("detail", detail))
    if refusal:
        return _skip(session, _HELD_BY[by], _STARTTLS_REFUSED[by], refusal, *known)
    return _skip(session, _HELD_BY[by], _STARTTLS_REQUIRED[by], *known)


def _judge_session(requirement: Requirement, session: SessionEvidence, tls: Completed, now: float) -> Verdict:
    """TLS stands: is it good enough, and does the chain prove what is required, to everybody who requires it?"""
    least = requirement.minimum_version
    if least is not None and tls.version not in _VERSIONS[_VERSIONS.index(least) :]:
        facts = (("version", tls.version), ("source", requirement.minimum_source), ("minimum", least))
        return _skip(session, SkipKind.RULE, Code.RULE_TLS_VERSION, *facts)
    verdict = _judge_chain(requirement, session, tls, now)
    if requirement.also is None or not isinstance(verdict, Cleared):
        return verdict
    second = _judge_pkix(requirement, requirement.also, session, tls, now)
    if not isinstance(second, Cleared):
        return second
    best = verdict.achieved if verdict.achieved.level is Level.AUTHENTICATED else second.achieved
    return _clear(session, requirement, best, (*verdict.reasons, second.reasons[-1]))


def _judge_chain(requirement: Requirement, session: SessionEvidence, tls: Completed, now: float) -> Verdict:
    match requirement.authentication:
        case DaneAuthentication() as dane:
            return _judge_dane(requirement, dane, session, tls, now)
        case PkixAuthentication() as pkix:
            return _judge_pkix(requirement, pkix, session, tls, now)
        case PinAuthentication() as pin:
            return _judge_pin(requirement, pin, session, tls, now)
        case RememberedAuthentication() as remembered:
            return _judge_remembered(requirement, remembered, session, tls, now)
    return _cleared(requirement, session, Code.RFC7435_3_ENCRYPTED, Achieved(level=Level.ENCRYPTED))


def _judge_pin(
    requirement: Requirement, pin: PinAuthentication, session: SessionEvidence, tls: Completed, now: float
) -> Verdict:
    """A fingerprint is what a DANE-EE record would be, of the certificate or of its key."""
    records = [TLSARecord(3, selector, 1, digest) for digest in pin.fingerprints for selector in (0, 1)]
    found = match_dane(tls.chain, records, (), now)
    if isinstance(found, DaneMismatch):
        return _skip(session, SkipKind.RULE, Code.RULE_FINGERPRINT_MISMATCH, ("detail", found.detail))
    achieved = Achieved(level=Level.AUTHENTICATED, by="fingerprint", match=str(found))
    return _cleared(requirement, session, Code.RULE_FINGERPRINT_MATCHES, achieved)


def _judge_remembered(
    requirement: Requirement,
    remembered: RememberedAuthentication,
    session: SessionEvidence,
    tls: Completed,
    now: float,
) -> Verdict:
    """The same key as ever is looked for first: it costs a hash, and a path through signatures costs far more."""
    if shows_key(tls.chain, remembered.keys):
        achieved = Achieved(level=Level.ENCRYPTED, by="memory")
        return _cleared(requirement, session, Code.MEMORY_SAME_KEY, achieved)
    return _judge_pkix(requirement, remembered.pkix, session, tls, now)


def _judge_dane(
    requirement: Requirement, dane: DaneAuthentication, session: SessionEvidence, tls: Completed, now: float
) -> Verdict:
    found = match_dane(tls.chain, dane.records, dane.references, now)
    if isinstance(found, DaneMismatch):
        return _skip(session, SkipKind.DANE, _DANE_CODES[found.kind], ("detail", found.detail))
    if not dane.names_secure:
        achieved = Achieved(level=Level.ENCRYPTED, by=f"{found.by}-unsigned-mx", match=str(found))
        return _cleared(requirement, session, Code.RFC7672_2_2_1_DANE_UNSIGNED_MX, achieved)
    code = Code.RFC7672_3_1_1_DANE_EE if found.by == "dane-ee" else Code.RFC7672_3_1_2_DANE_TA
    return _cleared(requirement, session, code, Achieved(level=Level.AUTHENTICATED, by=found.by, match=str(found)))


def _judge_pkix(
    requirement: Requirement, pkix: PkixAuthentication, session: SessionEvidence, tls: Completed, now: float
) -> Verdict:
    found = verify_pkix(tls.chain, pkix.references, pkix.roots, now)
    if isinstance(found, PkixMismatch):
        codes = _PKIX_CODES[pkix.demander]
        facts = ("detail", said(found.detail)), *requirement.memory_facts
        return _skip(session, _HELD_BY[pkix.demander], codes.get(found.kind, codes[None]), *facts)
    if not pkix.names_secure:
        achieved = Achieved(level=Level.ENCRYPTED, by="pkix-unsigned-name", match=str(found))
        return _cleared(requirement, session, Code.RFC7672_1_3_2_UNSIGNED_NAME, achieved)
    code, by = _VERIFIED[pkix.demander]
    return _cleared(requirement, session, code, Achieved(level=Level.AUTHENTICATED, by=by, match=str(found)))


def _cleared(requirement: Requirement, session: SessionEvidence, code: Code, achieved: Achieved) -> Cleared:
    facts = (("match", said(achieved.match)),) if achieved.match else ()
    reason = Reason(code=code, subject=session.address, facts=facts)
    return _clear(session, requirement, achieved, (*requirement.reasons, reason))


def _clear(
    session: SessionEvidence, requirement: Requirement, achieved: Achieved, reasons: tuple[Reason, ...]
) -> Cleared:
    """The proof, for this very session; nobody else makes one."""
    return Cleared(requirement=requirement, achieved=achieved, reasons=reasons, session=session.session, seal=_SEAL)
