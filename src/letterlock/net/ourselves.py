"""Knows which addresses are this server's own, so that mail does not loop (RFC 5321 section 5.1)."""

import functools
import ipaddress
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from letterlock.net.sources import address_towards

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_IPV6_ADDRESSES = Path("/proc/self/net/if_inet6")  # address, interface, prefix length, scope, flags, name: proc_net(5)
_NEAR = frozenset({"10", "20"})  # scopes of the loopback interface, and of what a link makes up for itself
_LOOK_SECONDS = 5.0  # chosen: a few microseconds so often; an address that comes or goes is noticed this late


class Ourselves:
    """Where this server listens, and by which other addresses it can be reached.

    `own` are public addresses that a router translates to one of ours: a client that dials one of them, at a port that
    we listen on or at `usual_port`, gets us. `loopback`: hosts of other people's domains may be on this machine.
    """

    def __init__(
        self,
        listening: Sequence[tuple[str, int]],
        *,
        own: Iterable[str] = (),
        usual_port: int = 25,
        loopback: bool = False,
    ) -> None:
        self._listening = frozenset((_plain(address), port) for address, port in listening)
        self._ports = {port for _, port in listening}
        self._own = {_plain(address) for address in own}
        self._usual_port = usual_port
        self._loopback = loopback
        self._has_ipv6 = True
        self._looked_at = -math.inf

    def has_ipv6(self) -> bool:
        """Whether this machine can reach IPv6 addresses at all: it has one that is good beyond its link, or hosts may
        be on this machine."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._has_ipv6 = self._loopback or _has_ipv6_address()
        return self._has_ipv6

    def listens(self, address: str, port: int) -> bool:
        """Whether it is this server that answers there."""
        found = _plain(address)
        if found in self._own:
            return port in self._ports or port == self._usual_port
        if port not in self._ports:
            return False
        if found.is_unspecified:  # a connection to it goes to this machine
            return any(_meets(found, at) for at, listening in self._listening if listening == port)
        return (found, port) in self._listening or (self._everywhere(found, port) and _is_local(found))

    def only_by_route(self, address: str) -> bool:
        """Whether an address is of no use to anybody but this machine, and a host there needs a route of ours."""
        return not self._loopback and _is_here(address)

    def _everywhere(self, address: _Address, port: int) -> bool:
        wildcard = ipaddress.ip_address("::" if address.version == 6 else "0.0.0.0")  # noqa: S104  # compared with
        return (wildcard, port) in self._listening


@functools.lru_cache(maxsize=1024)  # a few servers take most mail; 200 bytes each
def _plain(address: str) -> _Address:
    """The address, without its zone, and as IPv4 where IPv6 only wraps it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


@functools.lru_cache(maxsize=1024)  # as above
def _is_here(address: str) -> bool:
    """Whether nobody but this machine can mean anything by an address."""
    found = _plain(address)
    return found.is_loopback or found.is_unspecified


def _meets(dialled: _Address, listening: _Address) -> bool:
    """Whether a connection to the unspecified address, which goes to loopback, arrives at a listening one."""
    return listening.version == dialled.version and (listening.is_unspecified or listening.is_loopback)


def _has_ipv6_address() -> bool:
    """Whether an interface has an IPv6 address for more than its link; True where that cannot be found out."""
    try:
        lines = _IPV6_ADDRESSES.read_text().splitlines()
    except FileNotFoundError:
        return not _IPV6_ADDRESSES.parent.is_dir()  # of a kernel without IPv6, or of another system
    except OSError:
        return True
    return any(line.split()[3] not in _NEAR for line in lines)


def _is_local(address: _Address) -> bool:
    """Whether an address is one of this machine's: the kernel would dial it from itself."""
    if address.is_loopback:
        return True
    source = address_towards(str(address))
    return source is not None and _plain(source) == address
