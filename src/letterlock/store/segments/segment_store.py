"""The fast lane of a queue: what is delivered at once never gets into the database.

A message that somebody is about to deliver is appended to a segment with its envelope, and when it has been delivered,
a word that it is done: two short writes, flushed together with those of all others. Whatever else becomes of it (it is
deferred, fails, is given back, takes long, or somebody wants to look at the queue), it is moved into the store behind
first. What a dead server leaves in segments is moved at the next start.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import Envelope
from letterlock.queue.copies import MessageCopy
from letterlock.queue.orders import Order, OrderKind, Page, Tally, TallyBy, Wanted
from letterlock.queue.store import LeaseLost, Spool, Store, StoreFailed, StoreFull, UnreadableMessage
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, Notice, QueuedMessage, Settlement
from letterlock.sqlite.disk import Disk, nobody_helps
from letterlock.sqlite.writer import explain
from letterlock.store.envelopes import write_envelope
from letterlock.store.rows import Damaged
from letterlock.store.sealing import IN_CLEAR, ContentSeal
from letterlock.store.segments.fresh_message import Fresh, done_note, hops_of
from letterlock.store.segments.messages_in_memory import Kept, KeptTask, tally
from letterlock.store.segments.records import RecordKind
from letterlock.store.segments.recovery import Left, close_record, open_content, recover
from letterlock.store.segments.segment_log import ContentLocation, Segment, SegmentLog, reopen
from letterlock.store.sqlite.opening import keep_log
from letterlock.store.sqlite.sqlite_store import SqliteStore
from letterlock.store.tails import CheckedTailWriter, Tails, tail_name

log = logging.getLogger("letterlock.store")
MAX_PARTS = 100  # chosen: next hops of a message, each of which is a record when it is done; rows cost less beyond
_NEEDLESS = (OrderKind.RETRY, OrderKind.RELEASE)
"""Messages in the fast lane are being tried, and never held."""


class ContentUnreadable(StoreFailed):
    """The content of one message cannot be read from its segment; the next start sets that segment aside."""


_STAYS = (StoreFull, ContentUnreadable)
"""Why a message stays in its segment, though it should be moved: nothing else in the queue waits for it."""


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
        self._fresh: dict[str, Fresh] = {}

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
        place = ContentLocation(segment, record.content_at, record.content_octets, len(record.note))
        over = {hop: Lease(secrets.token_hex(8), left.envelope.id, hop, 0.0) for hop in hops_of(left.remaining)}
        segment.live += 1 + left.beside_damage  # then it is never without any, and stays for the next start
        if left.waits:
            return
        hops = hops_of(left.envelope)
        self._fresh[left.envelope.id] = Fresh(left.envelope, hops, over, place, left.tail, behind=left.behind)
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
        """Keep a message; it is durable when this returns. Raises StoreFull, and StoreFailed for any other error."""
        tail = tail_name(body)
        if not self.has_room(len(body) if tail is None else 0):  # a tail is on the disk already
            raise StoreFull("the disk with the queue is full, but for what must stay free")
        hops, held = hops_of(envelope), {lease.next_hop: lease for lease in leases}
        whole = 0 < len(held) <= MAX_PARTS and held.keys() >= set(hops)
        if quarantined is not None or not whole:
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
        self._fresh[envelope.id] = Fresh(envelope, hops, held, place, tail)

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
        if not fresh.holds(lease, now):
            raise LeaseLost(lease.message_id)
        if fresh.ends(lease.next_hop):
            await self._forget(fresh)
        elif await self._end_part(fresh, lease.next_hop):
            await self._kept.settle(lease, settlement, attempt, now=now)

    async def _end_part(self, fresh: Fresh, next_hop: str) -> bool:
        """Write that a part is done; whether the store behind, which got it meanwhile, has to be told as well."""
        try:
            await self._segments.append(RecordKind.DONE, fresh.part_note(next_hop))
        except StoreFailed:
            if self._fresh.get(fresh.envelope.id) is fresh or fresh.behind:
                raise
            return False  # another part was the last one, and its word is for all of them
        finally:
            fresh.end_failed(next_hop)
        if fresh.moving is not None:
            with suppress(StoreFailed):  # moving failed: it is tried again, and what matters here is that it is over
                await asyncio.shield(fresh.moving)
        if not fresh.behind:
            fresh.leases.pop(next_hop, None)
        return fresh.behind

    async def _forget(self, fresh: Fresh) -> None:
        fresh.forgetting = True
        try:
            await self._segments.append(RecordKind.DONE, done_note(fresh.envelope.id))
        finally:
            fresh.forgetting = False
            fresh.ending = None
        self._segments.finished(fresh.place)
        self._released(fresh.place.octets)
        del self._fresh[fresh.envelope.id]
        if fresh.tail is not None and not fresh.behind:
            await self._tails.remove((fresh.tail,))

    def _released(self, octets: int) -> None:
        if self._disk is not None:
            self._disk.settled(octets)

    async def _content(self, fresh: Fresh) -> Body:
        try:
            stored = open_content(self._seal, fresh.envelope.id, await self._segments.content(fresh.place))
            return self._tails.unpack(stored)
        except (Damaged, StoreFailed) as error:
            raise ContentUnreadable(f"{fresh.place.segment.path}: {error}") from None

    # --- leaving it --------------------------------------------------------------------------------------------------

    async def _move(self, fresh: Fresh, *, now: float = -math.inf) -> None:
        """Put a message into the store behind, under its leases, but for those that ran out by `now`; unless it is
        done, or as good as."""
        if fresh.forgetting or self._fresh.get(fresh.envelope.id) is not fresh:
            return
        if fresh.moving is None:
            fresh.moving = asyncio.create_task(self._put_behind(fresh, now))
            fresh.moving.add_done_callback(_heard_out)
        await asyncio.shield(fresh.moving)

    async def _put_behind(self, fresh: Fresh, now: float) -> None:
        try:
            if not fresh.behind:
                self._require_room()
                body = await self._content(fresh)
                # In one transaction without the parts that are done: none of them can be due again after a kill.
                over = [lease.expires_at for lease in fresh.leases.values() if lease.expires_at <= now]
                held = [lease for lease in fresh.leases.values() if lease.expires_at > now]
                await self._kept.accept(fresh.remaining, body, next_attempt_at=min(over, default=0.0), leases=held)
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
        """So that the store behind has all that is to be shown; what must stay (_STAYS), as it is seen."""
        all_fresh = [*self._fresh.values()]
        moves = (self._move(fresh) for fresh in all_fresh)
        stay = []
        for fresh, failed in zip(all_fresh, await asyncio.gather(*moves, return_exceptions=True), strict=True):
            if isinstance(failed, _STAYS) and not fresh.behind:
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
        over = [each for each in self._fresh.values() if each.first_end <= now]
        moves = (self._move(fresh, now=now) for fresh in over)
        stay: list[DeliveryTask] = []
        for fresh, failed in zip(over, await asyncio.gather(*moves, return_exceptions=True), strict=True):
            if isinstance(failed, StoreFull):
                wanted = _wanted(fresh, now, avoid, only)
                stay += islice(fresh.lease_again(now, now + lease_seconds), limit - len(stay)) if wanted else ()
            elif isinstance(failed, ContentUnreadable):
                text = "%s: cannot be moved out of its segment, and is tried again in %.0f seconds: %s"
                log.error(text, fresh.envelope.id, lease_seconds, failed)
                fresh.put_off(now, now + lease_seconds)
            elif failed is not None:
                raise failed
        kept = await self._kept.lease(
            now, limit=limit - len(stay), lease_seconds=lease_seconds, avoid=avoid, only=only, since=since
        )
        return [*stay, *kept]

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
        ends = [fresh.first_end for fresh in self._fresh.values()]
        return min([*ends, *([] if due is None else [due])], default=None)

    async def clock_set_back(self, now: float, seconds: float, *, lease_seconds: float) -> None:
        """The wall clock was set back to `now`: leases do not last longer for that."""
        for fresh in self._fresh.values():
            fresh.leased_until(now + lease_seconds)
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
        except _STAYS:
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
            if isinstance(failed, _STAYS) and order.kind is OrderKind.REMOVE:
                done += await self._remove(message_id, order.next_hop)
            elif failed is not None and not (isinstance(failed, _STAYS) and order.kind in _NEEDLESS):
                raise failed
        return [*done, *await self._kept.obey(order, [each for each in message_ids if each not in done])]

    async def _remove(self, message_id: str, next_hop: str | None) -> list[str]:
        """Remove a message, or its part for a next hop, where it is: that takes no room."""
        fresh = self._fresh[message_id]
        parts = [hop for hop in fresh.leases if next_hop in (None, hop) and not (fresh.ending and hop in fresh.ending)]
        if fresh.forgetting or not parts:
            return []
        if [fresh.ends(hop) for hop in parts][-1]:
            await self._forget(fresh)
        else:
            for hop in parts:
                await self._end_part(fresh, hop)
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
        except ContentUnreadable as error:
            raise UnreadableMessage(f"{message_id}: {error}") from None
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


def _as_kept(fresh: Fresh, content: Body = b"") -> Kept:
    """How a message that is in a segment looks to an operator."""
    tasks = {hop: KeptTask(lease.expires_at, token=lease.token) for hop, lease in fresh.leases.items()}
    states = dict.fromkeys(fresh.remaining.recipients, "queued")
    return Kept(fresh.remaining, content, tasks, states)


def _wanted(fresh: Fresh, now: float, avoid: Collection[str], only: Collection[str]) -> bool:
    """Whether the parts whose leases have run out are asked for: of several, all or none."""
    over = [hop for hop, lease in fresh.leases.items() if lease.expires_at <= now]
    return all(hop not in avoid and (not only or hop in only) for hop in over)


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
