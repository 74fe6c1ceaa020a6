"""The part of a store that each room needs: AcceptStore, WorkStore, NoticeStore, OperatedStore; Store is all of them.

One contract suite per protocol (tests/contract/) runs over every store.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from letterlock.mail.checked_content import Body, Tail
from letterlock.mail.envelope import Envelope
from letterlock.queue.copies import MessageCopy
from letterlock.queue.orders import Order, Page, Tally, TallyBy, Wanted
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Notice, QueuedMessage, Settlement


class LeaseLost(Exception):
    """The lease expired, or the message was removed: nothing was written."""


class StoreFailed(Exception):
    """The disk is full, unwritable or damaged: nothing was accepted. `hint` says what an operator can do at start."""

    hint = "[queue] directory says where the queue is"


class QueueInUse(Exception):
    """Another server uses this queue."""

    hint = "stop that server, or give this one a [queue] directory of its own"


class StoreFull(StoreFailed):
    """No space is left on the disk; the messages stored there are safe."""

    hint = "free space on that disk, but delete nothing in the queue directory; the mail in it is safe"


class WrongKey(StoreFailed):
    """The queue is encrypted, and the key is absent or another one; the messages stored there are safe."""

    hint = "restore the key that this queue was encrypted with, and name it in [queue] key_file; the mail is safe"


class NewerStore(StoreFailed):
    """A later version wrote it, in a form that this one does not know."""

    hint = "install the later version again; no earlier one can read this queue"


class UnreadableMessage(Exception):
    """A message's rows or content are damaged, or sealed with another key: it can neither be copied nor restored."""


class Spool(Protocol):
    """Takes the body of a large message to the disk while it arrives. One call at a time."""

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Add pieces, each of whole lines. Raises StoreFailed."""

    async def finish(self, pieces: Sequence[bytes]) -> Tail:
        """Add the last pieces; all of it is on disk, fsynced, when this returns. Raises StoreFailed.

        It is the store's from the moment that a message with this tail is handed to `accept`.
        """

    def discard(self) -> None:
        """No message has it: remove it, before `accept` was called or after that failed. Raises nothing."""


class AcceptStore(Protocol):
    """What `receive` needs: take responsibility for a message. Every verb may raise StoreFailed."""

    def spool(self) -> Spool:
        """Where a large body can go before its message is accepted. Nothing is written yet."""

    async def share(self, body: Body) -> Body:
        """The same body for another message: each keeps what is spooled of it, whichever is removed first."""

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        """Store a message; it is on disk, fsynced, when this returns.

        `leases` are held from the start for these of its next hops, by the worker that made them; the others are due at
        `next_attempt_at`. `quarantined` says why nothing of it is delivered until an operator releases it.
        """

    def has_room(self, octets: int, /) -> bool:
        """Whether there is room for a new message of this size: a guess that may be wrong either way."""

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message: whether what may have been accepted before a crash was accepted."""


class BodyStore(Protocol):
    """Reads the content of a message that is still queued."""

    async def body(self, message_id: str) -> Body:
        """The message content, with CRLF line ends, as it was accepted. Raises KeyError, StoreFailed.

        Of a large one that was spooled, only the header section is read.
        """


class WorkStore(BodyStore, Protocol):
    """What `schedule` needs: claim due tasks, and record how each attempt ended. Every verb may raise StoreFailed."""

    async def lease(
        self,
        now: float,
        *,
        limit: int,
        lease_seconds: float,
        avoid: Collection[str] = (),
        only: Collection[str] = (),
        since: float = 0.0,
    ) -> Sequence[DeliveryTask]:
        """Claim up to `limit` due tasks, oldest due first. Expired leases of others are due again.

        `avoid`: skip these next hops. `only`: if not empty, claim only tasks for these. `since`: skip tasks that were
        due before then.
        """

    async def quarantine(self, message_id: str, why: str) -> None:
        """The tail of a content cannot be read (ContentLost): nobody is sent the message, and an operator sees why."""

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost."""

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write the result of an attempt, fsynced when this returns, and end the lease. Raises LeaseLost."""

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried (shutdown). A lost lease is not an error."""

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """The wall clock was set back to `now`, by so many seconds: tasks are due as soon as they would have been.

        Leases last for `lease_seconds` at most from then.
        """

    async def next_due(self) -> float | None:
        """When the next task is due or the next lease expires; None when nothing is queued."""


class NoticeStore(BodyStore, Protocol):
    """What `report` needs: which senders must be notified, and that they were. Every verb may raise StoreFailed."""

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Failed recipients, and relayed ones that asked for it, whose sender was not notified yet; one per message."""

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Recipients that wait after an attempt, whose sender was not notified yet, of messages as old as that.

        One notice per message, the oldest message first. A message with the null reverse-path has no sender to notify.
        """

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN (None: there is nobody to notify) and mark the notice done, in one transaction.

        A sender is notified once of each delayed recipient. Raises KeyError when the message was removed: then the DSN
        is not accepted.
        """


class OperatedStore(BodyStore, Protocol):
    """What `admin` needs: look at the queue and steer it. Every verb may raise StoreFailed.

    No call occupies the store for long: the work comes in pages. A page holds as much as could be looked at in one go,
    so it may be empty though others follow: pass its `after` to get the next one; None marks the last.
    """

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message as JSON-able values, oldest first; only the last ones if many.

        Attempts, and the operator's orders: those records have the key `order`.
        """

    async def find(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[QueuedMessage]:
        """The messages that match, in order of id, beginning behind `after`."""

    async def select(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[str]:
        """The same, but only their ids."""

    async def obey(self, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
        """Apply an operator's order to these messages, MAX_ORDERED at most; returns the ids of those it changed.

        All of it is on disk when this returns. Messages that are gone, or to which the order does not apply, are left
        out.
        """

    async def tally(self, by: TallyBy, *, now: float, after: str | None = None) -> Page[Tally]:
        """Counts of tasks by next hop, sender, reason or age, over a part of the queue: `add` those of all parts."""

    async def count(self) -> int:
        """How many messages there are."""

    async def copy(self, message_id: str, *, in_clear: bool = False) -> MessageCopy | None:
        """A message whole, as it is at one moment; None when it is not there. Changes nothing.

        An encrypted content stays so, unless `in_clear`. Raises UnreadableMessage.
        """

    async def restore(self, archive: str, copy: MessageCopy) -> bool:
        """Put in a message of an archive, once; on disk, fsynced, when this returns.

        False, and nothing changes, if that was done before, even if the message has left the queue since, or if it is
        in the queue already; it counts as put in then. Raises UnreadableMessage.
        """

    async def skip(self, archive: str, message_id: str) -> None:
        """Count a message of an archive as put in, durably: another worker has it."""


class Store(AcceptStore, WorkStore, NoticeStore, OperatedStore, Protocol):
    """A whole store, as an engine provides it and the server opens it. Consumers ask for the part they need."""

    def started(self) -> None:
        """The server has opened everything: hold back now what the store needs in reserve."""

    async def close(self) -> None:
        """Finish the work in hand and close the files."""
