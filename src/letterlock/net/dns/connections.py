"""Connections to one upstream, over TCP or TLS: kept, and shared by many queries at once (RFC 7766, RFC 7858)."""

import asyncio
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path

from letterlock.identity.certificates import InvalidCertificate, read_spki
from letterlock.net.dns.message_header import answers, with_id
from letterlock.net.dns.upstream import Upstream, UpstreamProof
from letterlock.net.errors import os_error_words
from letterlock.net.socket_address import socket_address
from letterlock.resolver.answer import NoUpstream

IDLE_SECONDS = 8.0  # chosen: shorter than common servers wait, so that a query seldom meets a close
CLOSE_SECONDS = 1.0  # chosen: nothing is due any more, so nothing is lost by cutting it off
MAX_CONNECTIONS = 4  # chosen: 256 queries at once per upstream; RFC 7766 section 6.2.2 asks for few
MAX_IN_FLIGHT = 64  # a connection; then another one is opened
_LIMIT_OCTETS = 1 << 16  # the longest message: its length field has 16 bits (RFC 1035 section 4.2.2)


class WrongUpstream(NoUpstream):
    """The peer did not prove that it is the configured upstream."""


def tls_context(tls: UpstreamProof, roots: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer. A name is verified against `roots` (PEM; None: the system's); a pin alone needs no chain."""
    context = ssl.create_default_context(cafile=str(roots) if roots else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["dot"])
    if tls.name is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the pin is checked after the handshake
    return context


class Connections:
    """The connections to one upstream. Opened when needed, closed when idle."""

    def __init__(self, upstream: Upstream, roots: Path | None = None) -> None:
        self._upstream = upstream
        self._context = tls_context(upstream.tls, roots) if upstream.tls else None
        self._open: list[_Connection] = []
        self._opening = asyncio.Lock()

    async def ask(self, query: bytes) -> bytes:
        """Send a query over a connection, a kept one if there is one. Raises OSError."""
        connection = self._usable()
        if connection is not None:
            with suppress(ConnectionError):  # the peer may close a kept connection at any time: a fresh one then
                return await connection.ask(query)
        async with self._opening:
            connection = self._usable() or await self._connect()
        return await connection.ask(query)

    async def aclose(self) -> None:
        """Close them all."""
        for connection in tuple(self._open):
            await connection.aclose()
        self._open.clear()

    def _usable(self) -> "_Connection | None":
        """The least busy connection, unless it is time for another one."""
        self._open = [each for each in self._open if not each.ended]
        usable = [each for each in self._open if each.usable]
        least = min(usable, key=lambda each: each.in_flight, default=None)
        if least is not None and least.in_flight >= MAX_IN_FLIGHT and len(self._open) < MAX_CONNECTIONS:
            return None
        return least

    async def _connect(self) -> "_Connection":
        upstream, context = self._upstream, self._context
        name = (upstream.tls.name or upstream.address.partition("%")[0]) if upstream.tls else None
        try:
            reader, writer = await asyncio.open_connection(
                sock=await _connected(upstream), limit=_LIMIT_OCTETS, ssl=context, server_hostname=name
            )
        except ssl.SSLCertVerificationError as error:
            raise WrongUpstream(f"{upstream}: its certificate is not good: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise ConnectionAbortedError(f"{upstream}: no TLS: {error.reason}") from None
        if upstream.tls and upstream.tls.pin and not _pinned(writer, upstream.tls.pin):
            writer.transport.abort()
            raise WrongUpstream(f"{upstream}: its public key is not the pinned one")
        connection = _Connection(upstream, reader, writer)
        self._open.append(connection)
        return connection


async def _connected(upstream: Upstream) -> socket.socket:
    family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        address = socket_address(upstream.address, upstream.port)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _pinned(writer: asyncio.StreamWriter, pin: bytes) -> bool:
    """Whether the peer's certificate has the pinned key, octet for octet (RFC 7858 section 4.2)."""
    handshake: ssl.SSLObject = writer.get_extra_info("ssl_object")
    try:
        spki = read_spki(handshake.getpeercert(binary_form=True) or b"")
    except InvalidCertificate:  # fails closed: what cannot be read has no key that could be compared
        return False
    return hmac.compare_digest(hashlib.sha256(spki).digest(), pin)


class _Connection:
    """One connection; replies may come in any order, and each query has an id that no other in flight has."""

    def __init__(self, upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._upstream = upstream
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, tuple[bytes, asyncio.Future[bytes]]] = {}
        self._retired = False
        self._idle: asyncio.TimerHandle | None = None
        self._reading = asyncio.create_task(self._read())

    @property
    def usable(self) -> bool:
        """Whether another query may be sent."""
        return not self._retired and not self.ended

    @property
    def ended(self) -> bool:
        """Whether nothing can come any more."""
        return self._reading.done()

    @property
    def in_flight(self) -> int:
        """How many queries wait for a reply."""
        return len(self._waiting)

    async def ask(self, query: bytes) -> bytes:
        """Send a query and wait for its reply. Raises OSError; ConnectionError when the peer closed."""
        if self._idle:
            self._idle.cancel()
        message_id = self._fresh_id()
        sent = with_id(query, message_id)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = sent, reply
        try:
            self._writer.write(struct.pack("!H", len(sent)) + sent)
            await self._writer.drain()
            return query[:2] + (await reply)[2:]
        except asyncio.CancelledError:
            self._retired = True  # a working connection would have answered by now
            raise
        finally:
            del self._waiting[message_id]
            self._rest()

    def _fresh_id(self) -> int:
        while (message_id := secrets.randbits(16)) in self._waiting:
            pass
        return message_id

    def _rest(self) -> None:
        """When nothing is in flight: close a retired connection now, a good one after a while."""
        if self._waiting:
            return
        if self._retired:
            self._writer.close()
        else:
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire)

    def _retire(self) -> None:
        self._retired = True
        self._writer.close()

    async def _read(self) -> None:
        why = f"{self._upstream} closed the connection"
        try:
            while True:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
                self._hand_out(await self._reader.readexactly(length))
        except asyncio.IncompleteReadError:
            pass  # the end, orderly or not; waiters are woken below
        except OSError as error:
            why = f"{self._upstream}: {os_error_words(error)}"
        finally:
            self._writer.close()
            for _, reply in self._waiting.values():
                if not reply.done():
                    reply.set_exception(ConnectionResetError(why))

    def _hand_out(self, message: bytes) -> None:
        """Give a reply to the query it answers; a late or strange one is passed over."""
        sent, reply = self._waiting.get(int.from_bytes(message[:2], "big"), (b"", None))
        if reply is not None and not reply.done() and answers(message, sent):
            reply.set_result(message)

    async def aclose(self) -> None:
        """Close, and wait until it is closed, for a second at most."""
        if self._idle:
            self._idle.cancel()
        self._retire()
        self._reading.cancel()
        await asyncio.wait({self._reading})
        with suppress(OSError, TimeoutError):  # the other side may have gone first
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
