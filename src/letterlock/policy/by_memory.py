"""Demands of a host what earlier deliveries always found there.

Memory adds to what the standards and the operator's rules demand, and never lowers it. In mode `observe` it is an
audit: it reports what would have been held, and holds nothing. In mode `hold` it is a requirement.

Signed DNS proves that DNSSEC or TLSA records are gone, and the change is accepted after a day. New hosts and the end of
an MTA-STS policy are announced in unsigned DNS: while memory only observes, they too are accepted after a day; in mode
`hold` the mail waits until an operator forgets the domain. TLS and a certificate that can be verified must come back
(docs/concepts/memory.md).
"""

from letterlock.frozen import changed
from letterlock.identity.handshake import Completed
from letterlock.identity.keys_shown import shows_key
from letterlock.identity.pkix import PkixMatch, verify_pkix
from letterlock.memory.comparison import AnnouncedTraits, ExpectedSession, differences, expectation, place
from letterlock.memory.remembered import PROVEN, SETTLE_SECONDS, Difference, DomainMemory
from letterlock.memory.suggestion import day, moment
from letterlock.memory.traces import Trace
from letterlock.mtasts.policy import Mode
from letterlock.mtasts.sts_evidence import Known
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    Audit,
    Demander,
    Encryption,
    PkixAuthentication,
    RememberedAuthentication,
    Requirement,
    SkipHost,
    SkipKind,
)
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable, Origin, SessionEvidence, TargetHost
from letterlock.policy.lookups import said, tlsa_unknown
from letterlock.policy.reasons import Reason
from letterlock.policy.sts import NO_ROOTS, enforces
from letterlock.resolver.answer import Answer
from letterlock.routing.destination_rule import MemoryMode
from letterlock.routing.routes import NextHop

_GONE = {
    Difference.HOST: Code.MEMORY_NEW_HOST,
    Difference.SIGNED: Code.MEMORY_DNSSEC_GONE,
    Difference.MTA_STS: Code.MEMORY_MTA_STS_GONE,
    Difference.DANE: Code.MEMORY_DANE_GONE,
}
# Who forges an MX record can deny it as well, and name a host by the domain's own address (RFC 5321 section 5.1).
_FOUND_IN_DNS = frozenset({Origin.MX, Origin.IMPLICIT_MX})
_MAX_HOSTS_TOLD = 3  # in a sentence; `letterlock memory show` has them all


def with_memory(
    evidence: DestinationEvidence, target: TargetHost, required: Requirement | SkipHost
) -> Requirement | SkipHost:
    """The same requirement, with what is remembered of the domain and host."""
    if not isinstance(required, Requirement) or evidence.memory_mode is MemoryMode.OFF:
        return required
    wanted = _wanted(evidence, target, required)
    if wanted is None or evidence.memory_mode is MemoryMode.HOLD:
        return wanted or required
    alone = changed(wanted, audits=(), fallback=None) if isinstance(wanted, Requirement) else wanted
    audit = Audit(what=f"the memory of {evidence.next_hop.domain}", by=Demander.MEMORY, required=alone)
    return changed(required, audits=(*required.audits, audit))


def missing(
    evidence: DestinationEvidence,
    target: TargetHost,
    session: SessionEvidence | None,
    now: float,
    requirement: Requirement | None = None,
) -> frozenset[Difference]:
    """What is remembered and was not there: in what the domain announces and, if there was one, in the session.

    A certificate is not missed where `requirement` has the server authenticated by somebody else.
    """
    if not isinstance(evidence.memory, DomainMemory) or target.host.origin is Origin.LITERAL:
        return frozenset()
    hold = evidence.memory_mode is MemoryMode.HOLD
    traits = announces(evidence, target)
    announced = set(differences(evidence.memory, traits, now, hold=hold))
    if traits.dane is None:  # noted, a lookup that fails for a day would settle as a proof of absence
        announced.discard(Difference.DANE)
    if session is None:
        return frozenset(announced)
    expected = expectation(evidence.memory, target.host.name, now)
    proven = requirement.authentication if requirement is not None else None
    if proven is not None and not isinstance(proven, RememberedAuthentication):
        expected = changed(expected, certificate=None)
    return frozenset((*announced, *_missing_in(session, expected, evidence, target, now)))


def memory_key(next_hop: NextHop) -> str:
    """The name that a next hop is remembered by, whatever its port: a domain, or `[host]` for a host by itself."""
    return f"[{next_hop.domain}]" if next_hop.is_host else next_hop.domain


def announces(evidence: DestinationEvidence, target: TargetHost) -> AnnouncedTraits:
    """What DNS and HTTPS say of a host and its domain."""
    host, sts, tlsa = target.host, evidence.sts, target.tlsa
    return AnnouncedTraits(
        host=host.name,
        signed=evidence.mx.secure if isinstance(evidence.mx, Answer) else None,
        vouched=host.secure or host.origin not in _FOUND_IN_DNS or enforces(evidence, target),
        dane=None if tlsa_unknown(target) else isinstance(tlsa, Answer) and tlsa.secure and bool(tlsa.records),
        mta_sts=None if sts is None else isinstance(sts, Known) and sts.policy.mode is not Mode.NONE,
    )


