"""What an attempt means for the queue. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from letterlock.mail.addresses import Mailbox
from letterlock.mail.wishes import Event
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome, Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """When to try again (RFC 5321 section 4.5.4.1), in seconds.

    The wait doubles from `first_seconds` up to `maximum_seconds`; a tenth of it, by `jitter`, spreads what failed
    together. The message's own expiry ends it.
    """

    first_seconds: float = 300.0
    maximum_seconds: float = 4000.0

    def delay(self, attempts: int, chance: float = 0.5) -> float:
        """The wait after `attempts` failed attempts (at least one); `chance` is between 0 and 1."""
        doubled = self.first_seconds * 2.0 ** min(max(attempts - 1, 0), 30)
        return min(doubled, self.maximum_seconds) * (0.95 + 0.1 * chance)


def _forgotten(task: DeliveryTask, recipient: Mailbox) -> RecipientOutcome:
    return RecipientOutcome(
        recipient=recipient,
        kind=OutcomeKind.DEFERRED,
        status="4.3.0",
        text=f"the attempt at {task.lease.next_hop} said nothing of this recipient",
    )


def _gave_up(outcome: RecipientOutcome, seconds: float) -> RecipientOutcome:
    status = "5" + outcome.status[1:] if outcome.status.startswith("4.7") else "5.4.7"
    text = f"gave up after {_span(seconds)}; the last reason: {outcome.text}"
    return replace(outcome, kind=OutcomeKind.FAILED, status=status, text=text)


def _span(seconds: float) -> str:
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = round(seconds / unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds:.0f} seconds"


def _by_confirmation(
    task: DeliveryTask, delivered: Sequence[RecipientOutcome]
) -> tuple[tuple[RecipientOutcome, ...], tuple[RecipientOutcome, ...]]:
    """What was delivered, and what was only relayed: of that the sender wishes to hear from us (RFC 3461 5.2.2)."""
    sender, wishes = task.envelope.reverse_path, task.envelope.wishes
    parts: dict[bool, list[RecipientOutcome]] = {False: [], True: []}
    for each in delivered:
        owed = sender is not None and not each.confirms and wishes.of(each.recipient).wants(Event.SUCCESS)
        parts[owed].append(each)
    return tuple(parts[False]), tuple(parts[True])


def settle(
    task: DeliveryTask, attempt: Attempt, *, now: float, schedule: RetrySchedule, chance: float = 0.5
) -> Settlement:
    """Turn an attempt at a task into what the store writes.

    Every recipient of the task is in exactly one of the four results: one that the attempt forgot is deferred, and one
    that is deferred past the message's expiry has failed (4.4.7 becomes final; the last reason is kept in the text).
    """
    outcomes = {outcome.recipient: outcome for outcome in attempt.outcomes}
    by_kind: dict[OutcomeKind, list[RecipientOutcome]] = {kind: [] for kind in OutcomeKind}
    next_attempt_at = now + schedule.delay(task.attempts + 1, chance)
    expired = now >= task.envelope.expires_at
    for recipient in task.recipients:
        outcome = outcomes.get(recipient) or _forgotten(task, recipient)
        if outcome.kind is OutcomeKind.DEFERRED and expired:
            outcome = _gave_up(outcome, task.envelope.expires_at - task.envelope.accepted_at)
        by_kind[outcome.kind].append(outcome)
    delivered, relayed = _by_confirmation(task, by_kind[OutcomeKind.DELIVERED])
    deferred = by_kind[OutcomeKind.DEFERRED]
    return Settlement(
        delivered=delivered,
        relayed=relayed,
        failed=tuple(by_kind[OutcomeKind.FAILED]),
        deferred=tuple(deferred),
        # the last attempt is made at the expiry itself, not one wait before it
        next_attempt_at=min(next_attempt_at, task.envelope.expires_at) if deferred else None,
    )
