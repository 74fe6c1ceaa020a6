"""How much of a turn of the event loop lookups may use: others run in the same loop."""

import asyncio
import time
from collections import deque

SLICE_SECONDS = 0.003  # of work in one turn of the event loop, by all lookups together
MAX_WOKEN = 8  # in one turn: a slice is rarely enough for more


class WorkSlice:
    """Work that all lookups share: about a slice of it in one turn of the event loop, so that others get theirs."""

    def __init__(self) -> None:
        self._used = 0.0
        self._begun = 0.0
        self._counting = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def come(self) -> None:
        """Wait until something is left of the slice; the longest waiter goes first."""
        first = True
        while self._used > SLICE_SECONDS or (first and self._waiting):
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if first:
                self._waiting.append(waiting)
            else:
                self._waiting.appendleft(waiting)
            first = False
            await waiting

    def __enter__(self) -> None:
        self._count()
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._used += time.perf_counter() - self._begun

    def _count(self) -> None:
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        """A new slice for the next turn, and some of those who wait: waking all of many would be work itself."""
        self._used, self._counting = 0.0, False
        for _ in range(min(MAX_WOKEN, len(self._waiting))):
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if self._waiting:
            self._count()
