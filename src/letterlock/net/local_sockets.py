"""Connections to servers on this machine through UNIX sockets, as ports.Dialer."""

import asyncio
import errno
import socket

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.net import tls
from letterlock.net.streams import TcpStream
from letterlock.ports import Stream

_BUSY_PAUSE_SECONDS = 0.05  # chosen: a busy listener accepts connections faster than this
_MAX_TRIES = 200  # chosen: with the pause, 10 seconds


class LocalDialer:
    """Dials the path of a UNIX socket, which stands where an address stands else; the port means nothing."""

    async def dial(self, address: str, port: int) -> Stream:  # noqa: ARG002 the port is the protocol's
        """Connect to a path. While the server has no room for another connection, it is asked again. Raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await _connect(connection, address)
            return TcpStream(connection)
        except BaseException:
            connection.close()
            raise

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """TLS over a stream that said 220 to STARTTLS; see `letterlock.net.tls.start_tls`."""
        return await tls.start_tls(stream, sni, compatible=compatible)


async def _connect(connection: socket.socket, path: str) -> None:
    for _ in range(_MAX_TRIES):
        if _connected(connection, path):
            return
        await asyncio.sleep(_BUSY_PAUSE_SECONDS)
    raise OSError(errno.EAGAIN, "the server has no room for another connection")


def _connected(connection: socket.socket, path: str) -> bool:
    """For a UNIX socket, unlike TCP, EAGAIN is not `in progress` but `no room` (connect(2))."""
    try:
        connection.connect(path)
    except BlockingIOError:  # the queue of the listener is full
        return False
    return True
