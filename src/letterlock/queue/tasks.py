"""The values passed between the queue and delivery."""

from dataclasses import dataclass
from enum import StrEnum

from letterlock.frozen import frozen_dataclass
from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.policy.decision import Achieved, SkipHost
from letterlock.policy.reasons import Reason
from letterlock.queue.age import NEW, Age
from letterlock.queue.sessions import HostRuledOut, ImplicitTry, SessionTried


@frozen_dataclass(frozen=True, slots=True)
class Lease:
    """The right to try one message at one next hop until `expires_at`; the store refuses it afterwards."""

    token: str
    message_id: str
    next_hop: str  # the recipients' domain: A-labels or an address literal
    expires_at: float


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryTask:
    """One message, the recipients still to be served at one next hop; how often and how long it was tried before."""

    lease: Lease
    envelope: Envelope
    recipients: tuple[Mailbox, ...]
    attempts: int
    age: Age = NEW


class OutcomeKind(StrEnum):
    """The outcome for one recipient of one attempt."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOutcome:
    """One recipient's outcome.

    `status` is an enhanced status code (RFC 3463); `text` says why, for people; `remote_reply` is the server's reply
    if it was the server that decided. `in_doubt`: the connection ended after the final dot and before the reply, so
    the message may have been delivered. `confirms`: the server offers DSN, and notifies the sender as requested.
    `retry_after`: what the server wishes us to wait, in seconds, or what is wise after what it said. `slow_down`: it
    wants fewer connections or less mail from us, whatever the message.
    """

    recipient: Mailbox
    kind: OutcomeKind
    status: str
    text: str
    remote_reply: str | None = None
    in_doubt: bool = False
    confirms: bool = False
    retry_after: float | None = None
    slow_down: bool = False


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one task, whole: what the log, the DSN, the queue listing and the reports are made from.

    Times are seconds since 1970; `connected_at` is None when no connection was made. `host` and `address` are the last
    ones spoken to. `achieved`, `handshake` say what TLS reached; `reasons` why. `broken`: a bug or the queue ended it
    before there was a connection, and nothing is known of the next hop. `sessions` has one record per session tried, in
    their order: of more than `letterlock.deliver.seen.MAX_SESSIONS`, the first ones and the last. `skipped` are the
    hosts that were not even connected to; `ruled_out` are these and whole next hops, with the evidence. `implicit`:
    what came of TLS first, where a host announced it and it was tried.
    """

    message_id: str
    next_hop: str
    started_at: float
    ended_at: float
    outcomes: tuple[RecipientOutcome, ...]
    connected_at: float | None = None
    ready_at: float | None = None  # the moment before MAIL FROM
    host: str | None = None
    address: str | None = None
    port: int | None = None
    achieved: Achieved | None = None
    handshake: Completed | None = None
    reasons: tuple[Reason, ...] = ()
    broken: bool = False
    sessions: tuple[SessionTried, ...] = ()
    skipped: tuple[SkipHost, ...] = ()
    ruled_out: tuple[HostRuledOut, ...] = ()
    implicit: ImplicitTry | None = None


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The result of an attempt for the queue: final outcomes, those tried again, when, and how old the task is then.

    `relayed` are delivered too, but to a server that confirms nothing, and the sender asked to be notified.
    """

    delivered: tuple[RecipientOutcome, ...]
    failed: tuple[RecipientOutcome, ...]
    deferred: tuple[RecipientOutcome, ...]
    next_attempt_at: float | None
    relayed: tuple[RecipientOutcome, ...] = ()
    age: Age = NEW


class NoticeKind(StrEnum):
    """The kinds of notifications to a sender."""

    FAILED = "failed"  # it will not be tried again
    DELAYED = "delayed"  # it waits, and is tried again
    RELAYED = "relayed"  # it was handed to a server that confirms nothing (RFC 3461 section 5.2.2)


@dataclass(frozen=True, slots=True)
class Why:
    """A reason as the journal has it: its code, what it is about, its standard's section, and the sentence."""

    code: str
    subject: str
    section: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """The last attempt at one next hop: its end (seconds since 1970), the host it came to, and its reasons.

    `refusal` is the code of the reason for which the policy let no recipient have anything; None where a server or the
    network decided.
    """

    next_hop: str
    ended_at: float
    host: str | None = None
    reasons: tuple[Why, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Recipients of one message that its sender has not been notified about yet, and their last outcomes.

    `last_attempts` has the last attempt at each of their next hops, as far as the journal still knows it.
    """

    kind: NoticeKind
    envelope: Envelope
    outcomes: tuple[RecipientOutcome, ...]
    last_attempts: tuple[LastAttempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRecipient:
    """A recipient as an operator sees it.

    `state`: queued, leased (being tried now), held, quarantined, delivered or failed. `told`, `warned`: no
    notice of failure or delay is due any more; `owed`: the sender has yet to be notified that it was relayed.
    """

    recipient: str
    next_hop: str
    state: str
    attempts: int
    next_attempt_at: float | None
    last_status: str | None
    last_text: str | None
    held_at: float | None = None
    held_because: str | None = None
    notify: str | None = None
    told: bool = False
    warned: bool = False
    owed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A message as an operator sees it: as texts, so that one whose rows cannot be read is shown too.

    `size` is in octets. `sender` "" is the null reverse-path. `damage` says what is wrong with its rows; such a message
    is never sent.
    """

    id: str
    sender: str
    size: int
    accepted_at: float
    expires_at: float
    client: str
    recipients: tuple[QueuedRecipient, ...]
    body_type: str = BodyType.SEVEN_BIT.value
    tls_demand: str = TlsDemand.NONE.value
    ret: str | None = None
    envid: str | None = None
    last_attempts: tuple[LastAttempt, ...] = ()
    damage: str | None = None
