"""The results of sessions, in the terms of TLS reports (RFC 8460 section 4.3). Pure: a projection of an attempt.

Each session is judged by every policy that the recipients' side publishes: by the TLSA records of its host, by the
domain's MTA-STS policy (enforced or in testing), and as "no-policy-found" only where it was found out that there is
none. What the operator demands beyond that is not the recipients' affair.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from letterlock.identity.dane import usable_records
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.tlsa import TLSARecord
from letterlock.mail.envelope import TlsDemand
from letterlock.mail.names import is_address_literal
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyUnavailable
from letterlock.policy.codes import Code
from letterlock.policy.decision import (
    Cleared,
    DaneAuthentication,
    Demander,
    Encryption,
    PkixAuthentication,
    Requirement,
    SkipHost,
)
from letterlock.policy.evidence import DestinationEvidence, SessionEvidence, TargetHost
from letterlock.policy.judge import judge
from letterlock.policy.reasons import FINDINGS, Finding, Reason, ResultType, result_type
from letterlock.policy.require import tlsa_records
from letterlock.queue.sessions import HostRuledOut, SessionTried
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.resolver.answer import Answer
from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult
from letterlock.tlsrpt.report import AppliedPolicy, PolicyType, SessionFailure

MAX_REMEMBERED = 5_000  # hosts whose policies are put into words once, some 10 MB with their evidence
_UNSPECIFIC = ResultType.VALIDATION_FAILURE.value


class PublishedPolicies(NamedTuple):
    """What the recipients' side publishes about TLS with one host. `dane` is None where DANE does not apply.

    `sts` is None where it was found out that there is no policy, or not looked for one; `unprotected` is there only if
    neither applies for certain. `unavailable`: that the MTA-STS policy could not be fetched, as an outcome.
    `all_held`: the result of a session in which everything held; None where that cannot be.
    """

    dane: AppliedPolicy | None
    dane_is_usable: bool
    sts: AppliedPolicy | None
    unavailable: PolicyOutcome | None
    unprotected: AppliedPolicy | None
    all_held: SessionResult | None


def unknown_address(_address: str) -> str:
    """No address is known."""
    return ""


class SessionResults:
    """Makes results of attempts. What hosts publish is remembered by the evidence it was found in."""

    def __init__(self, sending_address: Callable[[str], str] = unknown_address) -> None:
        """`sending_address` gives the address of ours that connections to an address come from; "" if unknown."""
        self._sending_address = sending_address
        self._published: dict[tuple[object, object], PublishedPolicies] = {}

    def of(self, task: DeliveryTask, attempt: Attempt) -> Iterator[SessionResult]:
        """The results of each new session of an attempt, and of each host that was ruled out before one.

        None for a message with `TLS-Required: No`: its sessions are judged by no policy. Every report of ours is such
        a message, so reports are never about the delivery of reports.
        """
        if task.envelope.tls_demand is TlsDemand.TLS_REQUIRED_NO:
            return
        for session in _counted(attempt.sessions):
            grounds = session.requirement.grounds
            if grounds is None or grounds.host is None or not _is_reported(grounds.destination):
                continue
            policies = self._policies(grounds.destination, grounds.host)
            if policies.all_held is not None and _held_all(session):
                yield policies.all_held
            elif outcomes := tuple(_outcomes(session, policies)):
                yield SessionResult(grounds.destination.next_hop.domain, self._placed(outcomes, session.address))
        for skipped in attempt.ruled_out:
            if _is_reported(skipped.grounds.destination) and (outcome := _of_skipped(skipped)) is not None:
                yield SessionResult(skipped.grounds.destination.next_hop.domain, (outcome,))

    def _placed(self, outcomes: tuple[PolicyOutcome, ...], address: str) -> tuple[PolicyOutcome, ...]:
        """The same with our own address in the failures, of which there are few."""
        if all(each.succeeded for each in outcomes):
            return outcomes
        own = self._sending_address(address)
        return tuple(
            replace(each, failures=tuple(failure._replace(sending_ip=own) for failure in each.failures))
            for each in outcomes
        )

    def _policies(self, destination: DestinationEvidence, host: TargetHost) -> PublishedPolicies:
        key = destination.identity, host.identity
        known = self._published.get(key)
        if known is None:
            if len(self._published) >= MAX_REMEMBERED:
                self._published.clear()
            known = self._published[key] = published(destination, host)
        return known


def _held_all(session: SessionTried) -> bool:
    """Whether nothing that is published can have failed: TLS, cleared, and nothing that is only looked at."""
    evidence = session.evidence
    return (
        isinstance(session.verdict, Cleared)
        and not session.requirement.audits
        and evidence is not None
        and isinstance(evidence.handshake, Completed)
    )


def _is_reported(destination: DestinationEvidence) -> bool:
    """Whether the recipients' domain chose the hosts; not where the operator's route did, nor for a literal."""
    return destination.relay is None and not is_address_literal(destination.next_hop.domain)


def _counted(sessions: Sequence[SessionTried]) -> Iterator[SessionTried]:
    """New sessions that came to a verdict. Of the handshakes tried with one address the last counts, and of its
    fallback to cleartext only why there was one."""
    if len(sessions) == 1 and sessions[0].evidence is not None and not sessions[0].reused:
        yield sessions[0]  # the usual case; the first session is never a fallback
        return
    new = [each for each in sessions if each.evidence is not None and not each.reused]
    for session, following in pairwise([*new, None]):
        assert session is not None  # noqa: S101  # for mypy: only the last of a list is None
        if session.requirement.encryption is Encryption.NONE:
            continue
        is_retried = (
            following is not None
            and session.evidence is not None
            and isinstance(session.evidence.handshake, HandshakeFailed)
            and (following.host, following.address) == (session.host, session.address)
            and following.requirement.encryption is not Encryption.NONE
        )
        if not is_retried:
            yield session


def published(destination: DestinationEvidence, host: TargetHost) -> PublishedPolicies:
    """The policies for sessions with a host, as reports have them."""
    domain, found = destination.next_hop.domain, destination.sts
    records = _tlsa(host)
    dane = tlsa_policy(host.tlsa_base or host.host.name, records) if records else None
    sts = sts_policy(domain, found.policy) if isinstance(found, Known) and found.policy.mode is not Mode.NONE else None
    is_bare = dane is None and sts is None and isinstance(found, Absent | Known)
    unprotected = AppliedPolicy(PolicyType.NONE, domain) if is_bare else None
    applied = [each for each in (dane, sts, unprotected) if each is not None]
    is_usable = bool(usable_records(records))
    can_hold = applied and (is_usable or dane is None) and not isinstance(found, PolicyUnavailable)
    return PublishedPolicies(
        dane=dane,
        dane_is_usable=is_usable,
        sts=sts,
        unavailable=_unavailable(domain, found) if isinstance(found, PolicyUnavailable) else None,
        unprotected=unprotected,
        all_held=SessionResult(domain, tuple(PolicyOutcome(each, succeeded=True) for each in applied))
        if can_hold
        else None,
    )


def _unavailable(domain: str, found: PolicyUnavailable) -> PolicyOutcome | None:
    """None where the TXT lookup failed: then there may be no policy."""
    if found.kind is None:
        return None
    failure = SessionFailure(found.kind.value, reason=found.detail)
    return PolicyOutcome(AppliedPolicy(PolicyType.STS, domain), succeeded=False, failures=(failure,))


def _outcomes(session: SessionTried, policies: PublishedPolicies) -> Iterator[PolicyOutcome]:
    evidence = session.evidence
    if evidence is None:
        return
    if policies.dane is not None:
        yield _by_tlsa(session, evidence, policies.dane, is_usable=policies.dane_is_usable)
    if policies.sts is not None:
        yield _by_sts(session, evidence, policies.sts)
    if policies.unavailable is not None:
        yield policies.unavailable
    if policies.unprotected is not None:
        yield _by_none(session, evidence, policies.unprotected)


def _tlsa(host: TargetHost) -> tuple[TLSARecord, ...]:
    """The TLSA records that count for a host."""
    answer = host.tlsa
    counts = isinstance(answer, Answer) and answer.secure and host.tlsa_base is not None
    return tlsa_records(answer) if counts and isinstance(answer, Answer) else ()


def tlsa_policy(base: str, records: Sequence[TLSARecord]) -> AppliedPolicy:
    """TLSA records as a report has them."""
    return AppliedPolicy(PolicyType.TLSA, base, tuple(map(str, records)))


def sts_policy(domain: str, policy: StsPolicy) -> AppliedPolicy:
    """An MTA-STS policy as a report has it: its lines."""
    patterns = (f"mx: {each}" for each in policy.mx)
    lines = ("version: STSv1", f"mode: {policy.mode.value}", *patterns, f"max_age: {policy.max_age_seconds}")
    return AppliedPolicy(PolicyType.STS, domain, lines, policy.mx)


def _by_tlsa(
    session: SessionTried, evidence: SessionEvidence, policy: AppliedPolicy, *, is_usable: bool
) -> PolicyOutcome:
    if not is_usable:
        failure = _failure(session, ResultType.TLSA_INVALID.value, Code.RFC7672_2_2_UNUSABLE.value)
        return PolicyOutcome(policy, succeeded=False, failures=(failure,))
    wanted = session.requirement.authentication
    return _judged(session, evidence, policy, wanted if isinstance(wanted, DaneAuthentication) else None, Demander.DANE)


def _by_sts(session: SessionTried, evidence: SessionEvidence, policy: AppliedPolicy) -> PolicyOutcome:
    wanted = _sts_demand(session.requirement)
    if isinstance(wanted, SkipHost):
        return PolicyOutcome(policy, succeeded=False, failures=(_reasoned(session, wanted.reasons),))
    if wanted is None:  # a message or a rule had the last word on certificates, and demanded at least TLS
        return _judged(session, evidence, policy, None, Demander.MTA_STS)
    return _judged(session, evidence, policy, wanted, Demander.MTA_STS)


def _sts_demand(requirement: Requirement) -> PkixAuthentication | SkipHost | None:
    """What MTA-STS demands of the session, in force or in testing."""
    for each in (requirement.authentication, requirement.also):
        if isinstance(each, PkixAuthentication) and each.demander is Demander.MTA_STS:
            return each
    for audit in requirement.audits:
        if audit.by is Demander.MTA_STS:
            return audit.required if isinstance(audit.required, SkipHost) else _sts_demand(audit.required)
    return None


def _judged(
    session: SessionTried,
    evidence: SessionEvidence,
    policy: AppliedPolicy,
    wanted: DaneAuthentication | PkixAuthentication | None,
    by: Demander,
) -> PolicyOutcome:
    """Whether the session held what one policy demands."""
    verdict = session.verdict
    if isinstance(verdict, Cleared) and (by in session.requirement.demanders or not _would_hold(verdict)):
        return PolicyOutcome(policy, succeeded=True)
    alone = Requirement(
        encryption=Encryption.MANDATORY,
        authentication=wanted,
        sni=None,
        fallback=None,
        reasons=(),
        demanders=frozenset({by}),
    )
    found = judge(alone, evidence, session.ended_at)
    if isinstance(found, Cleared):
        return PolicyOutcome(policy, succeeded=True)
    return PolicyOutcome(policy, succeeded=False, failures=(_reasoned(session, found.reasons),))


def _would_hold(verdict: Cleared) -> bool:
    return any(FINDINGS[reason.code] is Finding.POLICY_WOULD_HOLD for reason in verdict.reasons)


def _by_none(session: SessionTried, evidence: SessionEvidence, policy: AppliedPolicy) -> PolicyOutcome:
    """Without a policy, TLS with any server is a success."""
    if isinstance(evidence.handshake, Completed):
        return PolicyOutcome(policy, succeeded=True)
    failure = _reasoned(session, session.reasons)
    if isinstance(session.verdict, Cleared):
        failure = _failure(session, ResultType.STARTTLS_NOT_SUPPORTED.value, failure.reason)
    return PolicyOutcome(policy, succeeded=False, failures=(failure,))


def _of_skipped(skipped: HostRuledOut) -> PolicyOutcome | None:
    """A host that was given up for a reason that reports have a name for."""
    failing = _reported(skipped.verdict.reasons)
    if failing is None:
        return None
    reason, kind = failing
    failure = SessionFailure(kind, receiving_host=skipped.name, reason=reason.code.value)
    policy = _policy_of_skipped(skipped, kind)
    return None if policy is None else PolicyOutcome(policy, succeeded=False, failures=(failure,))


def _policy_of_skipped(skipped: HostRuledOut, kind: str) -> AppliedPolicy | None:
    grounds = skipped.grounds
    if kind in _OF_DNS:
        base = grounds.host.tlsa_base if grounds.host is not None else None
        return AppliedPolicy(PolicyType.TLSA, base or skipped.name)
    if isinstance(grounds.destination.sts, Known):
        return sts_policy(grounds.destination.next_hop.domain, grounds.destination.sts.policy)
    return None


_OF_DNS = frozenset({ResultType.DNSSEC_INVALID.value, ResultType.TLSA_INVALID.value})


def _reported(reasons: Sequence[Reason]) -> tuple[Reason, str] | None:
    """The first reason that reports have a name for, and the name."""
    return next(((each, kind.value) for each in reasons if (kind := result_type(each)) is not None), None)


def _reasoned(session: SessionTried, reasons: Sequence[Reason]) -> SessionFailure:
    found = _reported(reasons)
    if found is not None:
        return _failure(session, found[1], found[0].code.value)
    return _failure(session, _UNSPECIFIC, reasons[0].code.value if reasons else "")


def _failure(session: SessionTried, kind: str, reason: str) -> SessionFailure:
    return SessionFailure(kind, receiving_host=session.host, receiving_ip=session.address, reason=reason)
