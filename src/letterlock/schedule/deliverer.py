"""The worker: leases what is due, has it delivered, and settles it.

Nobody starves. Each next hop has a few slots (`slots.py`), and one that cannot be reached loses all but one until it
answers. Tasks that wait for a slot are leased only as far as they will soon be tried (`leasing.py`), so a slow
destination holds a few slots and never the queue. A next hop that keeps failing is in backoff (`backoff.py`): nothing
is tried there for a while, and what is due is put off, a little at a time. Nothing is lost here: a task that is not
settled comes back when its lease expires.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from letterlock.deliver.apart import attempt_whole
from letterlock.deliver.contents import MEMORY, Contents
from letterlock.deliver.following import Follower
from letterlock.deliver.handshake_slots import Busy
from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.deliver.outcomes import deferred
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.route_settings import SettingsByRoute
from letterlock.deliver.session import EvidenceSource, TakeReport
from letterlock.deliver.unforeseen import QUEUE_UNREADABLE, deferred_whole
from letterlock.mail.checked_content import Body, ContentLost
from letterlock.mail.envelope import Envelope
from letterlock.net.sources import SourceAddresses
from letterlock.ports import Clock, Dialer
from letterlock.queue.observing import NOBODY, Observers
from letterlock.queue.store import LeaseLost, StoreFailed, WorkStore
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease
from letterlock.schedule.backoff import Backoff, did_well, first_trouble, was_crowded
from letterlock.schedule.clock_watch import ClockWatch
from letterlock.schedule.followers import Followers
from letterlock.schedule.lease_keeper import KeptLease, LeaseKeeper, nobody
from letterlock.schedule.leasing import GIVEN_BACK_SECONDS, MAX_PAUSE_SECONDS, Leasing
from letterlock.schedule.load import Load, load_of
from letterlock.schedule.parking import OVERDUE_BATCH, PARKED_SHARE, Parked, Parking
from letterlock.schedule.places import Places
from letterlock.schedule.settling import STORE_PAUSE_SECONDS, Settling
from letterlock.schedule.slots import Slots
from letterlock.schedule.slow_watch import SlowAnswers, SlowWatch
from letterlock.schedule.ways import Ways

__all__ = ["DeliverOptions", "Deliverer", "Timeouts"]

log = logging.getLogger("letterlock.deliver")

SWEEP_SECONDS = 0.2  # chosen: between two batches of tasks of a place that is down, so that others come between
SWEPT_SECONDS = 1.0  # when there was nothing to put off
MAX_STORE_PAUSE_SECONDS = 60.0  # chosen: so late, at most, it is noticed that the disk works again


class Deliverer:
    """Delivers the queue until it is stopped: `run()` in a task, `wake()` when mail came in, `stop()` once."""

    def __init__(
        self,
        options: DeliverOptions,
        *,
        store: WorkStore,
        discoverer: EvidenceSource,
        dialer_from: Callable[[SourceAddresses], Dialer],
        clock: Clock,
        route_settings: SettingsByRoute,
        chance: random.Random,
        failed: Callable[[], None] = nobody,
        boot: str = "",
        observers: Observers = NOBODY,
        take_report: TakeReport | None = None,
    ) -> None:
        """`dialer_from` makes who dials from given addresses; `failed` is called when a recipient failed for good and
        that is on disk. `boot` names what the monotonic clock counts from. `observers` are shown every attempt;
        `take_report` keeps what comes for the reports."""
        self._options = options
        self._store = store
        self._clock = clock
        self._clock_watch = ClockWatch(clock)
        self._ways = Ways(dialer_from, clock, chance, take_report)
        self._ways.reload(options, route_settings, discoverer)
        self._places = Places(discoverer.destination_key)
        self._destination_key = self._places.of
        self._pool = SessionPool(clock, options)
        self._slots = Slots(
            total=options.max_concurrent,
            each=options.max_concurrent_per_destination,
            exceptions=route_settings.max_concurrent,
            max_waiting=options.max_waiting,
            destination_key=self._destination_key,
        )
        self._backoff = Backoff()
        self._parking = Parking(options.max_waiting, options.lease_seconds / PARKED_SHARE)
        self._pool.handshake_slots.freed = self._try_parked
        self._loop = asyncio.get_running_loop()
        self._slow_watch = SlowWatch(self._loop, self._stand_aside, self._pass_by)
        self._pool.handshake_slots.answered = SlowAnswers(self._loop, self._host_is_slow).answered
        self._aside: set[str] = set()  # leases of deliveries that take long
        self._lease_keeper = keeper = LeaseKeeper(store, clock, options.lease_seconds)
        self._settling = Settling(
            store, clock, keeper, self._ways, chance, failed=failed, wake=self.wake, boot=boot, observers=observers
        )
        self._leasing = Leasing(store, clock, options, self._slots, self._backoff, self._destination_key, keeper)
        self._woken = asyncio.Event()
        self._stopping = False
        self._ended = asyncio.Event()
        self._looping = asyncio.Lock()
        self._deliveries: set[asyncio.Task[None]] = set()
        # those that may be cancelled: nothing is to be written yet
        self._trying: set[asyncio.Task[None] | None] = set()
        self._store_pause = STORE_PAUSE_SECONDS
        self._full = 0  # how often nothing could begin for want of a slot
        self._behind = True  # the queue may hold more that is due than was taken in
        self._contents = contents = Contents(options.max_content_octets)
        parts = self._slots, self._parking, contents, self._ways, self._pool
        self._followers = Followers(*parts, clock, self._rests)
        prefix = f"{chance.getrandbits(64):x}"
        self._tokens = (f"{prefix}-{number}" for number in itertools.count())

    def load(self) -> Load:
        """What is in hand, and how often limits were reached."""
        busy, parts = len(self._deliveries), (self._slots, self._parking, self._leasing, self._pool, self._contents)
        return load_of(busy, len(self._followers), self._full, *parts)

    def prepare(self, envelope: Envelope) -> tuple[Lease, ...]:
        """Leases for the next hops of a message that is about to be accepted and could be tried at once."""
        if self._stopping or not self._contents.has_room(envelope.size):
            return ()
        until = self._clock.now() + self._options.lease_seconds
        hops = dict.fromkeys([mailbox.domain for mailbox in envelope.recipients])
        return tuple([Lease(next(self._tokens), envelope.id, hop, until) for hop in hops if self._leasing.room(hop)])

    def take(self, envelope: Envelope, body: Body, leases: Sequence[Lease]) -> None:
        """A message is on disk under these leases (and due in the queue where there is none): deliver it."""
        for lease in leases:
            recipients = tuple([mailbox for mailbox in envelope.recipients if mailbox.domain == lease.next_hop])
            task = DeliveryTask(lease=lease, envelope=envelope, recipients=recipients, attempts=0)
            self._contents.keep(lease.token, envelope.id, body)
            self._slots.wait(task, always=True)
        self._begin_waiting()
        if len(leases) < len({mailbox.domain for mailbox in envelope.recipients}):
            self.wake()

    def reload(self, options: DeliverOptions, route_settings: SettingsByRoute, discoverer: EvidenceSource) -> None:
        """Deliver by other options, routes and rules from now on; what is in hand goes on as it began."""
        self._options = options
        self._ways.reload(options, route_settings, discoverer)
        self._pool.reload(options)
        self._places.follow(discoverer.destination_key, self._in_hand())
        self._slots.reload(
            total=options.max_concurrent,
            each=options.max_concurrent_per_destination,
            exceptions=route_settings.max_concurrent,
        )
        self._leasing.look_anew()
        self.wake()

    def _in_hand(self) -> set[str]:
        """The next hops of deliveries that have slots; the name of each task is its next hop."""
        return {delivery.get_name() for delivery in self._deliveries} | self._parking.next_hops()

    def wake(self) -> None:
        """Look at the queue now: something became due."""
        self._woken.set()

    def forgive(self, next_hop: str | None) -> None:
        """Forget that mail to a next hop (None: to any) failed, at the operator's word: it is tried at once."""
        self._backoff.forget(None if next_hop is None else self._destination_key(next_hop))
        self._slots.forgive(next_hop)
        self.wake()

    async def run(self) -> None:
        """Deliver until `stop` is called."""
        aside = [asyncio.create_task(self._lease_keeper.run()), asyncio.create_task(self._sweep())]
        try:
            async with self._looping:
                while not self._stopping:
                    self._woken.clear()
                    pause = await self._fill()
                    with suppress(TimeoutError):  # nothing woke it: it is time for the next look
                        async with asyncio.timeout(pause):
                            await self._woken.wait()
            await self._ended.wait()
        finally:
            for task in aside:
                task.cancel()
            self._slow_watch.stop()

    async def stop(self, grace_seconds: float) -> None:
        """Begin nothing new, let what is in hand finish for `grace_seconds`, give the rest back to the store."""
        self._stopping = self._settling.stopping = True
        self.wake()
        async with self._looping:
            waiting = [*self._slots.clear(), *self._parking.clear(), *self._followers.clear()]
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=grace_seconds)
        for delivery in tuple(self._trying):
            self._cancel(delivery)
        if self._deliveries:
            await asyncio.wait(self._deliveries)
        self._ended.set()
        await self._pool.close()
        now = self._clock.now()
        await self._leasing.give_back([(task.lease, now) for task in waiting])

    async def _fill(self) -> float:
        """Give every free slot to a task that is due; how long to wait before the next look, in seconds."""
        try:
            if seconds := self._clock_watch.set_back():
                await self._clock_set_back(seconds)
            while not self._stopping:
                self._begin_waiting()
                self._behind = True
                if self._slots.free <= 0:
                    self._full += 1
                    return MAX_PAUSE_SECONDS  # a delivery that ends wakes us
                if not await self._leasing.look():
                    break
            self._behind = False
            pause = await self._leasing.pause()
        except StoreFailed as error:
            return self._store_failed(f"the queue cannot be read: {error}")
        except Exception:  # else the server would end, and end again after each start
            log.exception("internal error while looking at the queue")
            return self._store_failed("the queue was not looked at")
        self._store_pause = STORE_PAUSE_SECONDS
        return pause

    async def _clock_set_back(self, seconds: float) -> None:
        """What waits must not wait until the clock has caught up. Raises StoreFailed."""
        log.warning("the clock was set back by %.0f seconds: mail that waits is due as before", seconds)
        await self._store.clock_set_back(self._clock.now(), seconds, lease_seconds=self._options.lease_seconds)
        self._backoff.forget(None)

    async def _sweep(self) -> None:
        """Put off what is due at places that are down, so few at a time that other mail hardly waits for it."""
        while not self._stopping:
            found = False
            try:
                found = await self._sweep_once()
            except StoreFailed as error:
                log.warning("the queue cannot be read: %s", error)
            except Exception:  # what waits for a busy host depends on this loop
                log.exception("internal error while putting off mail that cannot be tried; going on")
            await asyncio.sleep(SWEEP_SECONDS if found else SWEPT_SECONDS)

    async def _sweep_once(self) -> bool:
        tasks = await self._leasing.sweep()
        parked = self._parking.overdue(self._clock.monotonic(), OVERDUE_BATCH)
        put_off = (*(self._put_off(task) for task in tasks), *(self._put_off_parked(each) for each in parked))
        await asyncio.gather(*put_off)  # the store writes them in one commit
        for key in self._parking.waited_for():
            if not self._pool.handshake_slots.busy(key):
                self._try_parked(key)
        return bool(tasks or parked)

    async def _put_off_parked(self, parked: Parked) -> None:
        """Settle a task untried, for what it needs was taken all the time."""
        self._slots.unpark(parked.task.lease.next_hop)
        waited = self._clock.monotonic() - parked.since
        text = f"not tried for {waited:.0f} seconds: {parked.why}"
        await self._settle_untried(parked.task, "4.4.5", text)

    async def _put_off(self, task: DeliveryTask) -> None:
        """Settle a task untried, for its place is down: so it is heard of, waits longer, and ends some day."""
        now = self._clock.now()
        rest = self._backoff.of(self._destination_key(task.lease.next_hop), now)
        heard = rest.heard if rest is not None else None
        if rest is None or heard is None:
            self._contents.end(task.lease.token)
            await self._leasing.give_back([(task.lease, now)])
            return
        text = f"not tried: {now - rest.since:.0f} seconds ago mail to the same place failed: {heard.text}"
        await self._settle_untried(task, heard.status, text)

    async def _settle_untried(self, task: DeliveryTask, status: str, text: str) -> None:
        now = self._clock.now()
        self._parking.tried(task.lease.token)
        self._contents.end(task.lease.token)
        made = Attempt(
            message_id=task.lease.message_id,
            next_hop=task.lease.next_hop,
            started_at=now,
            ended_at=now,
            outcomes=tuple(deferred(recipient, status, text) for recipient in task.recipients),
        )
        await self._settling.conclude(task, self._lease_keeper.hold(task.lease, nobody), made)

    def _store_failed(self, what: str) -> float:
        pause = self._store_pause
        self._store_pause = min(MAX_STORE_PAUSE_SECONDS, pause * 2)
        log.error("%s; next look in %.0f seconds", what, pause)
        return pause

    def _begin_waiting(self) -> None:
        while not self._stopping and self._slots.waiting:
            now = self._clock.now()  # before a slot is taken, which would be lost if this raised
            if (task := self._slots.take(self._backed_off)) is None:
                break
            if task.lease.expires_at <= now:  # it waited too long, and comes again with a new lease
                self._slots.leave(task.lease.next_hop, well=None)
                self._parking.tried(task.lease.token)
                self._contents.end(task.lease.token)
                continue
            self._begin(task)

    def _begin(self, task: DeliveryTask, follower: Follower | None = None) -> None:
        """Deliver a task, which has a slot; `follower`: in the session in which its envelope is on its way."""
        delivery = self._loop.create_task(self._deliver(task, follower), name=task.lease.next_hop)
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._delivery_ended)

    def _try_parked(self, key: str) -> None:
        """What was taken may be free again: try the first that waits for it."""
        if key not in self._parking.lines or self._stopping:
            return
        if (task := self._parking.call(key)) is not None:
            self._slots.unpark(task.lease.next_hop)
            self._slots.wait(task, always=True, first=True)
            self._begin_waiting()

    def _host_is_slow(self, next_hop: str, elapsed: float, reply: float) -> None:
        self._slots.answers_slowly(next_hop, elapsed, reply)
        self._begin_waiting()

    async def _park(self, task: DeliveryTask, busy: Busy) -> None:
        """Let a task wait for what others have, and hold nothing meanwhile."""
        if self._stopping or not self._parking.park(task, busy.key, busy.why, self._clock.monotonic()):
            away = 0.0 if self._stopping else GIVEN_BACK_SECONDS
            await self._leasing.give_back([(task.lease, self._clock.now() + away)])

    def _rests(self, next_hop: str) -> bool:
        return bool(self._backoff.failing) and self._backed_off(self._destination_key(next_hop))

    def _backed_off(self, place: str) -> bool:
        return place in self._backoff.failing and self._backoff.of(place, self._clock.now()) is not None

    def _delivery_ended(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        self._places.given_back(delivery.get_name(), self._in_hand)
        if not delivery.cancelled() and (error := delivery.exception()) is not None:
            log.critical("internal error: a delivery could not be settled; its lease will expire", exc_info=error)

    async def _deliver(self, task: DeliveryTask, follower: Follower | None) -> None:
        me = asyncio.current_task(self._loop)
        kept = self._lease_keeper.hold(task.lease, lambda: self._cancel(me))
        made: Attempt | None = None
        self._slow_watch.begin(task.lease)
        try:
            made = await self._try(task, kept, me, follower)
        finally:
            if follower is not None and follower.owns_session:  # the attempt did not begin
                follower.let_go()
            self._slow_watch.end(task.lease.token)
            if self._parking.lines and task.lease.token in self._parking:
                self._contents.rest(task.lease.token)
            else:
                self._contents.end(task.lease.token)
            self._leave_whatever(task.lease, made)
            if made is None:
                self._lease_keeper.drop(kept)
        if made is not None:
            await self._settling.conclude(task, kept, made)

    def _stand_aside(self, lease: Lease) -> None:
        """It takes long: let others begin meanwhile."""
        if self._slots.stand_aside(lease.next_hop):
            self._aside.add(lease.token)
            self._begin_waiting()
            if self._behind and self._slots.free > 0:
                self.wake()

    def _pass_by(self, lease: Lease) -> None:
        self._followers.pass_by(lease)
        self._slots.pass_by(lease.next_hop)
        self._begin_waiting()

    def _leave_whatever(self, lease: Lease, made: Attempt | None) -> None:
        """Leave; an internal error in that must not keep the outcome from being written, nor the lease alive."""
        try:
            self._leave(lease, made)
        except Exception:
            log.exception("%s: internal error in giving a slot back", lease.message_id)
            self.wake()

    def _leave(self, lease: Lease, made: Attempt | None) -> None:
        """Give the slot to the next one, and remember how it went."""
        next_hop, aside = lease.next_hop, lease.token in self._aside
        self._aside.discard(lease.token)
        well, place = None if made is None else did_well(made), self._destination_key(next_hop)
        if well:
            self._backoff.went_well(place)
        elif made is not None and well is not None:
            self._backoff.failed(place, self._clock.now(), first_trouble(made))
        follower = self._followers.take(lease)
        parked = bool(self._parking.lines) and lease.token in self._parking
        # A place where all went well was not crowded: for most messages nothing is to be done.
        crowded = made is not None and well is False and was_crowded(made, reached=self._slots.reached(next_hop))
        if not parked:
            self._parking.tried(lease.token)
        if follower is not None:
            if aside:
                self._aside.add(follower.task.lease.token)
            self._slots.hand_on(next_hop, well=well, crowded=crowded, made=made)
            self._begin(follower.task, follower)
        elif parked:
            self._slots.park(next_hop, aside=aside)
        else:
            self._slots.leave(next_hop, well=well, aside=aside, crowded=crowded, made=made)
        self._begin_waiting()
        if self._parking.lines and not parked:
            self._try_parked(MEMORY)
        if self._leasing.wants(next_hop) or (self._behind and self._slots.free > 0):
            self.wake()

    def _cancel(self, delivery: asyncio.Task[None] | None) -> None:
        """Stop a delivery while nothing is to be written yet."""
        if delivery is not None and delivery in self._trying:
            delivery.cancel()

    async def _try(
        self, task: DeliveryTask, kept: KeptLease, me: asyncio.Task[None] | None, follower: Follower | None
    ) -> Attempt | None:
        """Make the attempt under a lease that is kept alive; None when there was nothing to try, or not any more."""
        self._trying.add(me)
        try:
            self._contents.begin(task.lease.token, task.envelope.id, task.envelope.size)
            if self._lease_keeper.half_gone(kept):  # it may have waited long
                await self._lease_keeper.renew(kept)
            if follower is not None:
                return await follower.go_on()
            body = self._contents.body(task.envelope.id) or await self._content(task)
            if body is None:
                return None
            ports, options = self._ways.of(task.lease.next_hop, task.envelope.sender_domain)
            invite = self._followers.behind(task.lease)
            return await attempt_whole(task, body, ports=ports, options=options, pool=self._pool, invite=invite)
        except Busy as busy:
            await self._park(replace(task, lease=kept.lease), busy)
        except LeaseLost:
            log.warning("%s: the lease was lost, or the message removed: not delivered", task.lease.message_id)
        except ContentLost as lost:
            return await self._quarantine(task, str(lost))
        except StoreFailed as error:
            log.warning("%s: the queue cannot be read: %s", task.lease.message_id, error)
            return deferred_whole(task, now=self._clock.now(), code=QUEUE_UNREADABLE)
        except Exception:
            log.exception("%s: internal error in the attempt; the message stays queued", task.lease.message_id)
            return deferred_whole(task, now=self._clock.now())
        except asyncio.CancelledError:
            if kept.lost:
                log.warning("%s: the lease was lost, or the message removed: not delivered", task.lease.message_id)
            else:
                await self._leasing.give_back([(kept.lease, self._clock.now())])
        finally:
            self._trying.discard(me)
        return None

    async def _quarantine(self, task: DeliveryTask, why: str) -> Attempt | None:
        """Set a message aside whose content turned out to be damaged; what could not be set aside is deferred."""
        try:
            await self._store.quarantine(task.lease.message_id, why)
        except StoreFailed as error:
            log.warning("%s: cannot be quarantined (%s): %s", task.lease.message_id, why, error)
            return deferred_whole(task, now=self._clock.now(), code=QUEUE_UNREADABLE)
        return None

    async def _content(self, task: DeliveryTask) -> Body | None:
        try:
            body = await self._store.body(task.lease.message_id)
        except KeyError:
            log.warning("%s: the message was removed: not delivered", task.lease.message_id)
            return None
        self._contents.read(task.envelope.id, body)
        return body
