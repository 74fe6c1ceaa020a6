"""Keeps the resolver's trust anchors fresh: looks at each anchored zone's keys in time, and remembers (RFC 5011)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import dns.name

from letterlock.ports import Clock
from letterlock.queue.store import StoreFailed
from letterlock.resolver import Resolver, TrustAnchor
from letterlock.resolver.rollover import TrustPoint, follow

log = logging.getLogger("letterlock.anchors")
MIN_PAUSE_SECONDS = 60.0


class Memory(Protocol):
    """Where a trust point is kept over restarts."""

    def load(self) -> TrustPoint:
        """What was kept."""

    def save(self, point: TrustPoint) -> None:
        """Keep it. Raises StoreFailed."""


class AnchorKeeper:
    """Follows the keys of every zone that has an anchor. `restore` first, then `run` until it is cancelled."""

    def __init__(
        self,
        resolver: Resolver,
        remember: Callable[[dns.name.Name, tuple[TrustAnchor, ...]], Memory],
        clock: Clock,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._configured = resolver.anchors
        self._memories = {zone: remember(zone, self._given(zone)) for zone in {each.zone for each in self._configured}}
        self._points: dict[dns.name.Name, TrustPoint] = {}

    def _given(self, zone: dns.name.Name) -> tuple[TrustAnchor, ...]:
        return tuple(anchor for anchor in self._configured if anchor.zone == zone)

    def restore(self) -> None:
        """Trust what was learnt before the last stop."""
        self._points = {zone: memory.load() for zone, memory in self._memories.items()}
        self._trust()

    def _trust(self) -> None:
        """Where a zone's keys are known they are the anchors; else the configured ones."""
        trusted = tuple(anchor for zone, point in self._points.items() for anchor in point.anchors or self._given(zone))
        if set(trusted) != set(self._resolver.anchors):
            self._resolver.trust(trusted)

    async def run(self) -> None:
        """Look when it is time, for ever."""
        while True:
            for zone, point in tuple(self._points.items()):
                if point.check_at <= self._clock.now():
                    await self.look(zone)
            due = min((point.check_at for point in self._points.values()), default=float("inf"))
            await asyncio.sleep(max(MIN_PAUSE_SECONDS, min(due - self._clock.now(), 86_400.0)))

    async def look(self, zone: dns.name.Name) -> None:
        """Look at one zone's keys now, trust what follows, and remember it."""
        before = self._points[zone]
        after = follow(before, self._given(zone), await self._resolver.published_keys(zone), self._clock.now())
        self._points[zone] = after
        _tell(before, after)
        self._trust()
        try:
            self._memories[zone].save(after)
        except StoreFailed as error:
            log.warning("%s", error)


def _tell(before: TrustPoint, after: TrustPoint) -> None:
    """Log what became of each key."""
    was = {each.key.key: each.state for each in before.keys}
    for each in after.keys:
        if was.get(each.key.key) is not each.state:
            log.info("trust anchor of %s: key %s is %s", after.zone, each.tag, each.state.value)
