"""Loopback addresses and a port that nobody else uses: a /24 of 127.0.0.0/8 for each box (RFC 5735 section 3)."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from letterlock.policy.implicit import IMPLICIT_PORT

MAX_TRIES = 50  # chosen: of 65,536 networks hardly any is in use


class NoFreeAddresses(OSError):
    """No network of loopback addresses was free. `str()` says what was tried."""


@dataclass(frozen=True, slots=True)
class Berths:
    """Two ports on several addresses of one network, bound: `sockets[n]` is bound to `address(n)`.

    `implicit_port` is the one where TLS comes first; nobody listens there unless the lab's domains announce it.
    """

    network: str  # the first three octets
    port: int
    sockets: tuple[socket.socket, ...]
    implicit_port: int = 0
    implicit_sockets: tuple[socket.socket, ...] = ()

    def address(self, number: int) -> str:
        """The address of a berth."""
        return f"{self.network}.{number + 1}"


@contextmanager
def reserved(count: int, *, port: int = 0) -> Iterator[Berths]:
    """Bind `count` addresses to two common ports: free ones, or the one named and 465. Closes what is open at the end.

    Raises NoFreeAddresses.
    """
    with ExitStack() as stack:
        for _ in range(MAX_TRIES):
            try:
                berths = _berths(stack, _random_network(), count, port)
            except OSError:
                stack.close()
                continue
            yield berths
            return
        raise NoFreeAddresses(
            f"tried {MAX_TRIES} networks of 127.0.0.0/8; none let {count} addresses share ports (Linux has them all)"
        )


def _random_network() -> str:
    """Out of the way of 127.0.0.0/16, where people put their own things."""
    return f"127.{16 + secrets.randbelow(224)}.{secrets.randbelow(256)}"


def _berths(stack: ExitStack, network: str, count: int, port: int) -> Berths:
    sockets = _bind(stack, network, count, port)
    implicit = _bind(stack, network, count, port and IMPLICIT_PORT)
    return Berths(network, _port_of(sockets), sockets, _port_of(implicit), implicit)


def _port_of(sockets: tuple[socket.socket, ...]) -> int:
    return int(sockets[0].getsockname()[1])


def _bind(stack: ExitStack, network: str, count: int, port: int) -> tuple[socket.socket, ...]:
    sockets: list[socket.socket] = []
    for number in range(count):
        bound = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        bound.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port != 0)
        )  # a named port may have been used before
        bound.bind((f"{network}.{number + 1}", port))
        port = bound.getsockname()[1]
        sockets.append(bound)
    return tuple(sockets)
