"""How the TLS of a session compares with what was demanded, in the words that Postfix 3.11 logs as `tls=`.

The forms are those of its `smtp_log_tls_feature_status`: the level that applied; `:` and the level that was reached, if
that is another one; `!` before it where the policy was violated and nothing was sent; `?` behind it where the session
ended before that was decided; and `/requiretls` for a message that demands REQUIRETLS, with the same marks.
"""

from letterlock.identity.handshake import Completed
from letterlock.policy.decision import (
    Cleared,
    DaneAuthentication,
    Demander,
    Encryption,
    PinAuthentication,
    PkixAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import SessionEvidence, StartTls
from letterlock.queue.sessions import SessionTried

_FULL, _HALF = "dane", "halfdane"
_BY_REQUIRETLS = (SkipKind.REQUIRETLS, SkipKind.REQUIRETLS_NOT_OFFERED)


def tls_status(session: SessionTried) -> str:
    """The words for one session: `dane`, `may:none`, `!secure`, `may?`, `dane/!requiretls:none`."""
    required, verdict = session.requirement, session.verdict
    by_requiretls = isinstance(verdict, SkipHost) and verdict.kind in _BY_REQUIRETLS
    wanted = _wanted(required)
    level = _marked(wanted, _reached(session, wanted), verdict, violated=not by_requiretls)
    if not required.requiretls:
        return level
    return f"{level}/{_marked('requiretls', _lacking(session), verdict, violated=by_requiretls)}"


def _marked(wanted: str, reached: str, verdict: object, *, violated: bool) -> str:
    both = wanted if reached == wanted else f"{wanted}:{reached}"
    if isinstance(verdict, Cleared):
        return both
    if verdict is None:
        return f"{wanted}?"
    return f"!{both}" if violated else f"{wanted}?"


def _wanted(required: Requirement) -> str:
    """The security level by Postfix's name (its TLS_README): what had to hold in this session."""
    match required.authentication:
        case None if required.also is None:
            return "encrypt" if required.encryption is Encryption.MANDATORY else "may"
        case DaneAuthentication():
            return _FULL
        case PinAuthentication():
            return "fingerprint"
        case PkixAuthentication(demander=Demander.REQUIRETLS):
            return "encrypt"  # of TLS alone; what REQUIRETLS adds stands behind the stroke
        case PkixAuthentication(names_secure=False):
            return "verify"
    return "secure"


def _reached(session: SessionTried, wanted: str) -> str:
    required, evidence = session.requirement, session.evidence
    if evidence is not None and not isinstance(evidence.handshake, Completed):
        return "none"
    if isinstance(required.authentication, DaneAuthentication) and not required.authentication.names_secure:
        return _HALF  # the MX record is unsigned
    return wanted


def _lacking(session: SessionTried) -> str:
    """What REQUIRETLS found missing, or `requiretls`."""
    verdict, evidence = session.verdict, session.evidence
    if not isinstance(verdict, SkipHost) or verdict.kind not in _BY_REQUIRETLS:
        return "requiretls"
    if verdict.kind is SkipKind.REQUIRETLS_NOT_OFFERED:
        return "none"
    return "nostarttls" if _without_starttls(evidence) else "nocertmatch"


def _without_starttls(evidence: SessionEvidence | None) -> bool:
    return evidence is not None and evidence.starttls in (StartTls.NOT_OFFERED, StartTls.REFUSED)
