"""Keeps the resolver's trust anchors fresh: looks at each anchored zone's keys in time, and remembers (RFC 5011)."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

import dns.name

from letterlock.ports import Clock, TrustPointMemory
from letterlock.queue.store import StoreFailed
from letterlock.resolver import TrustAnchor
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.rollover import TrustPoint, begin, follow, merge

log = logging.getLogger("letterlock.anchors")
RELOAD_SECONDS = 60.0  # how long a worker may trust a key that another one has seen revoked


class Followed(Protocol):
    """The resolver whose anchors are kept fresh."""

    @property
    def anchors(self) -> tuple[TrustAnchor, ...]:
        """The trust anchors in use now."""

    def trust(self, anchors: Iterable[TrustAnchor]) -> None:
        """Trust these from now on."""

    async def published_keys(self, zone: dns.name.Name) -> SignedRRset | None:
        """The DNSKEY RRset of a zone, nothing proven."""


class AnchorKeeper:
    """Follows the keys of every zone that has an anchor. `restore` first, then `run` until it is cancelled.

    Each worker has one. The first one looks at a zone's keys when that is due; the others take over what was
    seen. What is stored decides, and what a failing disk did not take is held in memory until it does.
    """

    def __init__(
        self,
        resolver: Followed,
        remember: Callable[[dns.name.Name, tuple[TrustAnchor, ...]], TrustPointMemory],
        clock: Clock,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._configured = resolver.anchors
        zones = {each.zone for each in self._configured}
        self._memories = {zone: remember(zone, self._given(zone)) for zone in zones}
        self._points = {zone: begin(zone) for zone in zones}

    def _given(self, zone: dns.name.Name) -> tuple[TrustAnchor, ...]:
        return tuple(anchor for anchor in self._configured if anchor.zone == zone)

    def restore(self) -> None:
        """Trust what was learnt before the last stop."""
        for zone, memory in self._memories.items():
            try:
                self._points[zone] = memory.load()
            except StoreFailed as error:
                log.critical("%s; the configured trust anchors of %s hold", error, zone)
        self._trust()

    def _trust(self) -> None:
        trusted = tuple(anchor for zone, point in self._points.items() for anchor in point.anchors(self._given(zone)))
        if set(trusted) != set(self._resolver.anchors):
            self._resolver.trust(trusted)

    async def run(self) -> None:
        """Look when it is time, and see what other workers saw, for ever."""
        while True:
            for zone in self._points:
                await self.reload(zone)
                if self._points[zone].is_due(self._clock.now()):
                    await self.look(zone)
            await asyncio.sleep(RELOAD_SECONDS)

    async def reload(self, zone: dns.name.Name) -> None:
        """Trust what another worker has seen of a zone's keys."""
        try:
            stored = await asyncio.to_thread(self._memories[zone].load)
        except StoreFailed as error:
            log.warning("%s", error)
            return
        self._adopt(zone, merge(self._points[zone], stored))

    async def look(self, zone: dns.name.Name) -> None:
        """Look at one zone's keys now, trust what follows, and store it."""
        began, held, given = self._clock.now(), self._points[zone], self._given(zone)
        signed = await self._resolver.published_keys(zone)

        def seen(stored: TrustPoint) -> TrustPoint:
            return follow(merge(held, stored), given, signed, began)

        try:
            after = await asyncio.to_thread(self._memories[zone].change, seen)
        except StoreFailed as error:
            log.warning("%s", error)
            after = seen(held)
        self._adopt(zone, after)

    def _adopt(self, zone: dns.name.Name, point: TrustPoint) -> None:
        before, self._points[zone] = self._points[zone], point
        _tell(before, point)
        self._trust()
        if point.keys != before.keys and not point.anchors(self._given(zone)):
            log.critical(
                "every trust anchor of %s was revoked: nothing below it can be validated, and its mail waits; "
                "hint: name a file with the zone's new keys in [resolver] anchors",
                zone,
            )


def _tell(before: TrustPoint, after: TrustPoint) -> None:
    """Log what became of each key."""
    was = {each.key.key: each.state for each in before.keys}
    for each in after.keys:
        if was.get(each.key.key) is not each.state:
            log.info("trust anchor of %s: key %s is %s", after.zone, each.tag, each.state.value)
