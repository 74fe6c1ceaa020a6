"""A TCP connection in clear, as ports.Stream.

Read on demand: no octet leaves the kernel before somebody asks for it, so nothing can lie in a buffer of ours when TLS
takes over (CVE-2011-0411), and a peer that sends faster than it is read meets a full TCP window.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MAX_DISCARDED_OCTETS = 1 << 20
_DISCARD_STEP_OCTETS = 1 << 16


class TcpStream:
    """A connected TCP socket, which the stream owns from here on. One task reads and one writes at a time.

    Raises OSError when it is made and the peer is gone already; the socket is then closed.
    """

    def __init__(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer = _address(connection)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._in_hand = 0
        self._dropped = False

    @property
    def peer(self) -> str:
        """The peer's IP address."""
        return self._peer

    async def read(self, max_octets: int) -> bytes:
        """Some octets, at most `max_octets`; b"" at the end. Raises OSError."""
        with self._operation():
            return await self._loop.sock_recv(self._socket, max_octets)

    async def write(self, data: bytes) -> None:
        """Hand all octets to the kernel, however long it takes. Raises OSError."""
        with self._operation():
            await self._loop.sock_sendall(self._socket, data)

    async def close(self) -> None:
        """End after what was written. Never raises, never waits.

        What the peer sent and nobody read is thrown away first: closing over unread octets would reset the connection,
        and the peer would lose our last reply.
        """
        if not self._dropped:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
                self._discard()
        self.abort()

    def abort(self) -> None:
        """Drop the connection at once; who waits for it gets a ConnectionAbortedError."""
        if self._dropped:
            return
        self._dropped = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever waits
        if not self._in_hand:
            self._socket.close()

    def _discard(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(MAX_DISCARDED_OCTETS // _DISCARD_STEP_OCTETS):
                if not self._socket.recv(_DISCARD_STEP_OCTETS):
                    return

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """Keep the descriptor open while the event loop watches it: its number could be another's by then."""
        self._refuse_if_dropped()
        self._in_hand += 1
        try:
            yield
            self._refuse_if_dropped()
        finally:
            self._release()

    def _refuse_if_dropped(self) -> None:
        if self._dropped:
            raise ConnectionAbortedError("the connection was dropped")

    def _release(self) -> None:
        self._in_hand -= 1
        if self._dropped and not self._in_hand:
            self._socket.close()


def _address(connection: socket.socket) -> str:
    """The peer's address; an IPv4 peer of a dual-stack socket is shown as IPv4. Raises OSError."""
    address: str = connection.getpeername()[0]
    return address.partition("%")[0].removeprefix("::ffff:") if ":" in address else address
