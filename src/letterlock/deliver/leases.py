"""A lease that is kept alive while its task is being delivered."""

import asyncio
import logging

from letterlock.ports import Clock
from letterlock.queue.store import Store, StoreFailed
from letterlock.queue.tasks import Lease

log = logging.getLogger("letterlock.deliver")
_RENEWALS_PER_LEASE = 3


class KeptLease:
    """The lease as it stands now. `seconds` is how long each renewal makes it last."""

    def __init__(self, lease: Lease, store: Store, clock: Clock, seconds: float) -> None:
        self.lease = lease
        self._store = store
        self._clock = clock
        self._seconds = seconds

    async def freshen(self) -> None:
        """Renew it now if half of it is gone: it may have waited long. Raises LeaseLost, StoreFailed."""
        if self.lease.expires_at - self._clock.now() < self._seconds / 2:
            await self._renew()

    async def keep(self) -> None:
        """Renew it again and again until cancelled. Raises LeaseLost; a store that fails is asked again."""
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS_PER_LEASE)
            try:
                await self._renew()
            except StoreFailed as error:
                log.warning("%s: the lease could not be renewed: %s", self.lease.message_id, error)

    async def _renew(self) -> None:
        self.lease = await self._store.renew(self.lease, self._clock.now() + self._seconds)
