"""The policy door: answers Postfix over socketmap, by TCP and UNIX sockets.

The fast path is short: a question whose answer is known is answered in the callback that brought it. Postfix asks one
thing at a time on a connection and keeps it for up to 100 seconds; it takes a connection that ends while it asks for a
failure, and defers mail. So connections stay open longer than that, and each question gets an answer, at shutdown too.
"""

import asyncio
import ipaddress
import logging
import socket
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from letterlock.companion.answer_memory import AnswerMemory, PolicyEntry
from letterlock.companion.options import PolicyServerOptions
from letterlock.companion.postfix_key import SMTP_PORT, next_hop, stays_on_this_machine
from letterlock.routing.routes import NextHop
from letterlock.socketmap.netstrings import BadNetstring, NetstringReader, netstring
from letterlock.socketmap.questions import NOT_FOUND, ok, permanent, read_request, temporary

IDLE_SECONDS = 120.0  # Postfix uses a connection for 100 s at most; ending one earlier makes it defer mail
SWEEP_SECONDS = 10.0  # how exact IDLE_SECONDS is
TRANSPORT_SECONDS = 1.0  # trivial-rewrite(8) asks for all mail, one after the other: it must not wait for slow servers
MAX_UNREAD_OCTETS = 1 << 20  # of answers that a client does not read, before it is dropped
MAX_WAITING = 100  # questions on one connection behind one that takes long; Postfix itself never asks ahead

log = logging.getLogger("letterlock.companion")
Command = Callable[[str], Awaitable[str]]
"""Does what an operator asks for, with the text behind the verb; the answer as JSON."""


@dataclass(slots=True)
class _Doors:
    """What all connections share."""

    options: PolicyServerOptions
    memory: AnswerMemory
    commands: Mapping[bytes, Command]
    usual_port: int
    connections: "set[_Connection]" = field(default_factory=set)
    stopping: bool = False
    turned_away: int = 0  # for want of room, so far
    answers: "Counter[bytes]" = field(default_factory=Counter)  # by the word that they begin with


class PolicyDoor:
    """Answers on sockets between `start` and `stop`.

    `commands` are verbs for operators, by the names that postfix-tlspol gave them; only this machine may use them.
    `usual_port`: of MX hosts.
    """

    def __init__(
        self,
        options: PolicyServerOptions,
        memory: AnswerMemory,
        commands: Mapping[bytes, Command] | None = None,
        *,
        usual_port: int = SMTP_PORT,
    ) -> None:
        self._doors = _Doors(options, memory, commands or {}, usual_port)
        self.places: list[tuple[str, int]] = []  # the TCP addresses that it accepts on
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._doors.connections)

    @property
    def turned_away(self) -> int:
        """How many were turned away for want of room, so far."""
        return self._doors.turned_away

    @property
    def answers(self) -> Mapping[bytes, int]:
        """How many answers began with OK, NOTFOUND, TEMP and PERM, so far."""
        return self._doors.answers

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on bound, listening sockets; they stay the caller's to close."""
        loop = asyncio.get_running_loop()
        self.places += [each.getsockname()[:2] for each in sockets if each.family != socket.AF_UNIX]
        for each in sockets:
            own = each.dup()
            if each.family == socket.AF_UNIX:
                server = await loop.create_unix_server(self._connection, sock=own, start_serving=True)
            else:
                server = await loop.create_server(self._connection, sock=own, start_serving=True)
            self._servers.append(server)
        self._sweeping = asyncio.create_task(self._sweep())

    def _connection(self) -> "_Connection":
        return _Connection(self._doors)

    def reload(self, options: PolicyServerOptions) -> None:
        """Answer by other options. What was decided before is forgotten: rules may have changed."""
        self._doors.options = options
        self._doors.memory.purge()

    async def stop(self) -> None:
        """Accept no more connections; clients that wait for an answer get one."""
        for server in self._servers:
            server.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._doors.stopping = True
        for connection in tuple(self._doors.connections):
            connection.stop()
        await self._doors.memory.close()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for connection in tuple(self._doors.connections):
                connection.end_if_idle(loop.time())


