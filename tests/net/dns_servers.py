"""Scripted DNS servers on loopback: UDP and TCP on one port, and TLS."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode

from letterlock.net.dns import Upstream, UpstreamTransport

Script = Callable[[bytes], Awaitable[list[bytes]]]


def query(name: str = "www.example.", rdtype: str = "A", message_id: int = 4711) -> bytes:
    """A query as the resolver would send it."""
    return dns.message.make_query(name, rdtype, want_dnssec=True, id=message_id).to_wire()


def reply(wire: bytes, *, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, text: str = "good") -> bytes:
    """A reply to a query, with a TXT record that tells who spoke."""
    asked = dns.message.from_wire(wire)
    made = dns.message.make_response(asked)
    made.set_rcode(rcode)
    made.answer.append(dns.rrset.from_text(asked.question[0].name, 60, "IN", "TXT", text))
    return made.to_wire()


def text_of(wire: bytes) -> str:
    """Who spoke."""
    return str(dns.message.from_wire(wire).answer[0][0]).strip('"')


async def good(wire: bytes) -> list[bytes]:
    """Answers everything."""
    return [reply(wire)]


async def silent(wire: bytes) -> list[bytes]:
    """Never answers."""
    return []


@dataclass
class Server:
    """What a server was asked, and how."""

    upstream: Upstream
    datagrams: list[bytes] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)
    streamed: list[bytes] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def hold(self, task: asyncio.Task[None] | None) -> None:
        """Remember a task until it ends."""
        assert task is not None
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server, script: Script) -> None:
        self._server, self._script = server, script
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagrams.append(data)
        self._server.ports.add(addr[1])
        self._server.hold(asyncio.ensure_future(self._answer(data, addr)))

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        for each in await self._script(data):
            self._transport.sendto(each, addr)


@asynccontextmanager
async def serving(
    udp: Script = good, tcp: Script | None = good, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """A server by two scripts; without `tcp` nobody listens there."""
    loop = asyncio.get_running_loop()
    server = Server(Upstream(host, 1))

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writing = asyncio.Lock()

        async def answer(wire: bytes) -> None:
            for each in await (tcp or silent)(wire):
                async with writing:
                    writer.write(struct.pack("!H", len(each)) + each)

        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    wire = await reader.readexactly(struct.unpack("!H", await reader.readexactly(2))[0])
                    server.streamed.append(wire)
                    group.create_task(answer(wire))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.hold(task := asyncio.ensure_future(converse(reader, writer)))
        # A task that is cancelled before its first step closes nothing by itself.
        task.add_done_callback(lambda _: writer.close())

    streams = await asyncio.start_server(accept, host, 0, ssl=tls)
    port = streams.sockets[0].getsockname()[1]
    bound = socket.socket(streams.sockets[0].family, socket.SOCK_DGRAM)
    bound.bind((host, port))
    datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(server, udp), sock=bound)
    server.upstream = Upstream(host, port)
    if tcp is None:
        streams.close()
    try:
        yield server
    finally:
        datagrams.close()
        streams.close()
        await asyncio.sleep(0)
        for waiting in tuple(server.tasks):
            waiting.cancel()
            await asyncio.wait({waiting})


def asking(
    *asked: Server | Upstream, timeout_seconds: float = 10.0, mixed_case: bool = False
) -> "aclosing[UpstreamTransport]":
    """A transport to these servers, closed at the end."""
    upstreams = [each.upstream if isinstance(each, Server) else each for each in asked]
    return aclosing(UpstreamTransport(upstreams, timeout_seconds=timeout_seconds, mixed_case=mixed_case))
