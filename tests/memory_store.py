"""A store in memory, for tests: the same verbs and the same answers as the real one, and nothing survives it."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from letterlock.mail.checked_content import Body, ContentLost, Tail
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import Event
from letterlock.queue.copies import MessageCopy
from letterlock.queue.journal import record
from letterlock.queue.orders import MAX_ORDERED, Order, OrderKind, Page, RecipientState, Tally, TallyBy, Wanted
from letterlock.queue.store import LeaseLost, StoreFailed, UnreadableMessage
from letterlock.queue.tasks import (
    Attempt,
    DeliveryTask,
    Lease,
    Notice,
    NoticeKind,
    QueuedMessage,
    RecipientOutcome,
    Settlement,
)
from letterlock.store.segments.messages_in_memory import Kept, KeptTask, obey, restored, tally


@dataclass(frozen=True, slots=True)
class MemoryTail:
    """mail.checked_content.Tail in memory. `lost`: it cannot be read to its end."""

    name: str
    pieces: tuple[bytes, ...]
    lost: bool = False

    @property
    def sealed_as(self) -> str:
        """It is not sealed."""
        return self.name

    @property
    def octets(self) -> int:
        """How long it is."""
        return sum(map(len, self.pieces))

    def blocks(self) -> Iterator[bytes]:
        """The pieces."""
        yield from self.pieces[:-1]
        if self.lost:
            raise ContentLost("its content does not have its checksum")
        yield from self.pieces[-1:]


class MemorySpool:
    """queue.store.Spool in memory. `failing`: what writing raises."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.finished = self.discarded = False
        self.failing: StoreFailed | None = None

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Add pieces."""
        if self.failing is not None:
            raise self.failing
        self.pieces += [piece for piece in pieces if piece]

    async def finish(self, pieces: Sequence[bytes]) -> Tail:
        """Add the last ones."""
        await self.write(pieces)
        self.finished = True
        return MemoryTail("in memory", tuple(self.pieces))

    def discard(self) -> None:
        """It is not wanted."""
        self.discarded = True


class MemoryStore:
    """queue.store.Store in dictionaries."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._restored: set[tuple[str, str]] = set()
        self.spools: list[MemorySpool] = []
        self._tokens = (f"lease-{number}" for number in itertools.count(1))

    async def share(self, body: Body) -> Body:
        """The same body for another message."""
        return body

    def spool(self) -> "MemorySpool":
        """In memory as well."""
        self.spools.append(spool := MemorySpool())
        return spool

    async def quarantine(self, message_id: str, why: str) -> None:
        """Set a message aside."""
        for task in self._kept[message_id].tasks.values():
            task.state, task.held_because, task.token = RecipientState.QUARANTINED.value, why, None

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        """Keep a message."""
        self._insert(envelope, body, next_attempt_at)
        for lease in leases:
            task = self._kept[envelope.id].tasks[lease.next_hop]
            task.token, task.due_at = lease.token, lease.expires_at
        if quarantined is not None:
            await self.obey(
                Order(kind=OrderKind.QUARANTINE, at=envelope.accepted_at, reason=quarantined), (envelope.id,)
            )

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
        """Claim up to `limit` due tasks, the longest due first."""
        due = sorted(
            (task.due_at, kept.envelope.id, next_hop)
            for kept in self._kept.values()
            for next_hop, task in kept.tasks.items()
            if task.state == RecipientState.WAITING and since <= task.due_at <= now
            if next_hop not in avoid and (not only or next_hop in only)
        )
        return [self._claim(message_id, next_hop, now + lease_seconds) for _, message_id, next_hop in due[:limit]]

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost."""
        self._held(lease).due_at = expires_at
        return Lease(lease.token, lease.message_id, lease.next_hop, expires_at)

    async def body(self, message_id: str) -> Body:
        """The message content. Raises KeyError."""
        return self._kept[message_id].body

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what an attempt led to, and end the lease. Raises LeaseLost."""
        task = self._held(lease)
        if task.due_at <= now:
            raise LeaseLost(lease.message_id)
        kept = self._kept[lease.message_id]
        kept.journal.append(record(attempt))
        delivered = (*settlement.delivered, *settlement.relayed)
        states = (("delivered", delivered), ("failed", settlement.failed), ("queued", settlement.deferred))
        for state, outcomes in states:
            for outcome in outcomes:
                kept.states[outcome.recipient] = state
                kept.last[outcome.recipient] = outcome
        wishes = kept.envelope.wishes
        kept.untold |= {
            each.recipient: each for each in settlement.failed if wishes.of(each.recipient).wants(Event.FAILURE)
        }
        kept.owed |= {each.recipient: each for each in settlement.relayed}
        if settlement.next_attempt_at is not None:
            task.due_at, task.attempts, task.token = settlement.next_attempt_at, task.attempts + 1, None
            task.age = settlement.age
        else:
            del kept.tasks[lease.next_hop]
        self._forget_if_finished(lease.message_id)

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried. A lost lease is not an error."""
        kept = self._kept.get(lease.message_id)
        task = kept.tasks.get(lease.next_hop) if kept else None
        if task is not None and task.token == lease.token:
            task.due_at, task.token = next_attempt_at, None

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """The wall clock was set back to `now`."""
        for kept in self._kept.values():
            for task in kept.tasks.values():
                if task.token is not None:
                    task.due_at = min(task.due_at, now + lease_seconds)
                elif task.due_at > now:
                    task.due_at = max(now, task.due_at - seconds)

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Failed recipients whose sender was not told yet, by message."""
        untold = [kept for kept in self._kept.values() if kept.untold][:limit]
        owed = [kept for kept in self._kept.values() if kept.owed][:limit]
        return [
            *(self._notice(NoticeKind.FAILED, kept, kept.untold.values()) for kept in untold),
            *(self._notice(NoticeKind.RELAYED, kept, kept.owed.values()) for kept in owed),
        ]

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Recipients who wait after an attempt, and of whom nobody was told yet."""
        found = []
        for kept in sorted(self._kept.values(), key=lambda kept: kept.envelope.id):
            waiting = [
                outcome
                for mailbox, outcome in kept.last.items()
                if kept.states[mailbox] == "queued" and mailbox not in kept.warned
            ]
            if waiting and kept.envelope.reverse_path and kept.envelope.accepted_at <= accepted_before:
                found.append(self._notice(NoticeKind.DELAYED, kept, waiting))
        return found[:limit]

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN and mark the notice done. Raises KeyError."""
        kept = self._kept[notice.envelope.id]
        if dsn is not None:
            self._insert(dsn[0], dsn[1], now)
        for outcome in notice.outcomes:
            match notice.kind:
                case NoticeKind.DELAYED:
                    kept.warned.add(outcome.recipient)
                case NoticeKind.RELAYED:
                    kept.owed.pop(outcome.recipient, None)
                case NoticeKind.FAILED:
                    kept.untold.pop(outcome.recipient, None)
        self._forget_if_finished(notice.envelope.id)

    async def next_due(self) -> float | None:
        """When the next task is due or the next lease runs out."""
        tasks = (task for kept in self._kept.values() for task in kept.tasks.values())
        return min((task.due_at for task in tasks if task.state == RecipientState.WAITING), default=None)

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""
        ids = sorted(message_id for message_id in self._kept if message_id > (after or ""))
        return [self._kept[message_id].seen() for message_id in ids[:limit]]

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""
        kept = self._kept.get(message_id)
        return None if kept is None else kept.seen()

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message, oldest first."""
        kept = self._kept.get(message_id)
        return list(kept.journal) if kept else []

    async def find(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[QueuedMessage]:
        """The messages that are wanted, in order of id, beginning behind `after`."""
        ids = await self.select(wanted, limit=limit, after=after)
        return Page(tuple(self._kept[message_id].seen() for message_id in ids.found), ids.after)

    async def select(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[str]:
        """The same, but their ids only."""
        behind = sorted(message_id for message_id in self._kept if message_id > (after or ""))
        found = [message_id for message_id in behind if wanted.fits(self._kept[message_id].seen())]
        return Page(tuple(found[:limit]), found[limit - 1] if len(found) > limit else None)

    async def obey(self, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
        """Do to these messages what the operator orders; which of them that changed."""
        return [each for each in message_ids[:MAX_ORDERED] if each in self._kept and self._obey(each, order)]

    def _obey(self, message_id: str, order: Order) -> bool:
        if order.kind is OrderKind.REMOVE and order.next_hop is None:
            del self._kept[message_id]
            return True
        changed = obey(self._kept[message_id], order)
        self._forget_if_finished(message_id)
        return changed

    async def tally(self, by: TallyBy, *, now: float, after: str | None = None) -> Page[Tally]:
        """Counts of tasks, all in one page."""
        behind = (kept for message_id, kept in self._kept.items() if message_id > (after or ""))
        return Page(tally(behind, by, now), None)

    async def count(self) -> int:
        """How many messages there are."""
        return len(self._kept)

    async def copy(self, message_id: str, *, in_clear: bool = False) -> MessageCopy | None:  # nothing is sealed here
        """A message whole."""
        kept = self._kept.get(message_id)
        return None if kept is None else kept.copied()

    async def restore(self, archive: str, copy: MessageCopy) -> bool:
        """Put in a message of an archive, once. Raises UnreadableMessage."""
        if copy.sealed:
            raise UnreadableMessage(f"{copy.envelope.id}: there is no key")
        name = archive, copy.envelope.id
        if name in self._restored or copy.envelope.id in self._kept:
            self._restored.add(name)
            return False
        self._restored.add(name)
        self._kept[copy.envelope.id] = restored(copy)
        return True

    async def skip(self, archive: str, message_id: str) -> None:
        """Count a message of an archive as put in."""
        self._restored.add((archive, message_id))

    def has_room(self, _octets: int, /) -> bool:
        """Always: until memory ends."""
        return True

    def started(self) -> None:
        """Nothing is held in reserve."""

    async def close(self) -> None:
        """Nothing is open."""

    def _notice(self, kind: NoticeKind, kept: Kept, outcomes: Iterable[RecipientOutcome]) -> Notice:
        told = tuple(outcomes)
        next_hops = frozenset(each.recipient.domain for each in told)
        return Notice(kind=kind, envelope=kept.envelope, outcomes=told, last_attempts=kept.last_attempts(next_hops))

    def _insert(self, envelope: Envelope, body: Body, due_at: float) -> None:
        tasks = {mailbox.domain: KeptTask(due_at) for mailbox in envelope.recipients}
        states = dict.fromkeys(envelope.recipients, "queued")
        kept = Kept(envelope, body, tasks, states)
        kept.warned |= {each for each in envelope.recipients if not envelope.wishes.of(each).wants(Event.DELAY)}
        self._kept[envelope.id] = kept

    def _claim(self, message_id: str, next_hop: str, expires_at: float) -> DeliveryTask:
        kept = self._kept[message_id]
        task = kept.tasks[next_hop]
        task.token, task.due_at = next(self._tokens), expires_at
        return DeliveryTask(
            lease=Lease(task.token, message_id, next_hop, expires_at),
            envelope=kept.envelope,
            recipients=tuple(
                mailbox for mailbox, state in kept.states.items() if state == "queued" and mailbox.domain == next_hop
            ),
            attempts=task.attempts,
            age=task.age,
        )

    def _held(self, lease: Lease) -> KeptTask:
        kept = self._kept.get(lease.message_id)
        task = kept.tasks.get(lease.next_hop) if kept else None
        if task is None or task.token != lease.token:
            raise LeaseLost(lease.message_id)
        return task

    def _forget_if_finished(self, message_id: str) -> None:
        kept = self._kept[message_id]
        if kept.finished:
            del self._kept[message_id]
