"""What an attempt means for the queue. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import Event
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome, Settlement

JITTER = 0.1
MAX_ATTEMPTS_AS_ASKED = 8
"""A server may say for how long to wait so many times; then the schedule holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """When to try again (RFC 5321 section 4.5.4.1), in seconds.

    The wait doubles from `first_seconds` up to `maximum_seconds`; up to a tenth more, by chance, spreads what failed
    together. Never less: greylisting servers count the seconds. The message's own expiry ends it, or
    `lifetime_seconds` after it was accepted, if that is sooner.
    """

    first_seconds: float = 300.0
    maximum_seconds: float = 4000.0
    lifetime_seconds: float | None = None

    def delay(self, attempts: int, chance: float = 0.0) -> float:
        """The wait after `attempts` failed attempts (at least one); `chance` is between 0 and 1."""
        doubled = self.first_seconds * 2.0 ** min(max(attempts - 1, 0), 30)
        return min(doubled, self.maximum_seconds) * (1.0 + JITTER * chance)

    def expiry(self, envelope: Envelope) -> float:
        """When a message is given up, in seconds since 1970."""
        if self.lifetime_seconds is None:
            return envelope.expires_at
        return min(envelope.expires_at, envelope.accepted_at + self.lifetime_seconds)

    def wait(self, attempts: int, deferred: Sequence[RecipientOutcome], chance: float = 0.0) -> float:
        """The wait after `attempts` attempts of which the last one deferred these recipients.

        What the servers asked for counts while the attempts are few: all recipients waiting for it, it is the wait;
        else it only makes the wait shorter, for the others have the schedule's.
        """
        usual = self.delay(attempts, chance)
        asked = [outcome.retry_after for outcome in deferred if outcome.retry_after is not None]
        if not asked or attempts > MAX_ATTEMPTS_AS_ASKED:
            return usual
        wanted = max(asked) * (1.0 + JITTER * chance)
        return wanted if len(asked) == len(deferred) else min(usual, wanted)


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
    if sender is None or not wishes.recipients:
        return tuple(delivered), ()
    owed = [not each.confirms and wishes.of(each.recipient).wants(Event.SUCCESS) for each in delivered]
    confirmed = tuple([each for each, is_owed in zip(delivered, owed, strict=True) if not is_owed])
    return confirmed, tuple([each for each, is_owed in zip(delivered, owed, strict=True) if is_owed])


def settle(
    task: DeliveryTask, attempt: Attempt, *, now: float, schedule: RetrySchedule, chance: float = 0.0
) -> Settlement:
    """Turn an attempt at a task into what the store writes.

    Every recipient of the task is in exactly one of the four results: one that the attempt forgot is deferred, and one
    that is deferred past the message's expiry has failed (4.4.7 becomes final; the last reason is kept in the text).
    """
    outcomes = {outcome.recipient: outcome for outcome in attempt.outcomes}
    expires_at = schedule.expiry(task.envelope)
    delivered: list[RecipientOutcome] = []
    failed: list[RecipientOutcome] = []
    deferred: list[RecipientOutcome] = []
    for recipient in task.recipients:
        outcome = outcomes.get(recipient) or _forgotten(task, recipient)
        if outcome.kind is OutcomeKind.DEFERRED and now >= expires_at:
            outcome = _gave_up(outcome, expires_at - task.envelope.accepted_at)
        match outcome.kind:
            case OutcomeKind.DELIVERED:
                delivered.append(outcome)
            case OutcomeKind.FAILED:
                failed.append(outcome)
            case OutcomeKind.DEFERRED:
                deferred.append(outcome)
    confirmed, relayed = _by_confirmation(task, delivered)
    next_attempt_at = None
    if deferred:  # the last attempt is made at the expiry itself, not one wait before it
        next_attempt_at = min(now + schedule.wait(task.attempts + 1, deferred, chance), expires_at)
    return Settlement(
        delivered=confirmed,
        relayed=relayed,
        failed=tuple(failed),
        deferred=tuple(deferred),
        next_attempt_at=next_attempt_at,
    )
