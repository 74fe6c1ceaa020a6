"""Which deliveries take long: one timer for all of them."""

import asyncio
from collections.abc import Callable

from letterlock.queue.tasks import Lease

ASIDE_SECONDS = 2.0  # chosen: nearly all deliveries are done in less


class SlowWatch:
    """Calls `slow` for each lease that was begun ASIDE_SECONDS ago and has not ended.

    One timer, for the one that began first: most deliveries end before it, and cost an entry in a dict.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, slow: Callable[[Lease], None]) -> None:
        self._loop = loop
        self._slow = slow
        self._begun: dict[str, tuple[float, Lease]] = {}  # when they are slow (the event loop's time), in this order
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, lease: Lease) -> None:
        """A delivery began."""
        when = self._loop.time() + ASIDE_SECONDS
        self._begun[lease.token] = when, lease
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._look)

    def end(self, token: str) -> None:
        """It ended, whether it was slow or not."""
        self._begun.pop(token, None)

    def stop(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        for token, (when, lease) in tuple(self._begun.items()):
            if when > self._loop.time():
                self._timer = self._loop.call_at(when, self._look)
                return
            del self._begun[token]
            self._slow(lease)
