"""What comes from the store into the waiting room, so that nobody who cannot be served keeps others waiting.

A place gets so many tasks as its slots will soon want. When it has them, its next hops are crowded: what else is due
for them stays in the store and is passed over, until there is room again. Passing over much costs time: mostly only
what became due since the last time is looked at, and all of it seldom, for a clock may have been set back.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from letterlock.deliver.options import DeliverOptions
from letterlock.ports import Clock
from letterlock.queue.store import StoreFailed, WorkStore
from letterlock.queue.tasks import DeliveryTask, Lease
from letterlock.schedule.backoff import Backoff
from letterlock.schedule.lease_keeper import LeaseKeeper
from letterlock.schedule.slots import Slots

log = logging.getLogger("letterlock.deliver")

LEASE_BATCH = 100  # chosen: one read of the database for many tasks, of which each takes some KB
SWEEP_BATCH = 5  # chosen: few at once, for each failure is written to disk
MAX_CROWDED = 10_000  # next hops remembered; each takes some hundred bytes
LOOK_SECONDS = 1.0  # chosen: between two looks at what became due; new mail wakes at once
IN_VAIN_SECONDS = 0.2  # chosen: a short pause where a look brought only tasks that cannot begin
MANY_CROWDED = 100  # chosen: fewer are avoided by name, which costs a query less
LOOK_AT_ALL_SECONDS = 60.0  # chosen: what a look from the last place on missed waits no longer
GIVEN_BACK_SECONDS = 60.0  # chosen: a task that finds no slot is not looked at again before
MAX_PAUSE_SECONDS = 60.0  # chosen: a guard against a lost wake-up
MIN_PAUSE_SECONDS = 0.05  # chosen: no busy loop, whatever the clock does


class Leasing:
    """Takes due tasks from the store under a lease, while there is room for them."""

    def __init__(
        self,
        store: WorkStore,
        clock: Clock,
        options: DeliverOptions,
        slots: Slots,
        backoff: Backoff,
        destination_key: Callable[[str], str],
        leases: LeaseKeeper,
    ) -> None:
        self._store = store
        self._clock = clock
        self._options = options
        self._slots = slots
        self._backoff = backoff
        self._destination_key = destination_key
        self._lease_keeper = leases
        self._crowded: dict[str, dict[str, None]] = {}  # the crowded next hops, by the place that they lead to
        self._crowded_count = 0
        self.crowdings = 0  # how often a next hop became crowded, for monitoring
        self._look_at = -math.inf  # monotonic: when to look again past the crowded
        self._look_at_all_at = -math.inf  # and at all that is due
        self._seen_until = 0.0  # everything that was due by then is leased, or its next hop is crowded

    def room(self, next_hop: str) -> bool:
        """Whether a task for a next hop may come in now; if not, the store is asked for it when there is room."""
        if self._slots.room(next_hop) and not self._is_down(next_hop):
            return True
        self._crowd(next_hop)
        return False

    def wants(self, next_hop: str) -> bool:
        """Whether there is room for a next hop that had none."""
        if not self._crowded:
            return False
        return next_hop in self._crowded.get(self._destination_key(next_hop), ()) and self._wants(next_hop)

    async def look(self) -> bool:
        """Take in what is due; whether there may be more at once. Raises StoreFailed."""
        if roomy := next((place for place, hops in self._crowded.items() if self._wants(next(iter(hops)))), None):
            tasks = await self._lease_crowded(roomy)
        elif not self._crowded:
            tasks = await self._lease(LEASE_BATCH)
        else:
            tasks = await self._look_past_the_crowded()
        await self._take_in(tasks)
        return bool(tasks or roomy)

    def look_anew(self) -> None:
        """Forget which next hops were passed over: by other routes they may lead to other places."""
        self._crowded.clear()
        self._crowded_count = 0
        self._look_at = self._look_at_all_at = -math.inf

    async def pause(self) -> float:
        """How long to wait before the next look, in seconds. Raises StoreFailed."""
        now = self._clock.now()
        ends = [] if (end := self._backoff.next_end(now)) is None else [end - now]
        if self._crowded:
            ends.append(self._look_at - self._clock.monotonic())
        elif (due := await self._store.next_due()) is not None:
            ends.append(due - now)
        return min(MAX_PAUSE_SECONDS, max(MIN_PAUSE_SECONDS, min(ends, default=MAX_PAUSE_SECONDS)))

    async def sweep(self) -> Sequence[DeliveryTask]:
        """A few tasks that are due at places that are down, from the waiting room or the store. Raises StoreFailed."""
        if not self._backoff.places:
            return ()
        waiting = self._slots.take_out(self._is_down, SWEEP_BATCH)
        places = [hops for hops in self._crowded.values() if self._is_down(next(iter(hops)))]
        down = [next_hop for hops in places for next_hop in hops]
        if waiting or not down:
            return waiting
        return await self._lease(SWEEP_BATCH, only=down)

    async def give_back(self, leases: Sequence[tuple[Lease, float]]) -> None:
        """Release leases until the times given, all at once, so that the store can write them in one commit."""
        releases = (self._store.release(lease, next_attempt_at=until) for lease, until in leases)
        for failed in await asyncio.gather(*releases, return_exceptions=True):
            if isinstance(failed, StoreFailed):
                log.error("leases cannot be returned and will expire: %s", failed)
            elif failed is not None:
                raise failed

    async def _lease(
        self, limit: int, *, avoid: Sequence[str] = (), only: Sequence[str] = (), since: float = 0.0
    ) -> Sequence[DeliveryTask]:
        await self._lease_keeper.catch_up()
        return await self._store.lease(
            self._clock.now(),
            limit=limit,
            lease_seconds=self._options.lease_seconds,
            avoid=avoid,
            only=only,
            since=since,
        )

    async def _lease_crowded(self, place: str) -> Sequence[DeliveryTask]:
        """What a place that was crowded has room for; when nothing is left, it is crowded no more."""
        hops = [*self._crowded[place]]
        limit = min(LEASE_BATCH, self._slots.space(hops[0]))
        tasks = await self._lease(limit, only=hops)
        if len(tasks) < limit:
            self._crowded_count -= len(self._crowded.pop(place, ()))
        return tasks

    async def _look_past_the_crowded(self) -> Sequence[DeliveryTask]:
        now, began = self._clock.now(), self._clock.monotonic()
        if began < self._look_at:
            return ()
        at_all = began >= self._look_at_all_at
        tasks = await self._lease(LEASE_BATCH, avoid=self._all_crowded(), since=0.0 if at_all else self._seen_until)
        if not tasks:
            self._seen_until, self._look_at = now, began + LOOK_SECONDS
            if at_all:
                self._look_at_all_at = began + LOOK_AT_ALL_SECONDS
        return tasks

    async def _take_in(self, tasks: Sequence[DeliveryTask]) -> None:
        """Let tasks wait for slots; those for whom there is no room stay in the store."""
        now = self._clock.now()
        too_many: list[tuple[Lease, float]] = []
        for task in tasks:
            next_hop = task.lease.next_hop
            if self._slots.queued(next_hop) < LEASE_BATCH and not self._is_down(next_hop) and self._slots.wait(task):
                continue
            away = 0.0 if self._crowd(next_hop) else GIVEN_BACK_SECONDS
            too_many.append((task.lease, now + away))
        if len(too_many) > len(tasks) // 2 and self._crowded_count > MANY_CROWDED:  # one by one they are found out
            self._look_at = self._clock.monotonic() + IN_VAIN_SECONDS
        await self.give_back(too_many)

    def _all_crowded(self) -> list[str]:
        return [next_hop for hops in self._crowded.values() for next_hop in hops]

    def _wants(self, next_hop: str) -> bool:
        """Whether more tasks for a next hop should come from the store: when half of its room is empty."""
        queued = self._slots.queued(next_hop)
        return queued < LEASE_BATCH // 2 and queued < self._slots.space(next_hop) and not self._is_down(next_hop)

    def _is_down(self, next_hop: str) -> bool:
        place = self._destination_key(next_hop)
        if place not in self._backoff.failing:
            return False
        rest = self._backoff.of(place, self._clock.now())
        return rest is not None and rest.down

    def _crowd(self, next_hop: str) -> bool:
        """Pass a next hop over from now on; False when there are too many of those."""
        place = self._destination_key(next_hop)
        if next_hop in self._crowded.get(place, ()):
            return True
        if self._crowded_count >= MAX_CROWDED:
            return False
        self._crowded.setdefault(place, {})[next_hop] = None
        self._crowded_count += 1
        self.crowdings += 1
        return True