def _missing_in(
    session: SessionEvidence, expected: ExpectedSession, evidence: DestinationEvidence, target: TargetHost, now: float
) -> tuple[Difference, ...]:
    tls = session.handshake
    if not isinstance(tls, Completed):
        return (Difference.TLS,) if expected.tls is not None else ()
    if expected.certificate is None or shows_key(tls.chain, expected.keys):
        return ()
    verified = verify_pkix(tls.chain, (target.host.name,), evidence.public_roots or NO_ROOTS, now)
    return () if isinstance(verified, PkixMatch) else (Difference.CERTIFICATE,)


def _wanted(evidence: DestinationEvidence, target: TargetHost, required: Requirement) -> Requirement | SkipHost | None:
    """What memory demands beside what is demanded already; None: nothing."""
    memory, domain = evidence.memory, evidence.next_hop.domain
    if memory is None or target.host.origin is Origin.LITERAL:
        return None
    if isinstance(memory, MemoryUnreadable):
        why = Reason(code=Code.MEMORY_UNREADABLE, subject=domain, facts=(("detail", said(memory.detail)),))
        return SkipHost(kind=SkipKind.MEMORY, reasons=(why, *required.reasons))
    hold = evidence.memory_mode is MemoryMode.HOLD
    gone = differences(memory, announces(evidence, target), evidence.at, hold=hold)
    if gone:
        reasons = tuple(_missed(memory, what, target, evidence.at) for what in gone)
        return SkipHost(kind=SkipKind.MEMORY, reasons=(*reasons, *required.reasons))
    return _strengthened(evidence, target, required, expectation(memory, target.host.name, evidence.at))


def _strengthened(
    evidence: DestinationEvidence, target: TargetHost, required: Requirement, expected: ExpectedSession
) -> Requirement | None:
    encrypts = expected.tls is not None and required.encryption is not Encryption.MANDATORY
    verifies = expected.certificate is not None and required.authentication is None
    if not encrypts and not verifies:
        return None
    trace = expected.certificate if verifies else expected.tls
    code = Code.MEMORY_DEMANDS_CERTIFICATE if verifies else Code.MEMORY_DEMANDS_TLS
    facts = _facts(evidence.next_hop.domain, trace)
    return changed(
        required,
        encryption=Encryption.MANDATORY,
        authentication=_authentication(evidence, target, expected) if verifies else required.authentication,
        fallback=None,
        demanders=required.demanders | {Demander.MEMORY} if encrypts else required.demanders,
        memory_facts=facts,
        reasons=(Reason(code=code, subject=target.host.name, facts=facts), *required.reasons),
    )


def _authentication(
    evidence: DestinationEvidence, target: TargetHost, expected: ExpectedSession
) -> RememberedAuthentication:
    host = target.host
    pkix = PkixAuthentication(
        references=(host.name,),
        roots=evidence.public_roots or NO_ROOTS,
        names_secure=host.secure or host.origin is Origin.IMPLICIT_MX or enforces(evidence, target),
        demander=Demander.MEMORY,
    )
    return RememberedAuthentication(keys=expected.keys, pkix=pkix)


def _missed(memory: DomainMemory, what: Difference, target: TargetHost, now: float) -> Reason:
    """Why a difference holds mail: what was there is gone, or its lookup failed, which is not the same."""
    unknown = tlsa_unknown(target) if what is Difference.DANE else None
    return unknown or _gone(memory, what, target.host.name, now)


def _gone(memory: DomainMemory, what: Difference, host: str, now: float) -> Reason:
    change = memory.change(what, place(what, host))
    since = change.since if change is not None else now
    hosts = ", ".join(each.name for each in memory.known_hosts(now)[:_MAX_HOSTS_TOLD])
    facts = (
        *_facts(memory.domain, _trace(memory, what, host)),
        ("hosts", hosts),
        ("gone_since", moment(since)),
        *((("until", moment(since + SETTLE_SECONDS)),) if what in PROVEN else ()),
    )
    return Reason(code=_GONE[what], subject=host, facts=facts)


def _trace(memory: DomainMemory, what: Difference, host: str) -> Trace | None:
    known = memory.host(host)
    match what:
        case Difference.SIGNED:
            return memory.signed
        case Difference.MTA_STS:
            return memory.mta_sts
        case Difference.DANE:
            return known.dane if known is not None else None
    return memory.tls


def _facts(domain: str, trace: Trace | None) -> tuple[tuple[str, str], ...]:
    if trace is None:
        return (("domain", domain),)
    return (("domain", domain), ("days", str(trace.days)), ("first", day(trace.first)), ("last", day(trace.last)))
