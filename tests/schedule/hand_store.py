"""A store in memory, which fails when it is told to."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import Envelope
from letterlock.queue.store import LeaseLost, Spool, StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Notice, QueuedMessage, Settlement
from tests.deliver.world import BODY, HandClock


def _wanted(next_hop: str, avoid: Collection[str], only: Collection[str]) -> bool:
    return next_hop not in avoid and (not only or next_hop in only)


@dataclass
class HandStore:
    """Tasks wait in `due` with the time at which they are due. `fail` counts the failures to come, by verb."""

    clock: HandClock
    due: list[tuple[float, DeliveryTask]] = field(default_factory=list)
    leased: dict[str, DeliveryTask] = field(default_factory=dict)
    settled: list[tuple[Settlement, Attempt]] = field(default_factory=list)
    released: list[tuple[str, float]] = field(default_factory=list)
    renewals: int = 0
    lose: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    fail: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, Body] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)

    def put(self, *tasks: DeliveryTask) -> None:
        """Queue tasks, due now."""
        self.due += [(self.clock.now(), task) for task in tasks]

    def _may_fail(self, verb: str) -> None:
        if self.fail.get(verb, 0) > 0:
            self.fail[verb] -= 1
            raise StoreFailed("no space left on device")

    def _held(self, lease: Lease) -> DeliveryTask:
        if lease.message_id in self.lose or lease.token not in self.leased:
            raise LeaseLost(lease.message_id)
        return self.leased[lease.token]

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
        """Claim tasks, oldest due first."""
        self._may_fail("lease")
        wanted = (entry for entry in self.due if _wanted(entry[1].lease.next_hop, avoid, only))
        ready = sorted((entry for entry in wanted if since <= entry[0] <= now), key=lambda entry: entry[0])[:limit]
        claimed = []
        for entry in ready:
            self.due.remove(entry)
            task = replace(entry[1], lease=replace(entry[1].lease, expires_at=now + lease_seconds))
            self.leased[task.lease.token] = task
            claimed.append(task)
        return claimed

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease."""
        self._may_fail("renew")
        self._held(lease)
        self.renewals += 1
        return replace(lease, expires_at=expires_at)

    async def share(self, body: Body) -> Body:
        """The same body for another message."""
        return body

    def spool(self) -> Spool:
        """Not for delivery."""
        raise AssertionError

    async def quarantine(self, message_id: str, why: str) -> None:
        """Set a message aside."""
        self.quarantined[message_id] = why

    async def body(self, message_id: str) -> Body:
        """The content."""
        self._may_fail("body")
        if message_id in self.removed:
            raise KeyError(message_id)
        return self.bodies.get(message_id, BODY)

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what came of it."""
        self._may_fail("settle")
        self._held(lease)
        del self.leased[lease.token]
        self.settled.append((settlement, attempt))

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give it back."""
        self._may_fail("release")
        task = self.leased.pop(lease.token, None)
        self.released.append((lease.message_id, next_attempt_at))
        if task is not None:
            self.due.append((next_attempt_at, task))

    async def next_due(self) -> float | None:
        """When to look again."""
        self._may_fail("next_due")
        return min((time for time, _ in self.due), default=None)

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        """Not for delivery."""
        raise AssertionError

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """What waits is due as before."""
        self.due = [(max(now, due_at - seconds), task) for due_at, task in self.due]

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Not for delivery."""
        raise AssertionError

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Not for delivery."""
        raise AssertionError

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Not for delivery."""
        raise AssertionError

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Not for delivery."""
        raise AssertionError

    async def message(self, message_id: str) -> QueuedMessage | None:
        """Not for delivery."""
        raise AssertionError

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """Not for delivery."""
        raise AssertionError

    async def retry(self, message_id: str | None, *, now: float) -> int:
        """Not for delivery."""
        raise AssertionError

    async def remove(self, message_id: str) -> bool:
        """Not for delivery."""
        raise AssertionError

    async def close(self) -> None:
        """Nothing to close."""
