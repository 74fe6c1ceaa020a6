"""How much of a turn of the event loop lookups may use: others run in the same loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

SLICE_SECONDS = 0.003  # of work in one turn of the event loop, by all lookups together; in a long turn, more
MAX_SLICE_SECONDS = 0.02  # chosen: nobody notices a turn of twice that; hostile answers could use all of it
STEP_SECONDS = 0.0001  # what a step takes that verifies nothing: so many waiters are woken as a slice is enough for


class WorkSlice:
    """Work that all lookups share: about a slice of it in one turn of the event loop, so that others get theirs.

    In a turn that others make long, the slice is as long as their part: with less, lookups would fall behind just when
    there is most to look up.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._used = 0.0
        self._begun = 0.0
        self._slice = SLICE_SECONDS
        self._counting = False  # whether a turn is being measured
        self._turned_at = 0.0  # when it began
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def come(self) -> None:
        """Wait until something is left of the slice; the longest waiter goes first."""
        first = True
        while self._used > self._slice or (first and self._waiting):
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if first:
                self._waiting.append(waiting)
            else:
                self._waiting.appendleft(waiting)
            first = False
            await waiting

    def __enter__(self) -> None:
        self._begun = self._clock()
        if not self._counting:
            self._count(self._begun)

    def __exit__(self, *_: object) -> None:
        self._used += self._clock() - self._begun

    def _count(self, now: float) -> None:
        self._counting, self._turned_at = True, now
        asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        """A new slice for the next turn, and those who wait, as far as it will do: waking more would be work itself."""
        now = self._clock()
        others = now - self._turned_at - self._used
        self._slice = min(MAX_SLICE_SECONDS, max(SLICE_SECONDS, others))
        self._used, self._counting = 0.0, False
        for _ in range(min(int(self._slice / STEP_SECONDS), len(self._waiting))):
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if self._waiting:
            self._count(now)
