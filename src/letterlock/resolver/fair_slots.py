"""A bounded number of slots, given out fairly: a domain whose servers are slow does not hold up others.

A free slot is given at once. When none is free, the group that holds the fewest gets the next one. A lookup that has
held a slot for longer than `patience_seconds` loses it and continues without one: an honest lookup takes milliseconds.
When too many continue in this way, the oldest one of the largest group has to give way.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Hashable

import dns.name

_COUNTRY, _CATEGORY = 2, 3  # the length of `uk`, and the most that `co`, `ac`, `org` have in example.co.uk


class Holder(ABC):
    """One who wants a slot, or has one."""

    __slots__ = ("aside", "group", "holds", "over", "since")

    def __init__(self, group: Hashable) -> None:
        self.group = group
        self.since = 0.0
        self.holds = False
        self.aside = False  # it goes on without its slot
        self.over = False

    @abstractmethod
    def begin(self) -> None:
        """It has its slot."""

    @abstractmethod
    def give_way(self, why: str) -> None:
        """It took too long, as too many others do: it is to `end`. `why` says so in a sentence."""


class FairSlots:
    """`limit` slots in one event loop, and room for `aside` that have had theirs for long."""

    def __init__(self, limit: int, aside: int, patience_seconds: float) -> None:
        self._limit, self._most_aside = limit, aside
        self._patience_seconds = patience_seconds
        self._held: dict[Hashable, int] = {}  # by those that hold any
        self._holders: dict[Holder, None] = {}  # the oldest first
        self._aside: dict[Holder, None] = {}
        self._waiting: dict[Hashable, deque[Holder]] = {}  # whose turn it is first
        self._newest = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def free(self) -> bool:
        """Whether a slot can be had without waiting."""
        return len(self._holders) < self._limit

    def take(self, holder: Holder) -> None:
        """Have `begin` called with a slot: at once if one is free, else in a later turn of the event loop."""
        if len(self._holders) < self._limit:
            self._give(holder)
            holder.begin()
            return
        self._waiting.setdefault(holder.group, deque()).append(holder)
        self._watch()

    def end(self, holder: Holder) -> None:
        """The holder needs its slot no more, or waits for one no more."""
        if holder.over:
            return
        holder.over = True
        if holder.aside:
            self._aside.pop(holder, None)
        elif holder.holds:
            del self._holders[holder]
            self._give_back(holder.group)

    def _give(self, holder: Holder) -> None:
        holder.holds, holder.since = True, asyncio.get_running_loop().time()
        self._holders[holder] = None
        group, held = holder.group, self._held
        held[group] = held.get(group, 0) + 1

    def _give_back(self, group: Hashable) -> None:
        """A slot is free: give it to the waiting group that holds the fewest; among equals, in turn."""
        left = self._held.pop(group) - 1
        if left:
            self._held[group] = left
        while self._waiting:
            chosen = self._neediest()
            queue = self._waiting.pop(chosen)
            holder = queue.popleft()
            if queue:
                self._waiting[chosen] = queue  # behind the others
            if not holder.over:  # who gave up waiting is skipped
                self._give(holder)
                asyncio.get_running_loop().call_soon(_begin, holder)
                return

    def _neediest(self) -> Hashable:
        """The waiting group that holds the fewest. Groups that hold some are never more than there are slots.

        Among equals by turns the one that has waited longest and the one that came last: behind a thousand domains
        that nobody can look up, an ordinary one would otherwise wait for all of them.
        """
        self._newest = not self._newest
        order = reversed(self._waiting) if self._newest else iter(self._waiting)
        empty = next((group for group in order if group not in self._held), None)
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
        return self._held.get(self._neediest(), 0) if self._waiting else math.inf

    def _set_aside(self, holder: Holder) -> None:
        del self._holders[holder]
        holder.aside = True
        self._aside[holder] = None
        if len(self._aside) > self._most_aside:
            sizes = Counter(each.group for each in self._aside)
            [(largest, _)] = sizes.most_common(1)
            oldest = next(each for each in self._aside if each.group == largest)
            del self._aside[oldest]
            loop = asyncio.get_running_loop()
            took = f"no reply within {loop.time() - oldest.since:.0f} s, and others waited"
            loop.call_soon(_give_way, oldest, took)
        self._give_back(holder.group)


def _begin(holder: Holder) -> None:
    if not holder.over:
        holder.begin()


def _give_way(holder: Holder, why: str) -> None:
    if not holder.over:
        holder.give_way(why)


def domain_of(name: dns.name.Name) -> tuple[bytes, ...]:
    """The last labels of a name, which probably stand for one holder: `example.org`, `example.co.uk`."""
    labels = name.labels[:-1]
    country = len(labels) > 2 and len(labels[-1]) == _COUNTRY and len(labels[-2]) <= _CATEGORY
    return labels[-3:] if country else labels[-2:]
