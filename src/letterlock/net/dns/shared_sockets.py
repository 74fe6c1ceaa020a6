"""Sockets that queries to a resolver on this machine share, at a port below 1024.

A query across a network goes out from a port of its own, so that who cannot see it must guess that port as well as its
id (RFC 5452 section 4.5). Nothing that comes from a network has a loopback address as its source, and on this machine
only root, or who may bind such ports, could send from the resolver's. So there a socket serves query after query, told
apart by their ids, and none has to be made and closed: 21 → 8 µs of CPU per query.

A machine may be set up so that this does not hold (route_localnet, ip_unprivileged_port_start). So a socket is given up
after MAX_STRAYS datagrams that answer no query, and so it is when it fails: it cannot be told which query an error is
for. Those that wait are then asked again, each from a port of its own.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Protocol

from letterlock.net.connecting import nonblocking_socket
from letterlock.net.dns.upstream import Upstream
from letterlock.net.socket_address import socket_address

MAX_DATAGRAM_OCTETS = 4096  # chosen: more than the 1,232 that we offer, for upstreams that send more
MAX_STRAYS = 64  # chosen: a guesser has then tried 64 of 65,536 ids; what comes next goes another way
PRIVILEGED_PORTS = 1024  # ip(7): below it, one must be root or have CAP_NET_BIND_SERVICE
MAX_ASKED = 64  # chosen: their replies, 2 KB each as the kernel counts, fit into a socket's usual buffer of 208 KB
MAX_SOCKETS = 8  # chosen: 512 queries at once; beyond, each has a socket of its own
MAX_READ = 16  # chosen: replies of one turn of the event loop; others want the loop, too
_ID_OCTETS = 2  # RFC 1035 section 4.1.1


class Asking(Protocol):
    """A query that waits for its reply."""

    def heard(self, reply: bytes) -> None:
        """A datagram with the query's id came."""

    def given_up(self) -> None:
        """No reply will come by this socket: ask again."""


def is_local(upstream: Upstream) -> bool:
    """Whether nobody but root, or the resolver itself, can send what seems to come from there."""
    address = ipaddress.ip_address(upstream.address.partition("%")[0])
    return address.is_loopback and upstream.port < PRIVILEGED_PORTS


class SharedSockets:
    """The sockets for one resolver; `stray` is called for each datagram that answers no query."""

    def __init__(self, upstream: Upstream, stray: Callable[[], None]) -> None:
        self._upstream = upstream
        self._stray = stray
        self._sockets: list[SharedSocket] = []

    def socket_for(self, query: bytes) -> "SharedSocket | None":
        """A socket on which no other query has this one's id; None where there is no room for it. Raises OSError."""
        identity = query[:_ID_OCTETS]
        for each in self._sockets:
            if len(each.asked) < MAX_ASKED and identity not in each.asked:
                return each
        if len(self._sockets) == MAX_SOCKETS:
            return None
        made = SharedSocket(self._upstream, self._stray, self._sockets.remove)
        self._sockets.append(made)
        return made

    def close(self) -> None:
        """Close all; nobody waits for a reply any more."""
        for each in tuple(self._sockets):
            each.close()


class SharedSocket:
    """One of them. Raises OSError where it cannot be made."""

    __slots__ = ("_closed", "_loop", "_over", "_socket", "_stray", "_strays", "asked")

    def __init__(self, upstream: Upstream, stray: Callable[[], None], closed: "Callable[[SharedSocket], None]") -> None:
        """`closed` is called with the socket when it takes no more queries."""
        self.asked: dict[bytes, Asking] = {}  # by id
        self._stray = stray
        self._strays = 0
        self._closed = closed
        self._over = False
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
        self._socket = nonblocking_socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.connect(socket_address(upstream.address, upstream.port))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._read)

    def send(self, query: bytes, asking: Asking) -> bool:
        """Send a query; its reply goes to `asking`. False: the socket failed, and is given up."""
        self.asked[query[:_ID_OCTETS]] = asking
        try:
            self._socket.send(query)
        except BlockingIOError:  # no room in the kernel: lost like one that the network loses, and sent again
            return True
        except OSError:  # of a query before, perhaps
            self.forget(query)
            self.give_up()
            return False
        return True

    def forget(self, query: bytes) -> None:
        """Nobody waits for the reply to a query any more."""
        self.asked.pop(query[:_ID_OCTETS], None)

    def close(self) -> None:
        """Take no more queries."""
        if self._over:
            return
        self._over = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._closed(self)

    def _read(self) -> None:
        for _ in range(MAX_READ):
            if self._over:
                return
            try:
                reply = self._socket.recv(MAX_DATAGRAM_OCTETS)
            except BlockingIOError:  # that was all
                return
            except OSError:
                self.give_up()
                return
            asking = self.asked.get(reply[:_ID_OCTETS])
            if asking is not None:
                asking.heard(reply)
                if not self.asked:  # nothing more is expected; what comes all the same is read in a later turn
                    return
                continue
            self._stray()
            self._strays += 1
            if self._strays == MAX_STRAYS:
                self.give_up()

    def give_up(self) -> None:
        """Close it, and have those who wait ask again."""
        self.close()
        for asking in tuple(self.asked.values()):
            asking.given_up()
