"""What was found out within the last second is not asked for again.

A destination that many messages go to is looked at once a second, and not once a message. Answers stay as they were
validated, and no record is believed for longer than a message would be under way: that second is less than any TTL but
zero, and an answer whose TTL is zero may serve the whole of the work that it was asked for (RFC 1035 section 3.2.1).
What ends within the second, such as a negative trust anchor or an exception, is remembered until then.
"""

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.resolver.answer import LookupFailure
from letterlock.routing.routes import NextHop

RECENT_SECONDS = 1.0
MAX_RECENT = 1000
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class FindsOut(Protocol):
    """Who is asked: a Discoverer."""

    def destination_key(self, domain: str) -> str:
        """Where mail for a domain goes."""

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """What is known of a next hop."""

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Whether the domain's MTA-STS policy is another one by now."""

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """What is known of one of its hosts."""


class RecentDiscoverer:
    """A Discoverer with a memory of a second. What could not be found out is not remembered."""

    def __init__(self, discoverer: FindsOut, monotonic: Callable[[], float]) -> None:
        self._discoverer = discoverer
        self._destinations: _Memory[tuple[NextHop, str | None], DestinationEvidence] = _Memory(monotonic)
        self._led: dict[str, str] = {}  # by the operator's routes, which stay as they are
        self._hosts: _Memory[tuple[MxHost, int], TargetHost] = _Memory(monotonic)

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
        """What is known of a next hop."""
        key = next_hop, sender
        known = self._destinations.get(key)
        if known is None:
            known = await self._discoverer.destination(next_hop, sender)
            if not isinstance(known.mx, LookupFailure):
                self._destinations.put(key, known, known.ends_at - known.at)
        return known

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Whether the domain's MTA-STS policy is another one by now (RFC 8461 section 5.1)."""
        changed = await self._discoverer.reconsider(evidence)
        if changed:
            self._destinations.clear()
        return changed

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """What is known of one of its hosts."""
        key = host, port
        known = self._hosts.get(key)
        if known is None:
            known = await self._discoverer.host(host, port)
            if not any(isinstance(one, LookupFailure) for one in (*known.address_lookups, known.tlsa)):
                self._hosts.put(key, known, known.ends_at - known.at)
        return known


class _Memory(Generic[_Key, _Value]):
    """At most MAX_RECENT values, each for RECENT_SECONDS at most."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[_Key, tuple[float, _Value]] = {}

    def get(self, key: _Key) -> _Value | None:
        """What was put under a key within the last second."""
        found = self._known.get(key)
        return found[1] if found is not None and self._monotonic() < found[0] else None

    def put(self, key: _Key, value: _Value, seconds: float) -> None:
        """Remember for so long, and RECENT_SECONDS at most."""
        if len(self._known) >= MAX_RECENT:
            self._known.clear()
        self._known[key] = self._monotonic() + min(RECENT_SECONDS, seconds), value

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
