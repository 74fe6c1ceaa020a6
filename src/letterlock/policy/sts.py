"""The demands of MTA-STS on a host (RFC 8461): in addition to DANE, never instead of it (section 2)."""

from letterlock.frozen import changed
from letterlock.identity.trust import TrustRoots
from letterlock.mtasts.policy import Mode
from letterlock.mtasts.sts_evidence import Known, PolicyUnavailable
from letterlock.policy.codes import Code
from letterlock.policy.decision import Audit, Demander, Encryption, PkixAuthentication, Requirement, SkipHost, SkipKind
from letterlock.policy.evidence import DestinationEvidence, Origin, TargetHost
from letterlock.policy.lookups import said
from letterlock.policy.reasons import Reason

_MAX_PATTERNS_TOLD = 3  # chosen: enough to see a mistake
NO_ROOTS = TrustRoots("no roots", ())  # where none are given: what must be verified then fails, and never passes


def with_sts(
    evidence: DestinationEvidence, target: TargetHost, required: Requirement | SkipHost
) -> Requirement | SkipHost:
    """The same requirement with what the domain's MTA-STS policy adds for this host.

    `enforce`: the policy must name the host, and the chain must be one that WebPKI verifies for it, beside what DANE
    demands. `testing`: judged and reported only. `none`, absent and could not find out: nothing is added, for section
    3.3 says so of a domain that no policy is remembered of.
    """
    sts, domain = evidence.sts, evidence.next_hop.domain
    if not isinstance(required, Requirement):
        return required
    if isinstance(sts, PolicyUnavailable):
        why = Reason(code=Code.RFC8461_3_3_UNREACHABLE, subject=domain, facts=_facts(domain, detail=said(sts.detail)))
        return changed(required, reasons=(*required.reasons, why))
    if not isinstance(sts, Known):
        return required
    blocked = _blocked(domain, sts)
    if sts.policy.mode is Mode.ENFORCE:
        return _enforced(evidence, target, required, sts, blocked)
    code = Code.RFC8461_5_TESTING if sts.policy.mode is Mode.TESTING else Code.RFC8461_5_NONE
    why = Reason(code=code, subject=domain, facts=_facts(domain, id=sts.id))
    told = changed(required, reasons=(*required.reasons, why, *blocked), signs=blocked)
    if sts.policy.mode is not Mode.TESTING:
        return told
    wanted = _enforced(evidence, target, required, sts, blocked)
    audit = Audit(what=f"the MTA-STS policy of {domain}", by=Demander.MTA_STS, required=wanted)
    return changed(told, audits=(*told.audits, audit))


def enforces(evidence: DestinationEvidence, target: TargetHost) -> bool:
    """Whether a policy in force names this host, which proves that it is one of the domain's (RFC 8461 section 4.1)."""
    sts = evidence.sts
    return isinstance(sts, Known) and sts.policy.mode is Mode.ENFORCE and _names(sts, target)


def server_name(target: TargetHost) -> str | None:
    """SNI is the TLSA base domain where there is one (RFC 7672 section 8.1), else the host; none for an address."""
    return None if target.host.origin is Origin.LITERAL else target.tlsa_base or target.host.name


def _names(sts: Known, target: TargetHost) -> bool:
    return target.host.origin is not Origin.LITERAL and sts.policy.names(target.host.name)


def _facts(domain: str, **more: str) -> tuple[tuple[str, str], ...]:
    return (("domain", domain), *more.items())


def _blocked(domain: str, sts: Known) -> tuple[Reason, ...]:
    if sts.trouble is None:
        return ()
    return (Reason(code=Code.RFC8461_10_2_BLOCKED, subject=domain, facts=_facts(domain, detail=said(sts.trouble))),)


def _enforced(
    evidence: DestinationEvidence,
    target: TargetHost,
    required: Requirement,
    sts: Known,
    blocked: tuple[Reason, ...],
) -> Requirement | SkipHost:
    domain, host = evidence.next_hop.domain, target.host.name
    if not _names(sts, target):
        patterns = ", ".join(sts.policy.mx[:_MAX_PATTERNS_TOLD])
        facts = _facts(domain, id=sts.id, patterns=said(patterns))
        why = Reason(code=Code.RFC8461_4_1_MX_MISMATCH, subject=host, facts=facts)
        return SkipHost(kind=SkipKind.MTA_STS, reasons=(why, *blocked))
    why = Reason(code=Code.RFC8461_5_ENFORCE, subject=host, facts=_facts(domain, id=sts.id))
    others = required.reasons
    pkix = PkixAuthentication(
        references=(host,),
        roots=evidence.public_roots or NO_ROOTS,
        names_secure=True,  # the policy came by HTTPS from the domain, and it names the host
        demander=Demander.MTA_STS,
    )
    first = required.authentication is None
    return changed(
        required,
        encryption=Encryption.MANDATORY,
        authentication=pkix if first else required.authentication,
        also=None if first else pkix,
        fallback=None,
        demanders=required.demanders | {Demander.MTA_STS},
        signs=blocked,
        reasons=(why, *others, *blocked) if first else (*others, why, *blocked),
    )
