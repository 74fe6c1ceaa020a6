"""A store in memory, for tests: the same verbs and the same answers as the real one, and nothing survives it."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import Event
from letterlock.queue.journal import last_attempts, record
from letterlock.queue.store import LeaseLost
from letterlock.queue.tasks import (
    Attempt,
    DeliveryTask,
    LastAttempt,
    Lease,
    Notice,
    NoticeKind,
    QueuedMessage,
    QueuedRecipient,
    RecipientOutcome,
    Settlement,
)


@dataclass(slots=True)
class _Task:
    due_at: float
    attempts: int = 0
    token: str | None = None


@dataclass(slots=True)
class _Kept:
    envelope: Envelope
    body: bytes
    tasks: dict[str, _Task]
    states: dict[Mailbox, str]
    last: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    untold: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    owed: dict[Mailbox, RecipientOutcome] = field(default_factory=dict)
    warned: set[Mailbox] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)


class MemoryStore:
    """queue.store.Store in dictionaries."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._tokens = (f"lease-{number}" for number in itertools.count(1))

    async def accept(
        self, envelope: Envelope, body: bytes, *, next_attempt_at: float, leases: Sequence[Lease] = ()
    ) -> None:
        """Keep a message."""
        self._insert(envelope, body, next_attempt_at)
        for lease in leases:
            task = self._kept[envelope.id].tasks[lease.next_hop]
            task.token, task.due_at = lease.token, lease.expires_at

    async def lease(self, now: float, *, limit: int, lease_seconds: float) -> Sequence[DeliveryTask]:
        """Claim up to `limit` due tasks, the longest due first."""
        due = sorted(
            (task.due_at, kept.envelope.id, next_hop)
            for kept in self._kept.values()
            for next_hop, task in kept.tasks.items()
            if task.due_at <= now
        )
        return [self._claim(message_id, next_hop, now + lease_seconds) for _, message_id, next_hop in due[:limit]]

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost."""
        self._held(lease).due_at = expires_at
        return Lease(lease.token, lease.message_id, lease.next_hop, expires_at)

    async def body(self, message_id: str) -> bytes:
        """The message content. Raises KeyError."""
        return self._kept[message_id].body

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what an attempt led to, and end the lease. Raises LeaseLost."""
        task = self._held(lease)
        if task.due_at <= now:
            raise LeaseLost(lease.message_id)
        kept = self._kept[lease.message_id]
        kept.attempts.append(attempt)
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
            kept.tasks[lease.next_hop] = _Task(settlement.next_attempt_at, task.attempts + 1)
        else:
            del kept.tasks[lease.next_hop]
        self._forget_if_finished(lease.message_id)

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried. A lost lease is not an error."""
        kept = self._kept.get(lease.message_id)
        task = kept.tasks.get(lease.next_hop) if kept else None
        if task is not None and task.token == lease.token:
            task.due_at, task.token = next_attempt_at, None

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
        return min((task.due_at for kept in self._kept.values() for task in kept.tasks.values()), default=None)

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""
        ids = sorted(message_id for message_id in self._kept if message_id > (after or ""))
        return [self._queued(self._kept[message_id]) for message_id in ids[:limit]]

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""
        kept = self._kept.get(message_id)
        return None if kept is None else self._queued(kept)

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message's attempts, oldest first."""
        kept = self._kept.get(message_id)
        return [record(attempt) for attempt in kept.attempts] if kept else []

    async def retry(self, message_id: str | None, *, now: float) -> int:
        """Make a message's (None: every) waiting task due now; how many that were."""
        waiting = [
            task
            for kept in self._kept.values()
            if message_id in (None, kept.envelope.id)
            for task in kept.tasks.values()
            if task.token is None
        ]
        for task in waiting:
            task.due_at = now
        return len(waiting)

    async def remove(self, message_id: str) -> bool:
        """Drop a message without telling its sender; whether it was there."""
        return self._kept.pop(message_id, None) is not None

    async def close(self) -> None:
        """Nothing is open."""

    def _notice(self, kind: NoticeKind, kept: _Kept, outcomes: Iterable[RecipientOutcome]) -> Notice:
        told = tuple(outcomes)
        next_hops = frozenset(each.recipient.domain for each in told)
        return Notice(
            kind=kind, envelope=kept.envelope, outcomes=told, last_attempts=self._last_attempts(kept, next_hops)
        )

    def _last_attempts(self, kept: _Kept, next_hops: frozenset[str]) -> tuple[LastAttempt, ...]:
        return last_attempts((record(each) for each in reversed(kept.attempts)), next_hops)

    def _insert(self, envelope: Envelope, body: bytes, due_at: float) -> None:
        tasks = {mailbox.domain: _Task(due_at) for mailbox in envelope.recipients}
        states = dict.fromkeys(envelope.recipients, "queued")
        kept = _Kept(envelope, body, tasks, states)
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
        )

    def _held(self, lease: Lease) -> _Task:
        kept = self._kept.get(lease.message_id)
        task = kept.tasks.get(lease.next_hop) if kept else None
        if task is None or task.token != lease.token:
            raise LeaseLost(lease.message_id)
        return task

    def _forget_if_finished(self, message_id: str) -> None:
        kept = self._kept[message_id]
        if not (kept.tasks or kept.untold or kept.owed):
            del self._kept[message_id]

    def _queued(self, kept: _Kept) -> QueuedMessage:
        recipients = tuple(self._recipient(kept, mailbox) for mailbox in kept.envelope.recipients)
        waiting = frozenset(each.recipient.domain for each in recipients if each.state != "delivered")
        return QueuedMessage(
            envelope=kept.envelope, recipients=recipients, last_attempts=self._last_attempts(kept, waiting)
        )

    def _recipient(self, kept: _Kept, mailbox: Mailbox) -> QueuedRecipient:
        task, last, state = kept.tasks.get(mailbox.domain), kept.last.get(mailbox), kept.states[mailbox]
        leased = state == "queued" and task is not None and task.token is not None
        return QueuedRecipient(
            recipient=mailbox,
            state="leased" if leased else state,
            attempts=task.attempts if task else 0,
            next_attempt_at=task.due_at if task and state == "queued" and not leased else None,
            last_status=last.status if last else None,
            last_text=last.text if last else None,
        )
