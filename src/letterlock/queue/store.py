"""The verbs of a store. One contract suite (tests/contract/) runs over every store that speaks them."""

from collections.abc import Collection, Sequence
from typing import Protocol

from letterlock.mail.envelope import Envelope
from letterlock.queue.orders import Order, Page, Tally, TallyBy, Wanted
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Notice, QueuedMessage, Settlement


class LeaseLost(Exception):
    """The lease ran out, or the message was removed: nothing was written."""


class StoreFailed(Exception):
    """The disk did not take it (full, unwritable, damaged): nothing was accepted."""


class StoreFull(StoreFailed):
    """There is no room left on the disk; what is kept there is safe."""


class Store(Protocol):
    """Where messages are kept. What `accept` and `settle` wrote is on disk, fsynced, when they return.

    Every verb may raise StoreFailed.
    """

    async def accept(
        self, envelope: Envelope, body: bytes, *, next_attempt_at: float, leases: Sequence[Lease] = ()
    ) -> None:
        """Keep a message; it is durable when this returns.

        `leases` are held from the start for these of its next hops, by whoever made them; the rest is due at
        `next_attempt_at`.
        """

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

        `avoid`: none for these next hops. `only`: none but for these, if there are any. `since`: none that were
        due before.
        """

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost."""

    async def body(self, message_id: str) -> bytes:
        """The message content, with CRLF line ends, as it was accepted. Raises KeyError."""

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what an attempt led to, durably, and end the lease. Raises LeaseLost."""

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried (shutdown). A lost lease is not an error."""

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """The wall clock was set back to `now`, by so many seconds: what waits is due as soon as it would have been.

        Leases last for `lease_seconds` at most from then.
        """

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Failed recipients whose sender was not told yet, by message."""

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Recipients who wait after an attempt, of messages as old as that, and of whom nobody was told yet.

        By message, the oldest first. A message without a sender has nobody to be told.
        """

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN (None: nobody to tell) and mark the notice done, in one transaction.

        Of a recipient who waits the sender is told once. Raises KeyError when the message is gone (removed): then
        nothing is accepted.
        """

    async def next_due(self) -> float | None:
        """When the next task is due or the next lease runs out; None when nothing is queued."""

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message as JSON-able values, oldest first; only the last ones if many.

        Attempts, and what an operator ordered: those records have the key `order`.
        """

    async def close(self) -> None:
        """Finish what is in hand and close the files."""


class OperatedStore(Store, Protocol):
    """A store that an operator can look at and steer. No call holds it up for long: the work comes in pages.

    A page is as much as could be looked at in one go, so it may be empty though others follow: `after` of what is
    returned is where to go on, and None at the end.
    """

    async def find(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[QueuedMessage]:
        """The messages that are wanted, in order of id, beginning behind `after`."""

    async def select(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[str]:
        """The same, but their ids only."""

    async def obey(self, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
        """Do to these messages, MAX_ORDERED at most, what the operator orders; which of them that changed.

        All of it is on disk when this returns. A message that is not there, or to which the order does not apply, is
        none of them.
        """

    async def tally(self, by: TallyBy, *, now: float, after: str | None = None) -> Page[Tally]:
        """Counts of tasks by next hop, sender, reason or age, over a part of the queue: `add` those of all parts."""

    async def count(self) -> int:
        """How many messages there are."""
