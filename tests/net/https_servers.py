"""HTTPS servers that answer whatever a test likes, as raw octets inside TLS, on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from letterlock.identity.trust import TrustRoots
from letterlock.mtasts import Fetched, FetchFailed
from letterlock.net.dial import TcpDialer
from letterlock.net.https import fetch_policy
from letterlock.net.streams import TcpStream, take_turns
from letterlock.net.tls import ServerContext, accept_tls
from letterlock.ports import Stream
from tests.certificates import Credential, authority

HOST = "mta-sts.example.org"
ROOT = authority()
ROOTS = TrustRoots("test", (ROOT.der,))
GOOD = ROOT.leaf(HOST)
NOW = 1_800_000_000.0
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmax_age: 604800\r\n"

Script = Callable[[Stream], Awaitable[None]]


class FixedClock:
    """Always the same time."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


class CountedDialer:
    """Dials as delivery does, and counts the octets that were read."""

    def __init__(self) -> None:
        self.octets = 0
        self.dialled: list[str] = []

    async def connect(self, address: str, port: int) -> Stream:
        self.dialled.append(address)
        return _CountedStream(await TcpDialer().dial(address, port), self)


class _CountedStream:
    def __init__(self, stream: Stream, dialer: CountedDialer) -> None:
        self._stream = stream
        self._dialer = dialer

    @property
    def peer(self) -> str:
        return self._stream.peer

    @property
    def quiet(self) -> bool:
        return self._stream.quiet

    async def read(self, max_octets: int) -> bytes:
        data = await self._stream.read(max_octets)
        self._dialer.octets += len(data)
        return data

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        await take_turns(self, first, answer, max_octets)

    async def close(self) -> None:
        await self._stream.close()

    def abort(self) -> None:
        self._stream.abort()


class Server:
    """A running server. `requests` are the heads of the requests that came, `sni` the names that were asked for."""

    def __init__(self, script: Script, context: ServerContext | None) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.sni: list[str | None] = []
        self._script = script
        self._context = context

    async def run(self) -> None:
        """Answer one connection after the other."""
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
            stream: Stream = TcpStream(connection)
            try:
                with suppress(OSError):
                    await self._answer(stream)
            finally:
                stream.abort()

    async def _answer(self, stream: Stream) -> None:
        if self._context is not None:
            stream, completed = await accept_tls(stream, self._context)
            self.sni.append(completed.sni)
            request = b""
            while b"\r\n\r\n" not in request:
                if not (data := await stream.read(4_096)):
                    return
                request += data
            self.requests.append(request)
        await self._script(stream)
        await stream.close()


@asynccontextmanager
async def serving(script: Script, directory: Path, credential: Credential | None = GOOD) -> AsyncIterator[Server]:
    """A server on 127.0.0.1 with this certificate; without one, it speaks in cleartext, unasked."""
    server = Server(script, ServerContext.load(*credential.write(directory)) if credential else None)
    task = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.listener.close()


def saying(*pieces: bytes, cut: bool = False) -> Script:
    """Send these pieces, then end: politely, or cut off without close_notify."""

    async def script(stream: Stream) -> None:
        for piece in pieces:
            await stream.write(piece)
        if cut:
            stream.abort()

    return script


def repeating(beginning: bytes, piece: bytes, pause_seconds: float = 0) -> Script:
    """Send a beginning, then a piece again and again, until the client has gone."""

    async def script(stream: Stream) -> None:
        await stream.write(beginning)
        while True:
            await stream.write(piece)
            await asyncio.sleep(pause_seconds)

    return script


def ok(body: bytes = POLICY, *fields: str, kind: str = "text/plain", status: str = "200 OK") -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


async def fetch(
    server: Server,
    dialer: CountedDialer | None = None,
    *,
    host: str = HOST,
    addresses: tuple[str, ...] = ("127.0.0.1",),
    deadline_seconds: float = 10.0,
    max_octets: int = 65_536,
) -> Fetched | FetchFailed:
    """Fetch from a server as the finder would."""
    return await fetch_policy(
        host,
        addresses,
        roots=ROOTS,
        clock=FixedClock(),
        connect=(dialer or CountedDialer()).connect,
        port=server.port,
        deadline_seconds=deadline_seconds,
        max_octets=max_octets,
    )
