"""From an attempt to what it counts as: a projection of what it says of itself, for every message."""

from collections.abc import Iterable
from typing import NamedTuple

from letterlock.policy.codes import Code
from letterlock.policy.decision import Demander
from letterlock.policy.evidence import StartTls
from letterlock.queue.refusals import refusing_code, status_subject
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.state.statistics_rows import DeliveryShape

LOCAL = "local"
_WOULD_FAIL = {
    Code.RULE_AUDIT_WOULD_HOLD: Demander.RULE,
    Code.RFC8461_5_WOULD_HOLD: Demander.MTA_STS,
    Code.MEMORY_WOULD_HOLD: Demander.MEMORY,
}
_NO_ONE: frozenset[Demander] = frozenset()
_DELIVERED, _DEFERRED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED


class DeliveredFacts(NamedTuple):
    """What a delivery is counted by, as the attempt has it: equal facts are of one shape."""

    level: str
    proof: str | None = None
    demanders: frozenset[Demander] = _NO_ONE
    starttls: StartTls | None = None
    tls_version: str = ""
    cipher: str = ""
    group: str | None = None
    would_fail: frozenset[Demander] = _NO_ONE


class UndeliveredFacts(NamedTuple):
    """The same of an attempt that delivered nothing."""

    result: str
    reason: str


AttemptFacts = DeliveredFacts | UndeliveredFacts


def facts_of(attempt: Attempt) -> AttemptFacts:
    """What an attempt is counted by. It is delivered if any of its recipients has it."""
    for outcome in attempt.outcomes:
        if outcome.kind is _DELIVERED:
            return _delivered(attempt)
    first = attempt.outcomes[0]
    code = refusing_code(attempt, first)
    if first.kind is not _DEFERRED:
        return UndeliveredFacts("failed", code or status_subject(first.status))
    if code is None or attempt.broken:
        return UndeliveredFacts("deferred", code or status_subject(first.status))
    return UndeliveredFacts("held", code)


def _delivered(attempt: Attempt) -> DeliveredFacts:
    achieved, tls = attempt.achieved, attempt.handshake
    if achieved is None or not attempt.sessions:
        return DeliveredFacts(LOCAL)
    session = attempt.sessions[-1]
    evidence = session.evidence
    audited = _would_fail(attempt) if session.requirement.audits else _NO_ONE
    if tls is None:
        return DeliveredFacts(achieved.level, achieved.by, session.policies, would_fail=audited)
    starttls = None if evidence is None else evidence.starttls
    return DeliveredFacts(
        achieved.level, achieved.by, session.policies, starttls, tls.version, tls.cipher, tls.group, audited
    )


def _would_fail(attempt: Attempt) -> frozenset[Demander]:
    found = (_WOULD_FAIL.get(each.code) for each in attempt.reasons)
    return frozenset(each for each in found if each is not None)


def shape_of(facts: AttemptFacts) -> DeliveryShape:
    """The same as texts."""
    if isinstance(facts, UndeliveredFacts):
        return DeliveryShape(facts.result, facts.reason)
    shape = DeliveryShape(
        "delivered",
        protection=str(facts.level),
        proof=facts.proof or "",
        demanded_by=_joined(facts.demanders),
        would_fail=_joined(facts.would_fail),
    )
    if not facts.tls_version:
        return shape
    return shape._replace(
        begun_by="implicit" if facts.starttls is StartTls.IMPLICIT else "starttls",
        tls_version=facts.tls_version,
        cipher=facts.cipher,
        key_exchange=facts.group or "none",
    )


def _joined(demanders: Iterable[Demander]) -> str:
    """Their names in the order of their precedence."""
    found = frozenset(demanders)
    return "+".join(each.value for each in Demander if each in found)
