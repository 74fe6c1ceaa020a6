"""Shared limits of all sessions: how many there are, and how many octets they hold."""

import ipaddress
from collections import Counter
from collections.abc import Callable

from letterlock.mail.checked_content import SPOOLED_OCTETS
from letterlock.mail.replies import Reply
from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.receive.pipeline import Facts
from letterlock.smtp.server_events import SenderOffered

TOO_MANY = Reply(421, ("4.3.2 Too many connections, try again later",))
TOO_MANY_FROM_YOU = Reply(421, ("4.7.0 Too many connections from your address",))
NO_MEMORY = Reply(452, ("4.3.1 Too much mail at once, try again later",))
STORE_FULL = Reply(452, ("4.3.1 Insufficient system storage",))
STORE_FAILED = Reply(451, ("4.3.0 The message could not be stored, try again later",))
COPIES = 2  # of a message in memory: as it came, and as it goes to disk
_IPV6_CLIENT_PREFIX = 64  # one subscriber has at least this much (RFC 6177)


def store_reply(error: StoreFailed) -> Reply:
    """The refusal of a message that the store did not take."""
    return STORE_FULL if isinstance(error, StoreFull) else STORE_FAILED


class Admission:
    """Counts connections: `max_connections` in all, `max_per_client` of one client, at the same time."""

    def __init__(self, *, max_connections: int, max_per_client: int) -> None:
        self._max_connections = max_connections
        self._max_per_client = max_per_client
        self._clients: Counter[str] = Counter()
        self._connections = 0

    def reload(self, *, max_connections: int, max_per_client: int) -> None:
        """Take other limits from now on. Present clients stay."""
        self._max_connections, self._max_per_client = max_connections, max_per_client

    def admit(self, address: str) -> Reply | None:
        """Count a connection in; or the reply that turns it away, uncounted."""
        client = _client(address)
        if self._connections >= self._max_connections:
            return TOO_MANY
        if self._clients[client] >= self._max_per_client:
            return TOO_MANY_FROM_YOU
        self._connections += 1
        self._clients[client] += 1
        return None

    def leave(self, address: str) -> None:
        """Count an admitted connection out."""
        client = _client(address)
        self._connections -= 1
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]


def _client(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that anybody gets in IPv6."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, _IPV6_CLIENT_PREFIX), strict=False))


class MemoryBudget:
    """Octets of message content that all sessions may hold before it is on disk."""

    def __init__(self, max_octets: int) -> None:
        self._max_octets = max_octets
        self._held = 0

    def reload(self, max_octets: int) -> None:
        """Take another limit from now on; what is held beyond it stays held."""
        self._max_octets = max_octets

    def has_room(self, octets: int) -> bool:
        """Whether that much more would fit."""
        return self._held + octets <= self._max_octets

    def change(self, before: int, after: int) -> bool:
        """Hold `after` octets instead of `before`; False, and nothing changes, when that is too much."""
        held = self._held + after - before
        if after > before and held > self._max_octets:
            return False
        self._held = held
        return True


class RequireRoom:
    """Refuses a sender whose message, at its declared SIZE, fits neither the disk nor the memory now."""

    def __init__(self, memory: MemoryBudget, has_room_on_disk: Callable[[int], bool]) -> None:
        self._memory = memory
        self._has_room_on_disk = has_room_on_disk

    def sender(self, _facts: Facts, offer: SenderOffered) -> Reply | None:
        """452 while there is no room (RFC 1870 section 6.1)."""
        octets = offer.size or 0
        if not self._has_room_on_disk(octets):
            return STORE_FULL
        held = min(octets, SPOOLED_OCTETS)  # of a larger one, the rest goes to the disk as it comes
        return None if self._memory.has_room(COPIES * held) else NO_MEMORY
