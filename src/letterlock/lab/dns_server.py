"""A DNS server on one loopback address, UDP and TCP on the same port (RFC 1035 section 4.2)."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import dns.exception
import dns.flags
import dns.message

from letterlock.lab.raw_listener import accepting

Answerer = Callable[[dns.message.Message], dns.message.Message | None]
"""From a query to its answer; None: it is never answered."""

MAX_CLASSIC_OCTETS = 512  # RFC 1035 section 4.2.1
IDLE_SECONDS = 30.0  # chosen: the lab asks more often
MAX_BIND_TRIES = 50  # chosen: UDP and TCP must be free at one port


class NoFreePort(OSError):
    """No port was free for UDP and TCP alike."""


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answer: Answerer) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = _parse(data)
        if query is None or self._transport is None:
            return
        limit = max(query.payload, MAX_CLASSIC_OCTETS) if query.edns >= 0 else MAX_CLASSIC_OCTETS
        response = self._answer(query)
        if response is not None:
            self._transport.sendto(response.to_wire(max_size=limit, prefer_truncation=True), addr)


def _parse(wire: bytes) -> dns.message.Message | None:
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:  # it asks nothing that could be answered
        return None
    is_query = not query.flags & dns.flags.QR and len(query.question) == 1
    return query if is_query else None


async def _converse(answer: Answerer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the queries of one TCP connection until it ends or is idle."""
    with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError):  # the client has gone, or is idle
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = _parse(await reader.readexactly(length))
            if query is None:
                break
            response = answer(query)
            if response is None:
                continue
            wire = response.to_wire(max_size=65535)
            writer.write(struct.pack("!H", len(wire)) + wire)
            await writer.drain()


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    for _ in range(MAX_BIND_TRIES):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past sessions keep no named port from a new server
        udp.bind((address, port))
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        return udp, tcp
    raise NoFreePort(f"no port of {address} is free for UDP and TCP")


@asynccontextmanager
async def serving(address: str, answer: Answerer, *, port: int = 0) -> AsyncIterator[int]:
    """Answer queries on an address, at a free port if none is named; gives the port."""
    udp, tcp = _bind_both(address, port)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(answer, reader, writer)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Udp(answer), sock=udp)
    try:
        async with accepting(tcp, converse):
            yield udp.getsockname()[1]
    finally:
        transport.close()
