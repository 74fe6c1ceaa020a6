"""The DMARC check as a generator: DNS questions out, answers in, a verdict at the end (RFC 9989 section 5.3).

    steps = evaluate(Evidence(authors=("example.org",), identifiers=(Identifier("dkim", "example.org", Outcome.PASS),)))

What the mail server then does is the operator's choice: see `actions`.
"""

from dataclasses import dataclass
from enum import StrEnum

import dns.rdatatype

from letterlock.mailauth.asking import Asked, Steps, question, weakest
from letterlock.mailauth.dmarc.reasons import DmarcCode, DmarcReason, DmarcResult, reason
from letterlock.mailauth.dmarc.record import Alignment, DmarcRecord, Policy
from letterlock.mailauth.dmarc.walk import Walk, walk
from letterlock.resolver.answer import Absence, FailureKind, LookupFailure

_BELOW = {Policy.REJECT: Policy.QUARANTINE, Policy.QUARANTINE: Policy.NONE, Policy.NONE: Policy.NONE}


class AuthMechanism(StrEnum):
    """What authenticates a domain for DMARC (section 4.4)."""

    DKIM = "dkim"
    SPF = "spf"


class MechanismOutcome(StrEnum):
    """How a mechanism ended, as far as DMARC cares."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"  # temperror: it may pass another time


@dataclass(frozen=True, slots=True)
class Identifier:
    """A domain that a mechanism checked: d= of a signature, or the domain of MAIL FROM. Lower-case A-labels."""

    mechanism: AuthMechanism
    domain: str
    outcome: MechanismOutcome

    def __str__(self) -> str:
        return f"{self.domain} by {self.mechanism.upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a message. `authors` are the different domains in From; `fault` says why there is none."""

    authors: tuple[str, ...]
    identifiers: tuple[Identifier, ...] = ()
    fault: str = "it has no address"


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcVerdict:
    """The result and why.

    `published` is the policy that the domain wants for failures of this author, `policy` what it comes to while the
    domain tests (t=y); both only matter for a fail, and nothing here says what to do. `aligned` are the identifiers
    that passed and are aligned. `walk` has the records.
    """

    author: str | None
    result: DmarcResult
    reason: DmarcReason
    policy_domain: str | None = None
    organizational_domain: str | None = None
    record: DmarcRecord | None = None
    published: Policy = Policy.NONE
    policy: Policy = Policy.NONE
    aligned: tuple[Identifier, ...] = ()
    asked: tuple[Asked, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def security(self) -> str | None:
        """The weakest DNSSEC state of all answers that the result rests on; None when nothing was asked."""
        return weakest(self.asked)

    def aligned_by(self, mechanism: AuthMechanism) -> bool:
        """Whether this mechanism alone would make the message pass."""
        return any(each.mechanism is mechanism for each in self.aligned)


def evaluate(evidence: Evidence) -> Steps[DmarcVerdict]:
    """Check a message. Yields questions, is resumed with their answers, returns the verdict. Never raises."""
    if len(evidence.authors) != 1:
        several = reason(DmarcCode.SEVERAL_AUTHORS, count=len(evidence.authors))
        why = several if evidence.authors else reason(DmarcCode.NO_AUTHOR, detail=evidence.fault)
        return DmarcVerdict(author=None, result=DmarcResult.PERMERROR, reason=why)
    return (yield from _Check(evidence.authors[0], evidence.identifiers).run())


class _Check:
    def __init__(self, author: str, identifiers: tuple[Identifier, ...]) -> None:
        self._author = author
        self._identifiers = tuple(dict.fromkeys(identifiers))
        self._asked: list[Asked] = []
        self._walks: dict[str, Walk] = {}

    def run(self) -> Steps[DmarcVerdict]:
        """The generator."""
        found = yield from self._walk(self._author)
        applied = found.policy
        if found.failure and found.own is None:
            return self._end(DmarcResult.TEMPERROR, _failed(found.failure), found)
        if applied is None:
            return self._end(DmarcResult.NONE, reason(DmarcCode.NO_RECORD, domain=self._author), found)
        domain, record = applied
        if not record.applies:
            return self._end(DmarcResult.NONE, reason(DmarcCode.NO_POLICY, domain=domain), found)
        published, unknown = yield from self._published(domain, record)
        aligned, failure = yield from self._aligned(found, record)
        result, why = self._judged(aligned, failure, unknown)
        passed = tuple(each for each in aligned if each.outcome is MechanismOutcome.PASS)
        return self._end(result, why, found, published, passed)

    def _judged(
        self, aligned: tuple[Identifier, ...], failure: LookupFailure | None, unknown: LookupFailure | None
    ) -> tuple[DmarcResult, DmarcReason]:
        """Pass or fail (section 5.3.5), or neither when it depends on what could not be looked up (section 5.3.6)."""
        passed = [each for each in aligned if each.outcome is MechanismOutcome.PASS]
        if passed:
            names = ", ".join(map(str, passed))
            return DmarcResult.PASS, reason(DmarcCode.ALIGNED, domain=self._author, identifiers=names)
        if failure or unknown:
            lost = failure or unknown
            assert lost is not None  # noqa: S101  # for mypy
            return DmarcResult.TEMPERROR, _failed(lost)
        if aligned:
            first = aligned[0]
            facts = {"mechanism": first.mechanism.upper(), "domain": first.domain}
            return DmarcResult.TEMPERROR, reason(DmarcCode.IDENTIFIER_UNKNOWN, **facts)
        others = ", ".join(str(each) for each in self._identifiers if each.outcome is MechanismOutcome.PASS)
        if others:
            return DmarcResult.FAIL, reason(DmarcCode.NOT_ALIGNED, domain=self._author, identifiers=others)
        return DmarcResult.FAIL, reason(DmarcCode.NOT_AUTHENTICATED)

    def _end(
        self,
        result: DmarcResult,
        why: DmarcReason,
        found: Walk,
        published: Policy = Policy.NONE,
        aligned: tuple[Identifier, ...] = (),
    ) -> DmarcVerdict:
        domain, record = found.policy or (None, None)
        testing = record is not None and record.testing
        return DmarcVerdict(
            author=self._author,
            result=result,
            reason=why,
            policy_domain=domain,
            organizational_domain=found.organizational_domain if found.found and not found.failure else None,
            record=record,
            published=published,
            policy=_BELOW[published] if testing else published,
            aligned=aligned,
            asked=tuple(self._asked),
            oddities=(*found.oddities, *(record.oddities if record else ())),
        )

    def _walk(self, domain: str) -> Steps[Walk]:
        if domain not in self._walks:
            found = yield from walk(domain)
            self._walks[domain] = found
            self._asked.extend(each for each in found.asked if each not in self._asked)
        return self._walks[domain]

    def _published(self, domain: str, record: DmarcRecord) -> Steps[tuple[Policy, LookupFailure | None]]:
        """The policy for this author (section 4.10.1); the failure when it depends on whether the author exists."""
        if domain == self._author:
            return record.policy, None
        existing = record.subdomain_policy or record.policy
        absent = record.nonexistent_policy or existing
        wanted = question(self._author, dns.rdatatype.A)
        if existing is absent or wanted is None:
            return existing, None
        answer = (yield (wanted,))[wanted]
        self._asked.append(Asked.of(wanted, answer))
        if isinstance(answer, LookupFailure):
            return existing, answer
        return (absent if answer.absence is Absence.NXDOMAIN else existing), None  # RFC 8020: no name below it either

    def _aligned(self, found: Walk, record: DmarcRecord) -> Steps[tuple[tuple[Identifier, ...], LookupFailure | None]]:
        """The identifiers that are aligned and passed, or may have; and a lookup that kept others from being judged."""
        aligned: list[Identifier] = []
        failure: LookupFailure | None = None
        for each in self._identifiers:
            if each.outcome is MechanismOutcome.FAIL:
                continue
            strict = (record.dkim_alignment if each.mechanism is AuthMechanism.DKIM else record.spf_alignment) is (
                Alignment.STRICT
            )
            if each.domain == self._author:
                aligned.append(each)
            elif not strict:
                alike, lost = yield from self._same_organization(found, each.domain)
                failure = failure or lost
                if alike:
                    aligned.append(each)
        return tuple(aligned), failure

    def _same_organization(self, found: Walk, domain: str) -> Steps[tuple[bool, LookupFailure | None]]:
        """Whether two domains have one organizational domain (section 4.10.2)."""
        if found.failure:
            return False, found.failure if _common_labels(domain, self._author) else None
        organization = found.organizational_domain
        if domain != organization and not domain.endswith(f".{organization}"):
            return False, None  # an organizational domain is the domain itself or above it: no need to walk
        other = yield from self._walk(domain)
        if other.failure:
            return False, other.failure
        return other.organizational_domain == organization, None


def _common_labels(one: str, other: str) -> bool:
    """Whether two domains are in one top-level domain: else no walk can make them aligned."""
    return one.rpartition(".")[2] == other.rpartition(".")[2]


def _failed(failure: LookupFailure) -> DmarcReason:
    if failure.kind is FailureKind.BOGUS:
        return reason(DmarcCode.BOGUS, question=failure.question)
    return reason(DmarcCode.LOOKUP_FAILED, question=failure.question, kind=failure.kind.value)
