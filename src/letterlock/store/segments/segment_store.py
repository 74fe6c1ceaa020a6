"""The fast lane of a queue: what is delivered at once never gets into the database.

A message that somebody is about to deliver is appended to a segment with its envelope, and when it has been delivered,
a word that it is done: two short writes, flushed together with those of all others. Whatever else becomes of it (it is
deferred, fails, is given back, takes long, or somebody wants to look at the queue), it is moved into the store behind
first. What a dead server leaves in segments is moved at the next start.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import Envelope
from letterlock.queue.copies import MessageCopy
from letterlock.queue.orders import Order, OrderKind, Page, Tally, TallyBy, Wanted
from letterlock.queue.store import LeaseLost, Spool, Store, StoreFailed, StoreFull
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Notice, QueuedMessage, Settlement
from letterlock.sqlite.disk import Disk, nobody_helps
from letterlock.sqlite.writer import explain
from letterlock.store.envelopes import write_envelope
from letterlock.store.rows import Damaged
from letterlock.store.sealing import IN_CLEAR, ContentSeal
from letterlock.store.segments.messages_in_memory import Kept, KeptTask, tally
from letterlock.store.segments.records import RecordKind
from letterlock.store.segments.recovery import Left, close_record, open_content, recover
from letterlock.store.segments.segment_log import ContentLocation, Segment, SegmentLog, reopen
from letterlock.store.sqlite.opening import keep_log
from letterlock.store.sqlite.sqlite_store import SqliteStore
from letterlock.store.tails import CheckedTailWriter, Tails, tail_name

_NEEDLESS = (OrderKind.RETRY, OrderKind.RELEASE)
"""Messages in the fast lane are being tried, and never held."""


@dataclass(slots=True, eq=False)
class _Fresh:
    """A message that is in a segment, and not in the store behind."""

    envelope: Envelope
    lease: Lease
    place: ContentLocation
    tail: str | None = None  # the file that has the rest of its content
    ending: bool = False  # the word that it is done is on its way
    behind: bool = False  # the store behind has it as well
    moving: asyncio.Task[None] | None = None


class SegmentStore:
    """queue.store.Store over another one, which holds what is not delivered at once."""

    def __init__(
        self, kept: Store, segments: SegmentLog, seal: ContentSeal = IN_CLEAR, disk: Disk | None = None
    ) -> None:
        """`disk` says whether there is room for new mail; None: as long as writing succeeds."""
        self._kept = kept
        self._tails = Tails(segments.directory, seal)
        self._disk = disk
        self._segments = segments
        self._seal = seal
        self._fresh: dict[str, _Fresh] = {}

    @classmethod
    async def open(
        cls,
        directory: Path,
        kept: Store,
        seal: ContentSeal = IN_CLEAR,
        disk: Disk | None = None,
        relief: Callable[[], bool] = nobody_helps,
    ) -> "SegmentStore":
        """Begin with what the segments in a directory still have. `kept` is closed with it. Raises StoreFailed.

        With a `disk` that is full, messages stay in their segments, and are delivered from there.
        """
        try:
            found = await recover(directory, kept, seal, disk)
            old = [reopen(path) for path in found.paths]
        except OSError as error:
            raise explain(error, f"cannot read the queue in {directory}") from None
        store = cls(kept, SegmentLog(directory, last_number=found.last_number, old=old, relief=relief), seal, disk)
        segments = {segment.path: segment for segment in old}
        for left in found.left:
            store._keep(left, segments[left.path])
        return store

    def _keep(self, left: Left, segment: Segment) -> None:
        """A message of the last run stays in its segment; its lease has run out."""
        record = left.record
        place = ContentLocation(segment, record.content_at, record.content_octets)
        lease = Lease(secrets.token_hex(8), left.envelope.id, left.envelope.recipients[0].domain, 0.0)
        segment.live += 1 + left.beside_damage  # then it is never without any, and stays for the next start
        if left.waits:
            return
        self._fresh[left.envelope.id] = _Fresh(left.envelope, lease, place, left.tail, behind=left.behind)
        if self._disk is not None:
            self._disk.accepted(place.octets)

    @property
    def tails(self) -> Collection[str]:
        """The files that messages here have."""
        return [fresh.tail for fresh in self._fresh.values() if fresh.tail is not None]

    def has_room(self, octets: int, /) -> bool:
        """Whether there is room on the disk for a new message of this size."""
        return self._disk is None or self._disk.has_room(octets)

    def spool(self) -> Spool:
        """A file for a large body; it is written as long as there is room for new mail."""
        return CheckedTailWriter(self._tails.writer(), self._disk)

    async def share(self, body: Body) -> Body:
        """The same body for another message."""
        return await self._tails.share(body)

    # --- the fast lane -----------------------------------------------------------------------------------------------

    def started(self) -> None:
        """The server has opened everything: reserve what the disk can spare for when it is full."""
        if self._disk is not None:
            keep_log(self._disk.directory)
            self._disk.hold_reserve()

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        """Keep a message; it is durable when this returns."""
        tail = tail_name(body)
        if not self.has_room(len(body) if tail is None else 0):  # a tail is on the disk already
            raise StoreFull("the disk with the queue is full, but for what must stay free")
        hops = {mailbox.domain for mailbox in envelope.recipients}
        if quarantined is not None or len(leases) != 1 or hops != {leases[0].next_hop}:
            await self._kept.accept(
                envelope, body, next_attempt_at=next_attempt_at, leases=leases, quarantined=quarantined
            )
            return
        note, pieces = write_envelope(envelope), self._tails.pieces(body)
        if self._seal.encrypts:
            note, closed = close_record(self._seal, envelope.id, note, b"".join(pieces))
            pieces = (closed,)
        octets = sum(map(len, pieces))
        if self._disk is not None:
            self._disk.accepted(octets)
        try:
            place = await self._segments.append(RecordKind.ACCEPTED, note, *pieces)
        except StoreFailed:
            self._released(octets)
            raise
        self._fresh[envelope.id] = _Fresh(envelope, leases[0], place, tail)

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
        await self._segments.append(RecordKind.DONE, fresh.envelope.id.encode())
        self._segments.finished(fresh.place)
        self._released(fresh.place.octets)
        del self._fresh[fresh.envelope.id]
        if fresh.tail is not None and not fresh.behind:
            await self._tails.remove((fresh.tail,))

    def _released(self, octets: int) -> None:
        if self._disk is not None:
            self._disk.settled(octets)

    async def _content(self, fresh: _Fresh) -> Body:
        try:
            stored = open_content(self._seal, fresh.envelope.id, await self._segments.content(fresh.place))
            return self._tails.unpack(stored)
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
                self._require_room()
                body = await self._content(fresh)
                await self._kept.accept(fresh.envelope, body, next_attempt_at=due_at, leases=leases)
                fresh.behind = True
            await self._forget(fresh)
        finally:
            fresh.moving = None

    def _require_room(self) -> None:
        """For all that is on its way into the store behind. Raises StoreFull."""
        if self._disk is not None:
            moving = (fresh.place.octets for fresh in self._fresh.values() if fresh.moving is not None)
            self._disk.require(sum(moving))

    async def _move_all(self) -> list[Kept]:
        """So that the store behind has all that is to be shown; what must stay, for the disk is full, as it is seen."""
        all_fresh = [*self._fresh.values()]
        moves = (self._move(fresh) for fresh in all_fresh)
        stay = []
        for fresh, failed in zip(all_fresh, await asyncio.gather(*moves, return_exceptions=True), strict=True):
            if isinstance(failed, StoreFull) and not fresh.behind:
                stay.append(_as_kept(fresh))
            elif failed is not None:
                raise failed
        return stay

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
        moves = (self._move(fresh, due_at=fresh.lease.expires_at) for fresh in over)
        stay: list[DeliveryTask] = []
        for fresh, failed in zip(over, await asyncio.gather(*moves, return_exceptions=True), strict=True):
            if isinstance(failed, StoreFull):
                wanted = fresh.lease.next_hop not in avoid and (not only or fresh.lease.next_hop in only)
                stay += [self._lease_again(fresh, now + lease_seconds)] if wanted and len(stay) < limit else []
            elif failed is not None:
                raise failed
        kept = await self._kept.lease(
            now, limit=limit - len(stay), lease_seconds=lease_seconds, avoid=avoid, only=only, since=since
        )
        return [*stay, *kept]

    def _lease_again(self, fresh: _Fresh, expires_at: float) -> DeliveryTask:
        """A full disk keeps a message where it is, and not from being delivered."""
        fresh.lease = replace(fresh.lease, token=secrets.token_hex(8), expires_at=expires_at)
        return DeliveryTask(
            lease=fresh.lease, envelope=fresh.envelope, recipients=fresh.envelope.recipients, attempts=0
        )

    async def renew(self, lease: Lease, expires_at: float) -> Lease:
        """Extend a lease. Raises LeaseLost. What takes so long leaves the fast lane."""
        await self._move_one(lease.message_id)
        return await self._kept.renew(lease, expires_at)

    async def release(self, lease: Lease, *, next_attempt_at: float) -> None:
        """Give a lease back untried. A lost lease is not an error."""
        await self._move_one(lease.message_id)
        await self._kept.release(lease, next_attempt_at=next_attempt_at)

    async def quarantine(self, message_id: str, why: str) -> None:
        """Set a message aside whose content cannot be read."""
        await self._move_one(message_id)
        await self._kept.quarantine(message_id, why)

    async def body(self, message_id: str) -> Body:
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
        """Failed recipients whose sender has not been notified yet, by message."""
        return await self._kept.due_notices(limit=limit)

    async def due_delays(self, accepted_before: float, *, limit: int) -> Sequence[Notice]:
        """Deferred recipients of messages at least that old, whose sender has not been notified yet."""
        return await self._kept.due_delays(accepted_before, limit=limit)

    async def notified(self, notice: Notice, dsn: tuple[Envelope, bytes] | None, *, now: float) -> None:
        """Accept the DSN and mark the notice done, in one transaction. Raises KeyError when the message is gone."""
        if self._disk is not None and dsn is not None:
            self._disk.require(len(dsn[1]))
        await self._kept.notified(notice, dsn, now=now)

    async def messages(self, *, limit: int, after: str | None = None) -> Sequence[QueuedMessage]:
        """Queued messages in order of id, beginning behind `after`."""
        stay = [kept.seen() for kept in await self._move_all()]
        found = [
            *await self._kept.messages(limit=limit, after=after),
            *(each for each in stay if each.id > (after or "")),
        ]
        return sorted(found, key=lambda message: message.id)[:limit]

    async def message(self, message_id: str) -> QueuedMessage | None:
        """One queued message."""
        try:
            await self._move_one(message_id)
        except StoreFull:
            return _as_kept(self._fresh[message_id]).seen()
        return await self._kept.message(message_id)

    async def attempts(self, message_id: str) -> Sequence[dict[str, object]]:
        """The journal of a message's attempts, oldest first."""
        return await self._kept.attempts(message_id)

    async def find(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[QueuedMessage]:
        """The messages that are wanted, in order of id, beginning behind `after`."""
        stay = [kept.seen() for kept in await self._move_all()]
        page = await self._kept.find(wanted, limit=limit, after=after)
        more = [each for each in stay if wanted.fits(each) and _is_within(each.id, after, page.after)]
        return Page(tuple(sorted((*page.found, *more), key=lambda message: message.id)), page.after)

    async def select(self, wanted: Wanted, *, limit: int, after: str | None = None) -> Page[str]:
        """The same, but their ids only."""
        stay = [kept.seen() for kept in await self._move_all()]
        page = await self._kept.select(wanted, limit=limit, after=after)
        more = [each.id for each in stay if wanted.fits(each) and _is_within(each.id, after, page.after)]
        return Page(tuple(sorted((*page.found, *more))), page.after)

    async def obey(self, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
        """Do to these messages what the operator orders; which of them that changed."""
        moves = (self._move_one(message_id) for message_id in message_ids)
        done = []
        for message_id, failed in zip(message_ids, await asyncio.gather(*moves, return_exceptions=True), strict=True):
            if isinstance(failed, StoreFull) and order.kind is OrderKind.REMOVE:
                done += await self._remove(message_id, order.next_hop)
            elif failed is not None and not (isinstance(failed, StoreFull) and order.kind in _NEEDLESS):
                raise failed
        return [*done, *await self._kept.obey(order, [each for each in message_ids if each not in done])]

    async def _remove(self, message_id: str, next_hop: str | None) -> list[str]:
        """Remove a message where it is: that takes no room. It has one next hop."""
        fresh = self._fresh[message_id]
        if fresh.ending or next_hop not in (None, fresh.lease.next_hop):
            return []
        await self._forget(fresh)
        return [message_id]

    async def tally(self, by: TallyBy, *, now: float, after: str | None = None) -> Page[Tally]:
        """Counts of tasks by next hop, sender, reason or age, over a part of the queue."""
        stay = await self._move_all()
        page = await self._kept.tally(by, now=now, after=after)
        return page if after is not None else Page((*page.found, *tally(stay, by, now)), page.after)

    async def count(self) -> int:
        """How many messages there are."""
        return sum(not fresh.behind for fresh in self._fresh.values()) + await self._kept.count()

    async def copy(self, message_id: str, *, in_clear: bool = False) -> MessageCopy | None:
        """A message whole. Raises UnreadableMessage."""
        try:
            await self._move_one(message_id)
        except StoreFull:
            fresh = self._fresh[message_id]
            copy = await asyncio.to_thread(_as_kept(fresh, await self._content(fresh)).copied)
            if in_clear or not self._seal.encrypts:
                return copy
            return replace(copy, content=self._seal.close(message_id, copy.content), sealed=True)
        return await self._kept.copy(message_id, in_clear=in_clear)

    async def restore(self, archive: str, copy: MessageCopy) -> bool:
        """Put in a message of an archive, once. Raises UnreadableMessage, StoreFull."""
        if not self.has_room(len(copy.content)):
            raise StoreFull("the disk with the queue is full, but for what must stay free")
        await self._move_one(copy.envelope.id)
        return await self._kept.restore(archive, copy)

    async def skip(self, archive: str, message_id: str) -> None:
        """Count a message of an archive as put in."""
        await self._kept.skip(archive, message_id)

    async def close(self) -> None:
        """Finish what is in hand and close the files."""
        await self._segments.close()
        await self._tails.close()
        await self._kept.close()
        if self._disk is not None:
            self._disk.hold_reserve()  # what the log had is for the next start


def _as_kept(fresh: _Fresh, content: Body = b"") -> Kept:
    """How a message that is in a segment looks to an operator."""
    task = KeptTask(fresh.lease.expires_at, token=fresh.lease.token)
    states = dict.fromkeys(fresh.envelope.recipients, "queued")
    return Kept(fresh.envelope, content, {fresh.lease.next_hop: task}, states)


def _is_within(message_id: str, after: str | None, last: str | None) -> bool:
    """Whether a message belongs to a page that begins behind `after` and ends with `last` (None: with the queue)."""
    return message_id > (after or "") and (last is None or message_id <= last)


def _heard_out(moving: asyncio.Task[None]) -> None:
    """Pass a failed move on to its waiter; when there is none left, the message stays where it was."""
    if not moving.cancelled():
        moving.exception()


async def open_queue(directory: Path, seal: ContentSeal = IN_CLEAR) -> SegmentStore:
    """The queue of one machine: SQLite behind the fast lane. Raises StoreFailed, QueueInUse."""
    kept = await SqliteStore.open(directory, seal)
    try:
        store = await SegmentStore.open(directory, kept, seal)
        await kept.sweep_tails(store.tails)
    except StoreFailed:
        await kept.close()
        raise
    return store
