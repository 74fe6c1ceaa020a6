"""Decides what follows from an attempt for the queue. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from letterlock.keys import MAX_SECONDS, Key, RowKey
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import Event
from letterlock.queue.age import ROUNDING_SECONDS, Reading
from letterlock.queue.tasks import Attempt, DeliveryTask, OutcomeKind, RecipientOutcome, Settlement

_DELIVERED = OutcomeKind.DELIVERED
JITTER = 0.1  # chosen: up to a tenth longer, so that messages deferred together do not come back together
UNMEASURED_WAITS = 2.0
"""After a boot, as much as twice the usual wait counts towards a message's age, whatever the wall clock says: the wait
itself, and the time that a start takes. Nothing is tried while the server is off."""
MAX_ATTEMPTS_AS_ASKED = 8
"""chosen: how often a server may set the wait itself; after that the schedule applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySchedule:
    """When to try again (RFC 5321 section 4.5.4.1), in seconds.

    The wait doubles from `first_seconds` up to `maximum_seconds`; up to a tenth more, by chance, spreads what failed
    together. Never less: greylisting servers count the seconds. It ends when a message was tried for as long as its
    envelope allows, or for `lifetime_seconds`, if that is less.
    """

    first_seconds: Annotated[
        float,
        Key(
            "queue.retry_first_seconds",
            "Wait before the second attempt; it grows from there.",
            above=0,
            most=MAX_SECONDS,
        ),
        RowKey(
            "route.retry_first_seconds",
            "Wait before the second attempt. Unset: `[queue] retry_first_seconds`.",
            above=0,
            most=MAX_SECONDS,
            inherits=True,
        ),
    ] = 300.0  # as Postfix; most greylisting is over by then
    maximum_seconds: Annotated[
        float,
        Key("queue.retry_max_seconds", "Longest wait between two attempts.", above=0, most=MAX_SECONDS),
        RowKey(
            "route.retry_max_seconds",
            "Longest wait between two attempts. Unset: `[queue] retry_max_seconds`.",
            above=0,
            most=MAX_SECONDS,
            inherits=True,
        ),
    ] = 4000.0  # as Postfix (maximal_backoff_time): a little more than an hour
    lifetime_seconds: Annotated[
        float | None,
        RowKey(
            "route.lifetime_seconds",
            "After this, what could not be delivered goes back. Unset: `[queue] lifetime_seconds`.",
            above=0,
            most=MAX_SECONDS,
        ),
    ] = None

    def delay(self, attempts: int, chance: float = 0.0) -> float:
        """The wait after `attempts` failed attempts (at least one); `chance` is between 0 and 1."""
        doubled = self.first_seconds * 2.0 ** min(max(attempts - 1, 0), 30)  # 30: beyond any maximum, and no overflow
        return min(doubled, self.maximum_seconds) * (1.0 + JITTER * chance)

    def lifetime(self, envelope: Envelope) -> float:
        """For how many seconds a message is tried. Both times of an envelope are from one reading of the clock."""
        own = envelope.expires_at - envelope.accepted_at
        return own if self.lifetime_seconds is None else min(own, self.lifetime_seconds)

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
    text = f"{_GAVE_UP}{_span(seconds)}{_LAST_REASON}{outcome.text}"
    return replace(outcome, kind=OutcomeKind.FAILED, status=status, text=text)


_GAVE_UP, _LAST_REASON = "gave up after ", "; the last reason: "


def gave_up_after(text: str) -> tuple[str, str]:
    """Split the text of an outcome that expired into that fact and the last reason; else "" and the whole text."""
    ended, found, reason = text.partition(_LAST_REASON)
    return (ended, reason) if found and ended.startswith(_GAVE_UP) else ("", text)


def _span(seconds: float) -> str:
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = round(seconds / unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds:.0f} seconds"


def _by_confirmation(
    task: DeliveryTask, delivered: Sequence[RecipientOutcome]
) -> tuple[tuple[RecipientOutcome, ...], tuple[RecipientOutcome, ...]]:
    """Delivered outcomes, and those only relayed, which the sender wants a notification of (RFC 3461 5.2.2)."""
    sender, wishes = task.envelope.reverse_path, task.envelope.wishes
    if sender is None or not wishes.recipients:
        return tuple(delivered), ()
    owed = [not each.confirms and wishes.of(each.recipient).wants(Event.SUCCESS) for each in delivered]
    confirmed = tuple([each for each, is_owed in zip(delivered, owed, strict=True) if not is_owed])
    return confirmed, tuple([each for each, is_owed in zip(delivered, owed, strict=True) if is_owed])


def all_delivered(task: DeliveryTask, attempt: Attempt) -> Settlement | None:
    """As `settle`, where every recipient has the message and nobody is owed a word of it; None for all else.

    This is how most attempts end, and neither clocks nor chance decide anything then.
    """
    outcomes = attempt.outcomes
    for outcome in outcomes:
        if outcome.kind is not _DELIVERED:
            return None
    if task.envelope.wishes.recipients or tuple([outcome.recipient for outcome in outcomes]) != task.recipients:
        return None
    return Settlement(delivered=outcomes, failed=(), deferred=(), next_attempt_at=None, age=task.age)


def settle(
    task: DeliveryTask,
    attempt: Attempt,
    *,
    now: float,
    schedule: RetrySchedule,
    chance: float = 0.0,
    reading: Reading | None = None,
) -> Settlement:
    """Turn an attempt at a task into what the store writes.

    Every recipient of the task is in exactly one of the four results: one that the attempt forgot is deferred, and one
    that is deferred when the message was tried long enough has failed (4.4.7 becomes final; the last reason is kept in
    the text). The first attempt is never the last for its age: age is counted from there. `reading` is what all clocks
    say `now`; without it, `now` counts as monotonic. `chance`, from 0 to 1, spreads the next attempts (JITTER).
    """
    outcomes = {outcome.recipient: outcome for outcome in attempt.outcomes}
    found = [outcomes.get(recipient) or _forgotten(task, recipient) for recipient in task.recipients]
    age, left = task.age, 0.0
    if [outcome for outcome in found if outcome.kind is OutcomeKind.DEFERRED]:  # age matters only to these
        usual = schedule.delay(max(task.attempts, 1))
        age = age.grown(reading or Reading(now, now), at_most=UNMEASURED_WAITS * usual)
        left = schedule.lifetime(task.envelope) - age.seconds
    delivered: list[RecipientOutcome] = []
    failed: list[RecipientOutcome] = []
    deferred: list[RecipientOutcome] = []
    for outcome in found:
        if outcome.kind is OutcomeKind.DEFERRED and left <= ROUNDING_SECONDS and task.attempts:
            outcome = _gave_up(outcome, age.seconds)
        match outcome.kind:
            case OutcomeKind.DELIVERED:
                delivered.append(outcome)
            case OutcomeKind.FAILED:
                failed.append(outcome)
            case OutcomeKind.DEFERRED:
                deferred.append(outcome)
    confirmed, relayed = _by_confirmation(task, delivered)
    next_attempt_at = None
    if deferred:  # the last attempt is made when the time is up, not one wait before that
        next_attempt_at = now + min(schedule.wait(task.attempts + 1, deferred, chance), max(left, 0.0))
    return Settlement(
        delivered=confirmed,
        relayed=relayed,
        failed=tuple(failed),
        deferred=tuple(deferred),
        next_attempt_at=next_attempt_at,
        age=age,
    )
