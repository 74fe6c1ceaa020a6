"""Reuses what was found within the last five seconds (EVIDENCE_SECONDS).

A destination that many messages go to is looked at once in that time, and not once a message. Answers stay as they were
validated, and no MX, SRV, address or TLSA record is used beyond its TTL. One whose TTL is zero may serve the whole of
the work that it was asked for (RFC 1035 section 3.2.1): a second, which is no longer than a message is under way. What
ends sooner, such as a negative trust anchor or an exception, is remembered until then, and a policy that could not be
fetched for a second.
"""

from collections.abc import Callable
from typing import Protocol

from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.queue.observing import NOBODY, Observers
from letterlock.recent import EVIDENCE_SECONDS, Recent
from letterlock.resolver.answer import LookupFailure
from letterlock.routing.routes import NextHop

MAX_RECENT = 5000  # destinations, and hosts: as many as a busy worker sends to within five seconds


class FindsOut(Protocol):
    """The source of evidence: a Discoverer."""

    def destination_key(self, domain: str) -> str:
        """Where mail for a domain goes."""

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The evidence on a next hop."""

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Whether the domain's MTA-STS policy is another one by now."""

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """The evidence on one of its hosts."""


class RecentDiscoverer:
    """A Discoverer with a memory of some seconds. A failed lookup of MX records or hosts is not remembered."""

    def __init__(self, discoverer: FindsOut, monotonic: Callable[[], float], observers: Observers = NOBODY) -> None:
        """`observers` are shown what was looked up, and not what was remembered."""
        self._discoverer = discoverer
        self._monotonic = monotonic
        self._observers = observers
        self._destinations: Recent[tuple[NextHop, str | None], DestinationEvidence] = Recent(
            seconds=EVIDENCE_SECONDS, size=MAX_RECENT
        )
        self._led: dict[str, str] = {}  # by the operator's routes, which stay as they are
        self._hosts: Recent[tuple[MxHost, int], TargetHost] = Recent(seconds=EVIDENCE_SECONDS, size=MAX_RECENT)

    def destination_key(self, domain: str) -> str:
        """Where mail for a domain goes."""
        led = self._led.get(domain)
        if led is None:
            led = self._discoverer.destination_key(domain)
            if len(self._led) >= MAX_RECENT:
                self._led.clear()
            self._led[domain] = led
        return led

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The evidence on a next hop."""
        key = next_hop, sender
        known = self._destinations.get(key, self._monotonic())
        if known is None:
            known = await self._discoverer.destination(next_hop, sender)
            self._observers.looked_up(known)
            if not isinstance(known.mx, LookupFailure):
                now = self._monotonic()
                self._destinations.put(key, known, since=now, until=now + known.ends_at - known.at)
        return known

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Whether the domain's MTA-STS policy is another one by now (RFC 8461 section 5.1)."""
        changed = await self._discoverer.reconsider(evidence)
        if changed:
            self._destinations.clear()
        return changed

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """The evidence on one of its hosts."""
        key = host, port
        known = self._hosts.get(key, self._monotonic())
        if known is None:
            known = await self._discoverer.host(host, port)
            if not any(isinstance(one, LookupFailure) for one in (*known.address_lookups, known.tlsa)):
                now = self._monotonic()
                self._hosts.put(key, known, since=now, until=now + known.ends_at - known.at)
        return known
