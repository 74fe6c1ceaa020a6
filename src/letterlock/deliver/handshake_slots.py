"""Slots for setting up sessions with one host, so that it never gets a crowd of handshakes at once.

A host counts by its name and by each of its addresses: many names may lead to one machine. Nobody waits here. A
delivery that finds a host busy gives back its slot and tries again when `freed` is called, so that one silent host
delays no other destination (`parking.py`).
"""

from collections import Counter
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
    """As many sessions with a host are being set up as may be; `key` is what `freed` is called with."""

    def __init__(self, key: str, host: str) -> None:
        super().__init__(key, f"{host}: as many sessions with it are being set up as max_handshakes_per_host allows")


def _nobody(_key: str) -> None:
    """Nobody comes again."""


class HandshakeSlots:
    """At most `each` sessions in the making with one host name, and with one address and port."""

    def __init__(self, each: int) -> None:
        self.freed: Callable[[str], None] = _nobody  # called with a key at which there may be something to do again
        self.refusals = 0  # how often a host was busy, for monitoring
        self.exhausted = 0  # how often an attempt had opened as many sessions as it may, for monitoring
        self._each = each
        self._taken: Counter[str] = Counter()

    def reload(self, each: int) -> None:
        """Take another limit from now on."""
        self._each = each

    def take(self, host: str, addresses: Sequence[str], port: int) -> "HandshakeSlot":
        """A turn at a host, for those of its addresses that are not busy themselves. Raises HostBusy."""
        keys = {address: f"[{address}]:{port}" for address in addresses}
        free = [address for address in addresses if not self.busy(keys[address])]
        if self.busy(host) or not free:
            self.refusals += 1
            raise HostBusy(host if self.busy(host) else keys[addresses[0]], host)
        turn = HandshakeSlot(self, host, {address: keys[address] for address in free})
        self._taken.update((host, *(keys[address] for address in free)))
        return turn

    def busy(self, key: str) -> bool:
        """Whether nobody may set up a session there now."""
        return self._taken[key] >= self._each

    def session_free(self, host: str) -> None:
        """A session with the host waits to be used."""
        self.freed(host)

    def give_back(self, keys: Iterable[str]) -> None:
        """Count a turn out at each key."""
        for key in keys:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
            self.freed(key)


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
        others = [key for each, key in self._keys.items() if each != address]
        self._keys = {address: self._keys[address]}
        self._handshake_slots.give_back(others)

    def __enter__(self) -> Self:
        """The turn was taken when it was made."""
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self._handshake_slots.give_back((self._host, *self._keys.values()))
