"""The outside world as protocols, which rooms are handed instead of looking for it."""

from collections.abc import Callable, Sequence
from typing import Protocol

import dns.rdatatype

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.memory.learning import Learned, Sighting
from letterlock.memory.remembered import DomainMemory
from letterlock.mtasts import KnownPolicy
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.resolver.rollover import TrustPoint


class Clock(Protocol):
    """The time."""

    def now(self) -> float:
        """Seconds since 1970 (UTC)."""

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines and durations."""


class Resolver(Protocol):
    """Validated DNS.

    One may also have `look_up`, with the same arguments: it begins a lookup at once and returns its future.
    """

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        """Look up a name (A-labels; service labels such as `_25._tcp.` may stand before it). Never raises for DNS."""


class Stream(Protocol):
    """A connection, in clear or inside TLS. Deadlines are the caller's (asyncio.timeout)."""

    @property
    def peer(self) -> str:
        """The peer's IP address."""

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not read, not even the end: only then may an idle one be used again."""

    async def read(self, max_octets: int) -> bytes:
        """Some octets, at least one; b"" at the end. Raises OSError (ConnectionError, TLS faults included)."""

    async def write(self, data: bytes) -> None:
        """Hand over octets and wait until the buffer is below its mark. Raises OSError."""

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        """Write `first`, then read (as `read` does) and write the result of `answer`, until that is None.

        The last that it is given is b"", the end; what it gives then is not written. What it raises is raised here, and
        so is OSError.
        """

    async def close(self) -> None:
        """End politely (TLS close_notify), bounded in time. Never raises."""

    def abort(self) -> None:
        """Drop the connection at once."""


class Dialer(Protocol):
    """Outgoing connections."""

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to one judged address. Raises OSError (TimeoutError included)."""

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """TLS over a stream that said 220 to STARTTLS. Accepts any certificate: the policy judges the chain.

        `compatible` offers P-256 only, for servers that choke on a large ClientHello. After HandshakeFailed the
        stream is of no use and is aborted.
        """


class Rates(Protocol):
    """How much somebody has sent lately, counted by all workers together."""

    def take(self, key: str, cost: float, most: float, seconds: float, now: float) -> float:
        """Count a cost for a key, of which at most `most` may come within `seconds`: 0.0, or how long it has to wait.

        `now` is the monotonic time. What has to wait is not counted.
        """

    def add(self, key: str, cost: float, most: float, seconds: float, now: float) -> float:
        """Count a cost for a key in any case, up to `most`: how much is counted then. It is forgotten evenly."""

    def counted(self, key: str, most: float, seconds: float, now: float) -> float:
        """How much is counted for a key at `now`, where `most` may be counted in `seconds`."""

    def forget(self, key: str) -> None:
        """Nothing is counted for a key any more."""


class PolicyMemory(Protocol):
    """MTA-STS policies, for all workers and over restarts. Every verb may raise queue.store.StoreFailed."""

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        """The remembered policy of one domain, expired or not. `used_at`: mail needs it now (seconds since 1970)."""

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        """Policies that hold and are to be fetched again, the longest due first."""

    async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
        """Replace what is remembered of a domain (None: nothing), if that is still `before`; whether it was."""


class RemembersDomains(Protocol):
    """What is remembered of domains, to look at. May raise queue.store.StoreFailed."""

    async def load(self, domain: str) -> DomainMemory | None:
        """What is remembered of a domain."""


class ProtectionMemory(RemembersDomains, Protocol):
    """What is remembered of domains, for all workers and over restarts. May raise queue.store.StoreFailed."""

    async def learn(self, sightings: Sequence[Sighting], now: float) -> Sequence[Learned]:
        """Work sightings into what is remembered; the domains at which a difference began or ended."""

    async def forget(self, domains: Sequence[str] | None) -> int:
        """Forget domains, or everything (None), a damaged file included, which is set aside; how many were known."""

    async def page(self, after: str, limit: int) -> Sequence[tuple[str, DomainMemory | None]]:
        """The domains behind `after`, in their order; None for one that cannot be read."""

    async def alarms(self, now: float, limit: int) -> Sequence[DomainMemory]:
        """The domains at which a difference was seen these days, the last ones first."""

    async def count(self) -> int:
        """How many domains are remembered."""


class TrustPointMemory(Protocol):
    """One trust point, for all workers and over restarts. Every verb may raise queue.store.StoreFailed."""

    def load(self) -> TrustPoint:
        """The stored state."""

    def change(self, change: Callable[[TrustPoint], TrustPoint]) -> TrustPoint:
        """Replace the stored state by what follows from it; no other process changes it meanwhile."""
