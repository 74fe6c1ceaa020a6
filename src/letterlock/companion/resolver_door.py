"""The resolver door: UDP and TCP sockets on which programs of this machine ask for validated DNS (RFC 1035, RFC 7766).

Loopback alone by default. Who is not on the access list is refused, and over UDP nobody whose address may be forged
gets more octets than it sent, but for the few of an OPT record.
"""

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import dns.rcode

from letterlock.companion.dns_answering import Client, DnsAnswering
from letterlock.companion.dns_query import Query, read_query
from letterlock.companion.dns_response import refusal
from letterlock.companion.options import ResolverDoorOptions

BATCH = 64  # datagrams in one turn of the event loop, so that others get theirs
MAX_DATAGRAM_OCTETS = 4_096  # of a query: a question and some options take a tenth of it
IDLE_SECONDS = 30.0  # RFC 7766 section 6.2.3 leaves it to the server; glibc and Postfix end connections themselves
SWEEP_SECONDS = 5.0  # how exact IDLE_SECONDS is
MAX_PIPELINED = 100  # chosen: lookups of one connection at a time; it is read on when there are fewer
MAX_UNREAD_OCTETS = 1 << 20  # of responses that a client does not read, before it is dropped
_LENGTH = struct.Struct("!H")

log = logging.getLogger("letterlock.companion")


class ResolverDoor:
    """Answers on sockets between `start` and `stop`."""

    def __init__(self, options: ResolverDoorOptions, answering: DnsAnswering) -> None:
        self.options = options
        self.answering = answering
        self.connections: set[_TcpClient] = set()
        self.turned_away = 0  # for want of room, so far
        self.responses = [0] * 16  # by RCODE, so far
        self._datagram_sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: dict[str, Client | None] = {}
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, datagram: Sequence[socket.socket], stream: Sequence[socket.socket]) -> None:
        """Answer on bound sockets; they stay the caller's to close."""
        loop = asyncio.get_running_loop()
        for each in datagram:
            loop.add_reader(each.fileno(), self._receive, each)
            self._datagram_sockets.append(each)
        for each in stream:
            self._servers.append(await loop.create_server(lambda: _TcpClient(self), sock=each.dup()))
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Answer nobody any more; lookups in progress end without an answer, and clients ask again."""
        loop = asyncio.get_running_loop()
        for each in self._datagram_sockets:
            loop.remove_reader(each.fileno())
        for server in self._servers:
            server.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in tuple(self.connections):
            connection.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for connection in tuple(self.connections):
                connection.end_if_idle(loop.time())

    def reload(self, options: ResolverDoorOptions) -> None:
        """Follow another access list."""
        self.options = options
        self._clients.clear()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a lookup done beside the others."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("resolver door: internal error", exc_info=bug)

    def client(self, host: str, *, over_tcp: bool = False) -> Client | None:
        """Who asks; None if they may not."""
        address = ipaddress.ip_address(host.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not any(address in network for network in self.options.allow):
            return None
        return Client(address.packed, over_tcp, address.is_loopback)

    def _udp_client(self, host: str) -> Client | None:
        """The same, remembered: a busy client asks thousands of times a second."""
        if host not in self._clients:
            if len(self._clients) >= _MAX_CLIENTS:
                self._clients.clear()
            self._clients[host] = self.client(host)
        return self._clients[host]

    def _receive(self, own: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                wire, peer = own.recvfrom(MAX_DATAGRAM_OCTETS)
            except (BlockingIOError, InterruptedError):  # all is read
                return
            except OSError as error:  # an ICMP error for something that was sent before
                log.debug("resolver door: %s", error)
                continue
            if peer[1] == 0:  # nobody asks from port 0: an answer would go nowhere
                continue
            client = self._udp_client(peer[0])
            found = _refused(wire) if client is None else self.answering.at_once(wire, client)
            if isinstance(found, Query) and client is not None:
                self.run(self._answer(own, peer, found, client))
            elif isinstance(found, bytes):
                self._send(own, found, peer)

    async def _answer(self, own: socket.socket, peer: Any, query: Query, client: Client) -> None:
        self._send(own, await self.answering.after_lookup(query, client), peer)

    def _send(self, own: socket.socket, wire: bytes, peer: Any) -> None:
        self.count(wire)
        _send(own, wire, peer)

    def count(self, wire: bytes) -> None:
        """A response is sent."""
        self.responses[wire[3] & 0xF] += 1  # RFC 1035 section 4.1.1


_MAX_CLIENTS = 1_000  # addresses whose access was looked up; chosen to bound memory


def _refused(wire: bytes) -> bytes | None:
    """REFUSED for a client that may not ask; an answer would be no longer than the query."""
    query = read_query(wire)
    return None if query is None else refusal(query, dns.rcode.REFUSED)


def _send(own: socket.socket, wire: bytes, peer: Any) -> None:
    try:
        own.sendto(wire, peer)
    except OSError as error:  # the buffer is full, or the client is gone: it asks again
        log.debug("resolver door: a response was not sent: %s", error)


class _TcpClient(asyncio.Protocol):
    """One connection. Responses are sent as they become ready (RFC 7766 section 6.2.1.1)."""

    def __init__(self, door: ResolverDoor) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._client: Client | None = None
        self._kept = b""
        self._pending = 0
        self._active_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a client, or turn it away."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._active_at = asyncio.get_running_loop().time()
        peer = transport.get_extra_info("peername")
        full = len(self._door.connections) >= self._door.options.max_connections
        if full or peer is None:  # None: the client is gone again
            self._door.turned_away += full
            transport.abort()
            return
        self._door.connections.add(self)
        self._client = self._door.client(str(peer[0]), over_tcp=True)

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody reads any more."""
        self._door.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Answer the queries that are whole."""
        self._active_at = asyncio.get_running_loop().time()
        data = self._kept + data
        at = 0
        while len(data) - at >= _LENGTH.size and self._pending < MAX_PIPELINED:
            end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            if len(data) < end:
                break
            self._answer_one(data[at + _LENGTH.size : end])
            at = end
        self._kept = data[at:]
        if self._pending >= MAX_PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    def _answer_one(self, wire: bytes) -> None:
        client = self._client
        found = _refused(wire) if client is None else self._door.answering.at_once(wire, client)
        if isinstance(found, Query) and client is not None:
            self._pending += 1
            self._door.run(self._look_up(found, client))
        elif isinstance(found, bytes):
            self._send(found)
        else:
            self.close()  # not even a query: whatever follows would be no better

    async def _look_up(self, query: Query, client: Client) -> None:
        try:
            self._send(await self._door.answering.after_lookup(query, client))
        finally:
            self._pending -= 1
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.data_received(b"")

    def _send(self, wire: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._active_at = asyncio.get_running_loop().time()
        self._door.count(wire)
        self._transport.write(_LENGTH.pack(len(wire)) + wire)
        if self._transport.get_write_buffer_size() > MAX_UNREAD_OCTETS:
            self._transport.abort()

    def close(self) -> None:
        """End the connection, once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def end_if_idle(self, now: float) -> None:
        """Close a connection on which nothing has happened for IDLE_SECONDS."""
        if not self._pending and now - self._active_at >= IDLE_SECONDS:
            self.close()