class _Connection(asyncio.Protocol):
    """One client. Questions are answered in the order in which they came."""

    def __init__(self, doors: _Doors) -> None:
        self._doors = doors
        self._reader = NetstringReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_local = False
        self._active_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept or turn away a client."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._active_at = asyncio.get_running_loop().time()
        peer = transport.get_extra_info("peername")
        allowed = self._may_ask(peer, transport.get_extra_info("socket").family)
        if not allowed or len(self._doors.connections) >= self._doors.options.max_connections or self._doors.stopping:
            self._doors.turned_away += allowed and not self._doors.stopping
            why = "too many connections" if allowed else "this client may not ask here"
            log.log(
                logging.INFO if allowed else logging.WARNING,
                "policy door: %s: %s",
                peer or "somebody",
                why,
            )
            self._send(temporary(why))
            transport.close()
            return
        self._doors.connections.add(self)

    def _may_ask(self, peer: object, family: int) -> bool:
        if family == socket.AF_UNIX:  # the permissions of its directory say who may
            self._is_local = True
            return True
        if not isinstance(peer, tuple):  # a client that is gone again has no address
            return False
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        self._is_local = address.is_loopback
        return any(address in network for network in self._doors.options.allow)

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody is there any more who would read an answer."""
        self._doors.connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer at once what is known; the rest in a task."""
        try:
            frames = self._reader.feed(data)
        except BadNetstring as error:
            log.info("policy door: a client speaks something else: %s", error)
            self._end(permanent(f"this is a socketmap server: {error}"))
            return
        if frames:
            self._active_at = asyncio.get_running_loop().time()
        for frame in frames:
            request = read_request(frame)
            if request is None:
                self._end(permanent("a request is NAME, a space, and KEY"))
                return
            reply = self._at_once(*request) if self._task is None else None
            if reply is None:
                self._wait(request)
            else:
                self._send(reply)

    def _wait(self, request: tuple[bytes, bytes]) -> None:
        self._waiting.append(request)
        if len(self._waiting) > MAX_WAITING:
            self._end(temporary("too many questions ahead of their answers"))
        elif self._task is None:
            self._task = asyncio.create_task(self._answer_waiting())

    def _at_once(self, name: bytes, key: bytes) -> bytes | None:
        """The reply, if it takes no time to know it."""
        kind = name.upper()
        if kind in self._doors.commands:
            return None if self._is_local else permanent("only this machine may do that")
        if kind not in _MAPS:
            return permanent("this server has the maps QUERY, QUERYwithTLSRPT and transport")
        hop = next_hop(key, self._doors.usual_port)
        if hop is None or stays_on_this_machine(hop):
            return NOT_FOUND
        if kind == b"TRANSPORT" and hop.domain in self._doors.options.local_domains:
            return NOT_FOUND
        entry = self._doors.memory.known(hop)
        return None if entry is None else self._reply(kind, entry)

    def _reply(self, kind: bytes, entry: PolicyEntry) -> bytes:
        if kind == b"QUERY":
            return entry.plain
        if kind == b"QUERYWITHTLSRPT":
            return entry.reporting
        everything = self._doors.options.transport == "all"
        return ok(self._doors.options.relay) if everything or entry.demands else NOT_FOUND

    async def _answer_waiting(self) -> None:
        while self._waiting:
            name, key = self._waiting[0]
            reply = self._at_once(name, key)
            if reply is None:
                reply = await self._find(name.upper(), key)
            self._waiting.popleft()
            self._send(reply)
        self._task = None

    async def _find(self, kind: bytes, key: bytes) -> bytes:
        try:
            if kind in self._doors.commands:
                return ok(await self._doors.commands[kind](key.decode("utf-8", errors="replace")))
            hop = next_hop(key, self._doors.usual_port)
            if hop is None:
                return NOT_FOUND
            return self._reply(kind, await self._entry(kind, hop))
        except Exception:  # whatever it is, Postfix must get an answer, and not a weaker one
            log.exception("policy door: internal error")
            return temporary("internal error of the policy server: see its log")

    async def _entry(self, kind: bytes, hop: NextHop) -> PolicyEntry:
        if kind != b"TRANSPORT":
            return await self._doors.memory.find(hop)
        try:
            async with asyncio.timeout(TRANSPORT_SECONDS):
                return await self._doors.memory.find(hop)
        except TimeoutError:  # the relay door finds out for itself, and nobody else's mail waits here
            return _UNKNOWN

    def _send(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(netstring(reply))
            self._doors.answers[reply.partition(b" ")[0]] += 1
            if self._transport.get_write_buffer_size() > MAX_UNREAD_OCTETS:
                self._transport.abort()
            self._active_at = asyncio.get_running_loop().time()

    def _end(self, reply: bytes) -> None:
        self._send(reply)
        if self._transport is not None:
            self._transport.close()

    def end_if_idle(self, now: float) -> None:
        """Close a connection on which nothing has happened for IDLE_SECONDS."""
        if self._task is None and now - self._active_at >= IDLE_SECONDS and self._transport is not None:
            self._transport.close()

    def stop(self) -> None:
        """Answer what is waiting with a temporary failure, and close."""
        if self._task is not None:
            self._task.cancel()
            for _ in self._waiting:
                self._send(temporary("the policy server is being stopped"))
        if self._transport is not None:
            self._transport.close()


_MAPS = {b"QUERY", b"QUERYWITHTLSRPT", b"TRANSPORT"}
_UNKNOWN = PolicyEntry(b"", b"", demands=True, failed=True, until=0, refresh_at=0, asked_at=0)
