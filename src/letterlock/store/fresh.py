"""The fast lane of a queue: what is delivered at once never gets into the database.

A message that somebody is about to deliver is appended to a segment with its envelope, and when it has been delivered,
a word that it is done: two short writes, flushed together with those of all others. Whatever else becomes of it (it is
deferred, fails, is given back, takes long, or somebody wants to look at the queue), it is moved into the store behind
first. What a dead server leaves in segments is moved at the next start.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from letterlock.mail.envelope import Envelope
from letterlock.queue.orders import Order, Page, Tally, TallyBy, Wanted
from letterlock.queue.store import LeaseLost, OperatedStore, StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Notice, QueuedMessage, Settlement
from letterlock.store.envelopes import write_envelope
from letterlock.store.recovery import close_record, open_content, recover
from letterlock.store.rows import Damaged
from letterlock.store.sealing import IN_CLEAR, Seal
from letterlock.store.segment_log import Place, SegmentLog
from letterlock.store.segments import Kind
from letterlock.store.sqlite import SqliteStore


@dataclass(slots=True, eq=False)
class _Fresh:
    """A message that is in a segment, and not in the store behind."""

    envelope: Envelope
    lease: Lease
    place: Place
    ending: bool = False  # the word that it is done is on its way
    behind: bool = False  # the store behind has it as well
    moving: asyncio.Task[None] | None = None


class FreshStore:
    """queue.store.OperatedStore over another one, which holds what is not delivered at once."""

    def __init__(self, kept: OperatedStore, segments: SegmentLog, seal: Seal = IN_CLEAR) -> None:
        self._kept = kept
        self._segments = segments
        self._seal = seal
        self._fresh: dict[str, _Fresh] = {}

    @classmethod
    async def open(cls, directory: Path, kept: OperatedStore, seal: Seal = IN_CLEAR) -> "FreshStore":
        """Begin with what the segments in a directory still have. `kept` is closed with it. Raises StoreFailed."""
        try:
            last = await recover(directory, kept, seal)
        except OSError as error:
            raise StoreFailed(f"cannot read the queue in {directory}: {error}") from None
        return cls(kept, SegmentLog(directory, last_number=last), seal)

    # --- the fast lane -----------------------------------------------------------------------------------------------

    async def accept(
        self, envelope: Envelope, body: bytes, *, next_attempt_at: float, leases: Sequence[Lease] = ()
    ) -> None:
        """Keep a message; it is durable when this returns."""
        hops = {mailbox.domain for mailbox in envelope.recipients}
        if len(leases) != 1 or hops != {leases[0].next_hop}:
            await self._kept.accept(envelope, body, next_attempt_at=next_attempt_at, leases=leases)
            return
        note = write_envelope(envelope)
        if self._seal.encrypts:
            note, body = close_record(self._seal, envelope.id, note, body)
        place = await self._segments.append(Kind.ACCEPTED, note, body)
        self._fresh[envelope.id] = _Fresh(envelope, leases[0], place)

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        """Write what an attempt led to, durably, and end the lease. Raises LeaseLost."""
        fresh = self._fresh.get(lease.message_id)
        if fresh is None:
            await self._kept.settle(lease, settlement, attempt, now=now)
            return
        unfinished = settlement.deferred or settlement.failed or settlement.relayed
        if unfinished or fresh.behind or fresh.moving is not None:
            await self._move(fresh)
            await self._kept.settle(lease, settlement, attempt, now=now)
            return
        if fresh.ending or fresh.lease.token != lease.token or fresh.lease.expires_at <= now:
            raise LeaseLost(lease.message_id)
        fresh.ending = True
        try:
            await self._forget(fresh)
        finally:
            fresh.ending = False

    async def _forget(self, fresh: _Fresh) -> None:
        await self._segments.append(Kind.DONE, fresh.envelope.id.encode())
        self._segments.finished(fresh.place)
        del self._fresh[fresh.envelope.id]

    async def _content(self, fresh: _Fresh) -> bytes:
        try:
            return open_content(self._seal, fresh.envelope.id, await self._segments.content(fresh.place))
        except Damaged as error:
            raise StoreFailed(f"{fresh.place.segment.path}: {error}") from None

    # --- leaving it --------------------------------------------------------------------------------------------------

    async def _move(self, fresh: _Fresh, *, due_at: float | None = None) -> None:
        """Put a message into the store behind, under its lease, or due at a time; unless it is done, or as good as."""
        if fresh.ending or self._fresh.get(fresh.envelope.id) is not fresh:
            return
        if fresh.moving is None:
            held = (fresh.lease,) if due_at is None else ()
            fresh.moving = asyncio.create_task(self._put_behind(fresh, held, due_at or 0.0))
            fresh.moving.add_done_callback(_heard_out)
        await asyncio.shield(fresh.moving)

    async def _put_behind(self, fresh: _Fresh, leases: Sequence[Lease], due_at: float) -> None:
        try:
            if not fresh.behind:
                body = await self._content(fresh)
                await self._kept.accept(fresh.envelope, body, next_attempt_at=due_at, leases=leases)
                fresh.behind = True
            await self._forget(fresh)
        finally:
            fresh.moving = None

    async def _move_all(self) -> None:
        """So that the store behind has everything that is to be shown."""
        await asyncio.gather(*(self._move(fresh) for fresh in self._fresh.values()))

    async def _move_one(self, message_id: str) -> None:
        if (fresh := self._fresh.get(message_id)) is not None:
            await self._move(fresh)

    # --- the other verbs ---------------------------------------------------------------------------------------------

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
        over = [each for each in self._fresh.values() if each.lease.expires_at <= now]
        await asyncio.gather(*(self._move(fresh, due_at=fresh.lease.expires_at) for fresh in over))
        return await self._kept.lease(
            now, limit=limit, lease_seconds=lease_seconds, avoid=avoid, only=only, since=since
        )

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost. What takes so long leaves the fast lane."""
        await self._move_one(lease.message_id)
        return await self._kept.renew(lease, expires_at)

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried. A lost lease is not an error."""
        await self._move_one(lease.message_id)
        await self._kept.release(lease, next_attempt_at=next_attempt_at)

    async def body(self, message_id: str) -> bytes:
        """The message content. Raises KeyError."""
        if (fresh := self._fresh.get(message_id)) is not None and fresh.moving is None:
            return await self._content(fresh)
        await self._move_one(message_id)
        return await self._kept.body(message_id)

    async def next_due(self) -> float | None:
        """When the next task is due or the next lease runs out."""
        due = await self._kept.next_due()
        ends = [fresh.lease.expires_at for fresh in self._fresh.values()]
        return min([*ends, *([] if due is None else [due])], default=None)

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """The wall clock was set back to `now`: leases do not last longer for that."""
        for fresh in self._fresh.values():
            fresh.lease = replace(fresh.lease, expires_at=min(fresh.lease.expires_at, now + lease_seconds))
        await self._kept.clock_set_back(now, seconds, lease_seconds=lease_seconds)

    async def due_notices(self, *, limit: int) -> Sequence[Notice]:
        """Failed recipients whose sender was not told yet, by message."""
        return await self._kept.due_notices(limit=limit)

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Recipients who wait after an attempt, of messages as old as that, and of whom nobody was told yet."""
        return await self._kept.due_delays(accepted_before, limit=limit)

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN and mark the notice done, in one transaction. Raises KeyError when the message is gone."""
        await self._kept.notified(notice, dsn, now=now)

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""
        await self._move_all()
        return await self._kept.messages(limit=limit, after=after)

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""
        await self._move_one(message_id)
        return await self._kept.message(message_id)

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message's attempts, oldest first."""
        return await self._kept.attempts(message_id)

    async def find(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[QueuedMessage]:
        """The messages that are wanted, in order of id, beginning behind `after`."""
        await self._move_all()
        return await self._kept.find(wanted, limit=limit, after=after)

    async def select(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[str]:
        """The same, but their ids only."""
        await self._move_all()
        return await self._kept.select(wanted, limit=limit, after=after)

    async def obey(self, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
        """Do to these messages what the operator orders; which of them that changed."""
        await asyncio.gather(*(self._move_one(message_id) for message_id in message_ids))
        return await self._kept.obey(order, message_ids)

    async def tally(self, by: TallyBy, *, now: float, after: str | None = None) -> Page[Tally]:
        """Counts of tasks by next hop, sender, reason or age, over a part of the queue."""
        await self._move_all()
        return await self._kept.tally(by, now=now, after=after)

    async def count(self) -> int:
        """How many messages there are."""
        return sum(not fresh.behind for fresh in self._fresh.values()) + await self._kept.count()

    async def close(self) -> None:
        """Finish what is in hand and close the files."""
        await self._segments.close()
        await self._kept.close()


def _heard_out(moving: asyncio.Task[None]) -> None:
    """Who waits for a move is told of its failure; when nobody does any more, the message is where it was."""
    if not moving.cancelled():
        moving.exception()


async def open_queue(directory: Path, seal: Seal = IN_CLEAR) -> FreshStore:
    """The queue of one machine: SQLite behind the fast lane. Raises StoreFailed, QueueInUse."""
    kept = await SqliteStore.open(directory, seal)
    try:
        return await FreshStore.open(directory, kept, seal)
    except StoreFailed:
        await kept.close()
        raise
