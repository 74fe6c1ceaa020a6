"""One SMTP connection as the lab's servers and attackers see it: raw lines, in cleartext or inside TLS (stdlib ssl).

Deliberately naive, and deliberately not `letterlock.net`: a second, independent reading of the protocol.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from socket import socket
from typing import Protocol

from letterlock.lab.raw_listener import accepting

MAX_LINE_OCTETS = 1 << 16  # chosen: far more than RFC 5321 section 4.5.3.1 allows, for peers that break it
READ_OCTETS = 1 << 16  # chosen: a whole message of the lab
IDLE_SECONDS = 60.0  # chosen: a guard; every trial is shorter


Tell = Callable[[str], None]  # one line about what happens, for an observer


def say_nothing(_line: str) -> None:
    """Tell nobody."""


class Watch(Protocol):
    """Who looks on at one connection: every read and write, as its server has them."""

    def received(self, data: bytes, *, readable: bool) -> None:
        """Octets from the client; `readable`: outside TLS, or inside TLS that ends at this server."""

    def sent(self, data: bytes, *, readable: bool) -> None:
        """Octets to the client."""


class PeerClosed(ConnectionError):
    """The other side closed the connection."""


class Wire:
    """A connection: `encrypted`: whether reads and writes now go through TLS. `watch` sees what is read and written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, watch: Watch | None = None) -> None:
        self._reader = reader
        self._writer = writer
        self._watch = watch
        self._pending = b""
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @property
    def encrypted(self) -> bool:
        """Whether TLS was started."""
        return self._tls is not None

    @property
    def resumed(self) -> bool:
        """Whether TLS goes on with a session of before, so that no certificate was shown."""
        return self._tls is not None and bool(self._tls.session_reused)

    async def read_line(self) -> bytes:
        """A line with its CRLF, as it came. Raises PeerClosed."""
        while (at := self._pending.find(b"\r\n")) < 0:
            if len(self._pending) > MAX_LINE_OCTETS:
                raise PeerClosed("a line without an end")
            self._pending += await self.read_some()
        line, self._pending = self._pending[: at + 2], self._pending[at + 2 :]
        return line

    async def read_reply(self) -> bytes:
        """All lines of an SMTP reply. Raises PeerClosed."""
        reply = line = await self.read_line()
        while line[3:4] == b"-":
            line = await self.read_line()
            reply += line
        return reply

    async def read_some(self) -> bytes:
        """Some octets, whatever they are. Raises PeerClosed."""
        data = await (self._receive() if self._tls is None else self._receive_inside(self._tls))
        if self._watch:
            self._watch.received(data, readable=True)
        return data

    async def _receive_inside(self, tls: ssl.SSLObject) -> bytes:
        while True:
            try:
                data = tls.read(READ_OCTETS)
            except ssl.SSLWantReadError:
                self._incoming.write(await self._receive())
                continue
            except ssl.SSLError as error:
                raise PeerClosed(str(error)) from None
            if not data:
                raise PeerClosed("TLS closed")
            return data

    async def write(self, data: bytes) -> None:
        """Send octets."""
        if self._watch:
            self._watch.sent(data, readable=True)
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._writer.write(data)
        await self._writer.drain()

    async def start_tls(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        """Do the TLS handshake. What was read and not used before is lost (RFC 3207 section 4.2). Raises PeerClosed."""
        self._pending = b""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server, server_hostname=name)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_outgoing()
                self._incoming.write(await self._receive_handshake())
                continue
            except ssl.SSLError as error:
                await self._send_outgoing()
                raise PeerClosed(str(error)) from None
            await self._send_outgoing()
            self._tls = tls
            return

    def abort(self) -> None:
        """Break the connection off, without a word."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Close the connection, after telling the other side inside TLS."""
        if self._tls is not None:
            with suppress(ssl.SSLError):  # the other side has ended TLS, or never began it
                self._tls.unwrap()
            self._writer.write(self._outgoing.read())
        self._writer.close()

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                data = await self._reader.read(READ_OCTETS)
        except TimeoutError:
            raise PeerClosed("silent for too long") from None
        if not data:
            raise PeerClosed("closed")
        return data

    async def _receive_handshake(self) -> bytes:
        data = await self._receive()
        if self._watch:
            self._watch.received(data, readable=False)
        return data

    async def _send_outgoing(self) -> None:
        data = self._outgoing.read()
        if self._watch and data:
            self._watch.sent(data, readable=False)
        self._writer.write(data)
        await self._writer.drain()


@asynccontextmanager
async def connected(address: str, port: int) -> AsyncIterator[Wire]:
    """A connection to somebody. Raises OSError."""
    wire = Wire(*await asyncio.open_connection(address, port))
    try:
        yield wire
    finally:
        wire.close()


@asynccontextmanager
async def listening(
    bound: socket, talk: Callable[[Wire], Awaitable[None]], watch: Callable[[], Watch | None] = lambda: None
) -> AsyncIterator[None]:
    """Accept connections on a bound socket and let `talk` have each of them, until the block ends.

    `watch` is called for each connection.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer, watch())
        try:
            await talk(wire)
        finally:
            wire.close()

    async with accepting(bound, converse):
        yield
