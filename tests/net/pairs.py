"""Connected streams over real loopback sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from letterlock.net.streams import TcpStream


@asynccontextmanager
async def connected_sockets() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
    with left, right:
        yield left, right


@asynccontextmanager
async def connected_streams() -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    """Two ends of one TCP connection on loopback, as streams."""
    async with connected_sockets() as (left, right):
        streams = TcpStream(left), TcpStream(right)
        try:
            yield streams
        finally:
            for stream in streams:
                stream.abort()


async def read_exactly(stream: "asyncio.StreamReader | TcpStream", count: int) -> bytes:
    """Read until `count` octets are there."""
    data = b""
    while len(data) < count:
        piece = await stream.read(count - len(data))
        assert piece, f"the stream ended after {data!r}"
        data += piece
    return data
