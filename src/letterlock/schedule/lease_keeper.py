"""The leases of what is being delivered, kept alive together.

The renewals come too late when the event loop stood still, the machine slept, or its clock was set forward. Nobody else
takes tasks from this queue, so a caller that is about to lease more first catches up (`catch_up`): what is in hand is
never leased, and delivered, a second time.
"""

import asyncio
import logging
from collections.abc import Callable

from letterlock.ports import Clock
from letterlock.queue.store import LeaseLost, StoreFailed, WorkStore
from letterlock.queue.tasks import Lease

log = logging.getLogger("letterlock.deliver")
_RENEWALS_PER_LEASE = 3  # two may fail before the lease is lost
_LATE_SHARE = 0.5  # of a lease without a renewal: one that was on time came after a third


def nobody() -> None:
    """Nobody has to know."""


class KeptLease:
    """A lease as it stands now. `lost`: somebody else may have the task by now; `on_loss` was called then."""

    __slots__ = ("lease", "lost", "on_loss")

    def __init__(self, lease: Lease, on_loss: Callable[[], None]) -> None:
        self.lease = lease
        self.lost = False
        self.on_loss = on_loss


class LeaseKeeper:
    """All leases in hand. `seconds` is how long each renewal makes one last."""

    def __init__(self, store: WorkStore, clock: Clock, seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._kept: set[KeptLease] = set()
        self._renewed_at = clock.now()

    def hold(self, lease: Lease, on_loss: Callable[[], None]) -> KeptLease:
        """Keep a lease alive until it is dropped."""
        kept = KeptLease(lease, on_loss)
        self._kept.add(kept)
        return kept

    def drop(self, kept: KeptLease) -> None:
        """Keep it alive no more."""
        self._kept.discard(kept)

    def half_gone(self, kept: KeptLease) -> bool:
        """Whether half of a lease is over."""
        return kept.lease.expires_at - self._clock.now() < self._seconds / 2

    async def run(self) -> None:
        """Renew all, again and again, until cancelled. A store that fails is asked again."""
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS_PER_LEASE)
            await self._renew_all()

    async def catch_up(self) -> None:
        """Renew all if the renewals are late."""
        if self._clock.now() - self._renewed_at > self._seconds * _LATE_SHARE:
            await self._renew_all()

    async def _renew_all(self) -> None:
        now = self._clock.now()
        await asyncio.gather(*(self._renew_or_tell(kept) for kept in tuple(self._kept)))
        self._renewed_at = now

    async def _renew_or_tell(self, kept: KeptLease) -> None:
        try:
            await self.renew(kept)
        except LeaseLost:
            self.drop(kept)
            kept.lost = True
            kept.on_loss()
        except StoreFailed as error:
            log.warning("%s: the lease could not be renewed: %s", kept.lease.message_id, error)
        except Exception:  # the leases of all other messages depend on this loop
            log.exception("%s: internal error while renewing the lease", kept.lease.message_id)

    async def renew(self, kept: KeptLease) -> None:
        """Renew a lease now. Raises LeaseLost, StoreFailed."""
        kept.lease = await self._store.renew(kept.lease, self._clock.now() + self._seconds)
