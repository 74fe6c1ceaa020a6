"""How much of a turn of the event loop lookups may use: others run in the same loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

SLICE_SECONDS = 0.003  # of work in one turn of the event loop, by all lookups together; in a long turn, more
MAX_SLICE_SECONDS = 0.02  # chosen: nobody notices a turn of twice that; hostile answers could use all of it


class WorkSlice:
    """Work that all lookups share: about a slice of it in one turn of the event loop, so that others get theirs.

    In a turn that others make long, the slice is as long as their part: with less, lookups would fall behind just when
    there is most to look up. Pieces of work are functions, which never raise; one that goes on for long asks `over`
    now and then, and comes again by `call`.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._used = 0.0  # by work that is done
        self._begun: float | None = None  # when the work began that is being done
        self._slice = SLICE_SECONDS
        self._counting = False  # whether a turn is being measured
        self._turned_at = 0.0  # when it began
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def over(self) -> bool:
        """Whether nothing is left of the slice, or others wait for their part of it."""
        if self._waiting:
            return True
        now = self._used if self._begun is None else self._used + self._clock() - self._begun
        return now > self._slice

    def call(self, work: Callable[[], None]) -> None:
        """Have work done at once, or in a later turn when the slice is used up; who has waited longest goes first."""
        if self._begun is None:
            if self._waiting or self._used > self._slice:
                self._waiting.append(work)
            else:
                self._do(work)
        elif self.over:
            self._waiting.append(work)
        else:  # it is a part of the work that is being done
            work()

    def _do(self, work: Callable[[], None]) -> None:
        self._begun = begun = self._clock()
        if not self._counting:
            self._counting, self._turned_at = True, begun
            asyncio.get_running_loop().call_soon(self._renew)
        try:
            work()
        finally:
            self._used += self._clock() - begun
            self._begun = None

    def _renew(self) -> None:
        """A new slice for the next turn, and those who wait, as far as it will do."""
        others = self._clock() - self._turned_at - self._used
        self._slice = min(MAX_SLICE_SECONDS, max(SLICE_SECONDS, others))
        self._used, self._counting = 0.0, False
        while self._waiting and self._used <= self._slice:
            self._do(self._waiting.popleft())
