"""What a message with REQUIRETLS demands of a host (RFC 8689 section 4.2.1)."""

from letterlock.frozen import changed
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    Demander,
    Encryption,
    PkixAuthentication,
    RememberedAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.reasons import Reason
from letterlock.policy.sts import NO_ROOTS, enforces


def with_requiretls(
    evidence: DestinationEvidence, target: TargetHost, required: Requirement | SkipHost
) -> Requirement | SkipHost:
    """The same requirement, raised to what REQUIRETLS asks for.

    The host is proven to be one of the domain's, by signed DNS or by an MTA-STS policy in force; the chain is verified,
    by DANE, by MTA-STS, by the operator's rule, or else by WebPKI for the host; and the server offers REQUIRETLS. That
    memory knows the key is not enough: its certificate may have expired.
    """
    if not isinstance(required, Requirement):
        return required
    name = target.host.name
    if target.host.origin is Origin.LITERAL or not (target.host.secure or enforces(evidence, target)):
        why = Reason(code=Code.RFC8689_4_2_1_UNSIGNED_MX, subject=name)
        return SkipHost(kind=SkipKind.REQUIRETLS, reasons=(why, *required.reasons))
    remembered = isinstance(required.authentication, RememberedAuthentication)
    domain = (evidence.next_hop.domain,) if target.host.secure and not remembered else ()
    pkix = PkixAuthentication(
        references=tuple(dict.fromkeys((name, *domain))),
        roots=evidence.public_roots or NO_ROOTS,
        names_secure=True,
        demander=Demander.REQUIRETLS,
    )
    return changed(
        required,
        encryption=Encryption.MANDATORY,
        authentication=pkix if remembered else required.authentication or pkix,
        fallback=None,
        requiretls=True,
        demanders=required.demanders | {Demander.REQUIRETLS},
        reasons=(Reason(code=Code.RFC8689_4_2_1_REQUIRETLS, subject=name), *required.reasons),
    )
