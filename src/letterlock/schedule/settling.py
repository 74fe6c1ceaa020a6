"""Writes what attempts led to, as long as their leases last."""

import asyncio
import logging
import random
from collections.abc import Callable

from letterlock.deliver.unforeseen import without_words
from letterlock.ports import Clock
from letterlock.queue.age import Reading
from letterlock.queue.observing import Observers
from letterlock.queue.settle import all_delivered, settle
from letterlock.queue.store import LeaseLost, StoreFailed, WorkStore
from letterlock.queue.tasks import Attempt, DeliveryTask, Settlement
from letterlock.schedule.lease_keeper import KeptLease, LeaseKeeper
from letterlock.schedule.ways import Ways

log = logging.getLogger("letterlock.deliver")

STORE_PAUSE_SECONDS = 1.0  # chosen: the first wait after the store failed; it doubles


class Settling:
    """Settles tasks with the store, and shows attempts to the observers."""

    def __init__(
        self,
        store: WorkStore,
        clock: Clock,
        leases: LeaseKeeper,
        ways: Ways,
        chance: random.Random,
        *,
        failed: Callable[[], None],
        wake: Callable[[], None],
        boot: str,
        observers: Observers,
    ) -> None:
        """`failed` is called when a recipient failed for good and that is on disk, `wake` when something was put off.
        `boot` names what the monotonic clock counts from."""
        self.stopping = False  # then what cannot be written is tried once more only
        self._store = store
        self._clock = clock
        self._lease_keeper = leases
        self._ways = ways
        self._chance = chance
        self._failed = failed
        self._wake = wake
        self._boot = boot
        self._observers = observers

    async def conclude(self, task: DeliveryTask, kept: KeptLease, made: Attempt) -> None:
        """Show the observers what an attempt led to, write it, and let the lease go."""
        try:
            self._observers.attempted(task, made)
            try:
                await self._settle(task, kept, made)
            except Exception:
                log.exception("%s: internal error in writing the outcome; the replies are left out", made.message_id)
                await self._settle(task, kept, without_words(made))
        finally:
            self._lease_keeper.drop(kept)

    def _settlement(self, task: DeliveryTask, made: Attempt) -> Settlement:
        now, chance = self._clock.now(), self._chance.random()
        schedule = self._ways.settings(task.lease.next_hop, task.envelope.sender_domain).schedule
        reading = Reading(now, self._clock.monotonic(), self._boot)
        return settle(task, made, now=now, schedule=schedule, chance=chance, reading=reading)

    async def _settle(self, task: DeliveryTask, kept: KeptLease, made: Attempt) -> None:
        """Write what the attempt led to, trying as long as the lease lasts (once more, when stopping)."""
        settlement = all_delivered(task, made) or self._settlement(task, made)
        pause = STORE_PAUSE_SECONDS
        while True:
            now = self._clock.now()
            last_chance = self.stopping or now + pause >= kept.lease.expires_at
            try:
                if kept.lease.expires_at <= now:
                    await self._lease_keeper.renew(kept)
                await self._store.settle(kept.lease, settlement, made, now=now)
            except LeaseLost:
                log.warning("%s: the lease was lost before the outcome was written", made.message_id)
                return
            except StoreFailed as error:
                log.warning("%s: the outcome cannot be written: %s", made.message_id, error)
            else:
                if settlement.failed:
                    self._observers.failed(task, made, settlement)
                if settlement.failed or settlement.relayed:
                    self._failed()
                if settlement.deferred:
                    self._wake()
                return
            if last_chance:
                log.error("%s: the outcome is not written; it is tried again and may come twice", made.message_id)
                return
            await asyncio.sleep(pause)
            pause *= 2
