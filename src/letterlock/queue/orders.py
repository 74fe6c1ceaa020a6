"""An operator's searches, orders and counts. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from letterlock.queue.tasks import QueuedMessage, QueuedRecipient

MAX_ORDERED = 500  # messages in one order
MAX_REASON_CHARACTERS = 200  # chosen: a sentence of the operator that fits a log line and a DSN
# Chosen: from fresh to what delay notifications and expiry are about.
AGES = (("5m", 300.0), ("15m", 900.0), ("1h", 3_600.0), ("4h", 14_400.0), ("1d", 86_400.0))
OLDER = "older"
REMOVED_STATUS = "5.0.0"  # RFC 3463: other or undefined
REMOVED_TEXT = "removed by the operator"
_T = TypeVar("_T")


class RecipientState(StrEnum):
    """Where a message stands with one recipient."""

    WAITING = "waiting"  # for its first attempt
    DEFERRED = "deferred"  # for another one
    LEASED = "leased"  # it is being tried now
    HELD = "held"
    QUARANTINED = "quarantined"
    FAILED = "failed"  # its sender has not been notified yet
    DELIVERED = "delivered"


def state_of(recipient: QueuedRecipient) -> RecipientState:
    """A recipient's state; what is queued waits, or was deferred."""
    if recipient.state == "queued":
        return RecipientState.DEFERRED if recipient.attempts else RecipientState.WAITING
    return RecipientState(recipient.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The conditions that an operator's messages must all meet; None: any value.

    `domain` (A-labels) is one of a recipient who is not served yet, and `state` that recipient's; `sender` is an
    address, a domain, or `<>`; `reason` is part of the last text about such a recipient, or of a reason's code.
    """

    ids: tuple[str, ...] | None = None
    domain: str | None = None
    sender: str | None = None
    accepted_before: float | None = None
    reason: str | None = None
    state: RecipientState | None = None

    def fits(self, message: QueuedMessage) -> bool:
        """Whether a message is one of those."""
        if self.ids is not None and message.id not in self.ids:
            return False
        if self.accepted_before is not None and message.accepted_at > self.accepted_before:
            return False
        if self.sender is not None and self.sender.lower() not in _names_of(message.sender.lower()):
            return False
        parts = tuple(each for each in message.recipients if self._is_about(each))
        if not parts and (self.domain, self.state) != (None, None):
            return False
        return self.reason is None or any(self.reason.lower() in text.lower() for text in _why(message, parts))

    def _is_about(self, recipient: QueuedRecipient) -> bool:
        state = state_of(recipient)
        return (
            state is not RecipientState.DELIVERED
            and self.domain in (None, recipient.next_hop)
            and self.state in (None, state)
        )


def _names_of(sender: str) -> tuple[str, ...]:
    return (sender, sender.rpartition("@")[2]) if sender else ("<>",)


def _why(message: QueuedMessage, parts: tuple[QueuedRecipient, ...]) -> Iterator[str]:
    """All that can be read of why these recipients wait."""
    yield message.damage or ""
    for each in parts:
        yield f"{each.last_status} {each.last_text}" if each.last_text else ""
        yield each.held_because or ""
    next_hops = {each.next_hop for each in parts}
    for attempt in message.last_attempts:
        if attempt.next_hop in next_hops:
            yield from (f"{why.sentence} {why.section} {why.code}" for why in attempt.reasons)


class OrderKind(StrEnum):
    """The possible orders. RETRY and RETURN do not touch recipients that are being tried now; HOLD and QUARANTINE apply
    when the attempt has ended, to those deferred.
    """

    RETRY = "retry"  # what waits is due now
    HOLD = "hold"  # what waits is not tried until it is released
    QUARANTINE = "quarantine"  # the same for what waits or is held, and meant to be looked at
    RELEASE = "release"  # what is held or quarantined is due now
    REMOVE = "remove"  # without a notification
    RETURN = "return"  # waiting recipients fail, and the sender is notified as requested


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An operator's order, given at `at` (seconds since 1970).

    `next_hop`: only what goes there. `reason`: the operator's words. `only`: RELEASE frees only what is in this state.
    """

    kind: OrderKind
    at: float
    next_hop: str | None = None
    reason: str | None = None
    only: RecipientState | None = None

    @property
    def record(self) -> dict[str, object]:
        """The order as the message's journal keeps it."""
        return {"order": self.kind.value, "at": self.at, "next_hop": self.next_hop, "reason": self.reason}

    @property
    def removal(self) -> str:
        """The text about a removed message in the sender's notification."""
        return f"{REMOVED_TEXT}: {self.reason}" if self.reason else REMOVED_TEXT


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """A part of an answer. `after`: what to ask for next; None: this was the last."""

    found: tuple[_T, ...]
    after: str | None


class TallyBy(StrEnum):
    """The keys that tasks are counted by."""

    DOMAIN = "domain"
    SENDER = "sender"
    REASON = "reason"
    AGE = "age"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many tasks (a message to one next hop) are waiting, deferred, leased, held or quarantined, and their octets.

    `ages` are those up to each of AGES, but not in the one before, and then those that are older; `oldest_at` is when
    the first of them was accepted. A message to several next hops counts for each.
    """

    key: str
    waiting: int = 0
    deferred: int = 0
    leased: int = 0
    held: int = 0
    quarantined: int = 0
    octets: int = 0
    oldest_at: float | None = None
    ages: tuple[int, ...] = (0,) * (len(AGES) + 1)

    @property
    def total(self) -> int:
        """All tasks."""
        return self.waiting + self.deferred + self.leased + self.held + self.quarantined

    def add(self, other: "Tally") -> "Tally":
        """Both together, under this one's key."""
        oldest = [each for each in (self.oldest_at, other.oldest_at) if each is not None]
        return Tally(
            key=self.key,
            waiting=self.waiting + other.waiting,
            deferred=self.deferred + other.deferred,
            leased=self.leased + other.leased,
            held=self.held + other.held,
            quarantined=self.quarantined + other.quarantined,
            octets=self.octets + other.octets,
            oldest_at=min(oldest, default=None),
            ages=tuple(mine + its for mine, its in zip(self.ages, other.ages, strict=True)),
        )


def age_group(seconds: float) -> int:
    """Which of a tally's `ages` this one is."""
    return next((place for place, (_, most) in enumerate(AGES) if seconds <= most), len(AGES))
