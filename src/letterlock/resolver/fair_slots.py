"""A bounded number of slots, given out fairly: a domain whose servers are slow does not hold up others.

A free slot is given at once. When none is free, the group that holds the fewest gets the next one. A lookup that has
held a slot for longer than `patience_seconds` loses it and continues without one: an honest lookup takes milliseconds.
When too many continue in this way, the oldest one of the largest group is cancelled.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import dns.name

_COUNTRY, _CATEGORY = 2, 3  # the length of `uk`, and the most that `co`, `ac`, `org` have in example.co.uk


class GaveWay(TimeoutError):
    """It took long, and others waited for the slot."""


@dataclass(eq=False, slots=True)
class _Holder:
    group: Hashable
    since: float
    bound: asyncio.Timeout
    aside: bool = False
    leaving: bool = False


class FairSlots:
    """`limit` slots in one event loop, and room for `aside` that have had theirs for long."""

    def __init__(self, limit: int, aside: int, patience_seconds: float) -> None:
        self._limit, self._most_aside = limit, aside
        self._patience_seconds = patience_seconds
        self._held: Counter[Hashable] = Counter()
        self._taken = 0
        self._holders: dict[_Holder, None] = {}  # the oldest first
        self._aside: dict[_Holder, None] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}  # whose turn it is first
        self._newest = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free(self) -> bool:
        """Whether a slot can be had without waiting."""
        return self._taken < self._limit

    @asynccontextmanager
    async def hold(self, group: Hashable) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises GaveWay when it took long, and there were too many like it."""
        await self._take(group)
        loop = asyncio.get_running_loop()
        bound = asyncio.timeout(None)
        holder = _Holder(group, loop.time(), bound)
        self._holders[holder] = None
        try:
            async with bound:
                yield
        except TimeoutError:
            if not holder.leaving:
                raise
            raise GaveWay(f"no reply within {loop.time() - holder.since:.0f} s, and others waited") from None
        finally:
            self._aside.pop(holder, None)
            if not holder.aside:
                del self._holders[holder]
                self._give_back(group)

    async def _take(self, group: Hashable) -> None:
        if self.free:
            self._count(group, 1)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(turn)
        self._watch()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(group)  # it was given just now
            raise

    def _count(self, group: Hashable, by: int) -> None:
        self._taken += by
        self._held[group] += by
        if not self._held[group]:
            del self._held[group]

    def _give_back(self, group: Hashable) -> None:
        """Free a slot, and give it to the waiting group that holds the fewest; among equals, in turn."""
        self._count(group, -1)
        while self._waiting:
            chosen = self._neediest()
            queue = self._waiting.pop(chosen)
            turn = queue.popleft()
            if queue:
                self._waiting[chosen] = queue  # behind the others
            if not turn.done():  # waiters that gave up are skipped
                self._count(chosen, 1)
                turn.set_result(None)
                return

    def _neediest(self) -> Hashable:
        """The waiting group that holds the fewest. Groups that hold some are never more than there are slots.

        Among equals by turns the one that has waited longest and the one that came last: behind a thousand domains
        that nobody can look up, an ordinary one would otherwise wait for all of them.
        """
        self._newest = not self._newest
        order = reversed(self._waiting) if self._newest else iter(self._waiting)
        empty = next((group for group in order if not self._held[group]), None)
        return min(self._waiting, key=self._held.__getitem__) if empty is None else empty

    def _watch(self) -> None:
        """While somebody waits: look again when the oldest holder will have had its time."""
        if self._timer is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        oldest = next((each.since for each in self._holders), loop.time())
        soonest = loop.time() + self._patience_seconds / 10  # holders of a group that waits itself stay; no spinning
        self._timer = loop.call_at(max(oldest + self._patience_seconds, soonest), self._make_room)

    def _make_room(self) -> None:
        """Set those aside that have taken long, for the groups that hold fewer than theirs."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        patient = [each for each in self._holders if now - each.since >= self._patience_seconds]
        patient.sort(key=lambda each: -self._held[each.group])
        fewest = self._fewest()
        for each in patient:
            if self._held[each.group] > fewest:
                self._set_aside(each)
                fewest = self._fewest()  # asked for after each change only: there may be hundreds of both
        self._watch()

    def _fewest(self) -> float:
        """How many slots the neediest of the waiting groups holds; where none waits, more than any."""
        return self._held[self._neediest()] if self._waiting else math.inf

    def _set_aside(self, holder: _Holder) -> None:
        del self._holders[holder]
        holder.aside = True
        self._aside[holder] = None
        if len(self._aside) > self._most_aside:
            sizes = Counter(each.group for each in self._aside)
            [(largest, _)] = sizes.most_common(1)
            oldest = next(each for each in self._aside if each.group == largest)
            del self._aside[oldest]
            oldest.leaving = True
            oldest.bound.reschedule(asyncio.get_running_loop().time())
        self._give_back(holder.group)


def domain_of(name: dns.name.Name) -> tuple[bytes, ...]:
    """The last labels of a name, which probably stand for one holder: `example.org`, `example.co.uk`."""
    labels = name.labels[:-1]
    country = len(labels) > 2 and len(labels[-1]) == _COUNTRY and len(labels[-2]) <= _CATEGORY
    return labels[-3:] if country else labels[-2:]
