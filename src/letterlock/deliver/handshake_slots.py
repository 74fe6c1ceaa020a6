"""Slots for setting up sessions with one host, so that it never gets a crowd of handshakes or connections at once.

A host counts by its name and by each of its addresses: many names may lead to one machine, and many domains to one
host. Nobody waits here. A
delivery that finds a host busy gives back its slot and tries again when `freed` is called, so that one silent host
delays no other destination (`parking.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self


class Busy(Exception):
    """A delivery needs what others have now: it gives back all that it has, and comes again when `key` is free."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.why = why


class HostBusy(Busy):
    """As many sessions with a host are being set up, or are open, as may be; `key` is what `freed` is called with."""

    def __init__(self, key: str, host: str, *, full: bool = False) -> None:
        found = "are open as max_connections_per_host" if full else "are being set up as max_handshakes_per_host"
        super().__init__(key, f"{host}: as many sessions with it {found} allows")


def _nobody(_key: str) -> None:
    """Nobody comes again."""


def _unheard(_next_hop: str, _elapsed: float, _reply: float) -> None:
    """Nobody goes by how fast hosts are."""


def _no_room(_key: str) -> bool:
    """Nothing can be ended to make room."""
    return False


class HandshakeSlots:
    """At most `each` sessions in the making with one host name, and with one address and port; and at most
    `connections` with those that are open."""

    def __init__(self, each: int, connections: int) -> None:
        self.freed: Callable[[str], None] = _nobody  # called with a key at which there may be something to do again
        self.answered: Callable[[str, float, float], None] = _unheard  # with a next hop, then as `session.Answered`
        self.make_room: Callable[[str], bool] = _no_room  # ends an idle session with a host or address, if there is one
        self.refusals = 0  # how often a host was busy with handshakes, for monitoring
        self.fillings = 0  # how often all its connections were in use, for monitoring
        self.exhausted = 0  # how often an attempt had opened as many sessions as it may, for monitoring
        self._each = each
        self._connections = connections
        self._taken: dict[str, int] = {}  # no Counters: their look-ups are slow where there is nothing
        self._open: dict[str, int] = {}

    def reload(self, each: int, connections: int) -> None:
        """Take other limits from now on. Sessions beyond them stay until they end."""
        self._each, self._connections = each, connections

    def take(self, host: str, addresses: Sequence[str], port: int) -> "HandshakeSlot":
        """A turn at a host, for those of its addresses that are not busy themselves. Raises HostBusy."""
        free: dict[str, str] = {}
        for address in addresses:
            key = address_key(address, port)
            if self._taken.get(key, 0) < self._each:
                free[address] = key
        crowded = self._taken.get(host, 0) >= self._each
        if crowded or not free:
            self.refusals += 1
            raise HostBusy(host if crowded else address_key(addresses[0], port), host)
        keys = {address: key for address, key in free.items() if self._has_room(key)}
        room = self._has_room(host)
        if not room or not keys:
            self.fillings += 1
            raise HostBusy(next(iter(free.values())) if room else host, host, full=True)
        _count_in(self._taken, (host, *keys.values()))
        return HandshakeSlot(self, host, keys)

    def busy(self, key: str) -> bool:
        """Whether nobody may set up a session there now."""
        taken = self._taken.get(key, 0)
        return taken >= self._each or taken + self._open.get(key, 0) >= self._connections

    def _full(self, key: str) -> bool:
        return self._taken.get(key, 0) + self._open.get(key, 0) >= self._connections

    def _has_room(self, key: str) -> bool:
        """Whether there may be another connection, for which an idle one is ended if need be."""
        return not self._full(key) or (self.make_room(key) and not self._full(key))

    def opened(self, host: str, address: str, port: int) -> Callable[[], None]:
        """Count a session until the function is called that this returns: once, when the session ends."""
        keys = host, address_key(address, port)
        _count_in(self._open, keys)
        return lambda: self._count_out(self._open, keys)

    def session_free(self, host: str, address: str, port: int) -> None:
        """A session with the host waits to be used, or to be ended for another one with the same address."""
        self.freed(host)
        self.freed(address_key(address, port))

    def give_back(self, keys: Iterable[str]) -> None:
        """Count a turn out at each key."""
        self._count_out(self._taken, keys)

    def _count_out(self, counter: dict[str, int], keys: Iterable[str]) -> None:
        for key in keys:
            left = counter.pop(key) - 1
            if left:
                counter[key] = left
            if not self.busy(key):  # else the next to come would only go away again
                self.freed(key)


def _count_in(counter: dict[str, int], keys: Iterable[str]) -> None:
    for key in keys:
        counter[key] = counter.get(key, 0) + 1


def address_key(address: str, port: int) -> str:
    """What an address counts by; a host counts by its name."""
    return f"[{address}]:{port}"


class HandshakeSlot:
    """A turn at a host: it ends with the `with` block."""

    def __init__(self, handshake_slots: HandshakeSlots, host: str, keys: dict[str, str]) -> None:
        self._handshake_slots = handshake_slots
        self._host = host
        self._keys = keys

    @property
    def addresses(self) -> list[str]:
        """The addresses that may be dialled, in their order."""
        return list(self._keys)

    def settle_on(self, address: str) -> None:
        """Give back the turns at all addresses but the one that has connected."""
        if len(self._keys) > 1:
            others = [key for each, key in self._keys.items() if each != address]
            self._keys = {address: self._keys[address]}
            self._handshake_slots.give_back(others)

    def __enter__(self) -> Self:
        """The turn was taken when it was made."""
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self._handshake_slots.give_back((self._host, *self._keys.values()))
