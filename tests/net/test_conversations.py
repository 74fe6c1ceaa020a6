"""Stream.converse: answers where the octets come in, in cleartext and inside TLS, and through any kind of stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from letterlock.net.streams import TcpStream, take_turns
from letterlock.net.tls import ServerContext, accept_tls, start_tls
from letterlock.ports import Stream
from tests.certificates import Credential, authority
from tests.net.pairs import connected_sockets, connected_streams

PATIENCE_SECONDS = 20.0
MAX_OCTETS = 1 << 14
Answer = Callable[[bytes], bytes | None]


class Plain(TcpStream):
    """A stream that has nothing faster than reads and writes."""

    async def converse(self, first: bytes, answer: Answer, max_octets: int) -> None:
        await take_turns(self, first, answer, max_octets)


@pytest.fixture(scope="module")
def credential() -> Credential:
    return authority().intermediate().leaf("mx.example.org")


@pytest.fixture
def context(credential: Credential, tmp_path: Path) -> ServerContext:
    return ServerContext.load(*credential.write(tmp_path))


@asynccontextmanager
async def pair(kind: str, context: ServerContext) -> AsyncIterator[tuple[Stream, Stream]]:
    """Two ends: a client that speaks by reads and writes, and a server that converses."""
    async with connected_sockets() as (ours, theirs), asyncio.timeout(PATIENCE_SECONDS):
        left, right = TcpStream(ours), (Plain if kind == "plain" else TcpStream)(theirs)
        try:
            if kind != "tls":
                yield left, right
                return
            accepting = asyncio.create_task(accept_tls(right, context))
            client, _ = await start_tls(left, "mx.example.org")
            server, _ = await accepting
            yield client, server
        finally:
            left.abort()
            right.abort()


kinds = pytest.mark.parametrize("kind", ["clear", "tls", "plain"])


async def _until_heard(stream: Stream) -> None:
    while stream.quiet:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0)


async def _read(stream: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await stream.read(count - len(data))
        assert piece, f"it ended after {data!r}"
        data += piece
    return data


@kinds
async def test_each_read_is_answered_until_the_answer_is_none(kind: str, context: ServerContext) -> None:
    heard: list[bytes] = []

    def answer(octets: bytes) -> bytes | None:
        heard.append(octets)
        return None if octets == b"DATA" else b"re: " + octets

    async with pair(kind, context) as (client, server):
        talking = asyncio.create_task(server.converse(b"220 hello", answer, MAX_OCTETS))
        assert await _read(client, 9) == b"220 hello"
        for said in (b"EHLO", b"MAIL"):
            await client.write(said)
            assert await _read(client, 8) == b"re: " + said
        await client.write(b"DATA")
        await talking
        assert heard == [b"EHLO", b"MAIL", b"DATA"]
        await client.write(b"more")
        assert await server.read(100) == b"more", "what comes after it is read as before"
        await server.write(b"fine")
        assert await _read(client, 4) == b"fine"


@kinds
async def test_the_end_is_the_last_that_is_heard(kind: str, context: ServerContext) -> None:
    heard: list[bytes] = []

    def answer(octets: bytes) -> bytes | None:
        heard.append(octets)
        return b""

    async with pair(kind, context) as (client, server):
        talking = asyncio.create_task(server.converse(b"", answer, MAX_OCTETS))
        await client.write(b"QUIT")
        await client.close()
        await talking
    assert b"".join(heard) == b"QUIT"
    assert heard[-1] == b""


@kinds
async def test_what_an_answer_raises_is_raised_where_the_conversation_is_waited_for(
    kind: str, context: ServerContext
) -> None:
    def answer(octets: bytes) -> bytes | None:
        raise ValueError(octets.decode())

    async with pair(kind, context) as (client, server):
        talking = asyncio.create_task(server.converse(b"", answer, MAX_OCTETS))
        await client.write(b"nonsense")
        with pytest.raises(ValueError, match="nonsense"):
            await talking


@kinds
async def test_answers_that_the_kernel_does_not_take_at_once_arrive_whole(kind: str, context: ServerContext) -> None:
    blob = bytes(range(256)) * (1 << 14)  # 4 MiB: more than a socket's buffers take before anybody reads
    rounds = 3

    async with pair(kind, context) as (client, server):
        answers = iter([*[blob] * rounds, None])
        talking = asyncio.create_task(server.converse(blob, lambda _: next(answers), MAX_OCTETS))
        for _ in range(rounds):
            assert await _read(client, len(blob)) == blob
            await client.write(b"again")
        assert await _read(client, len(blob)) == blob
        await client.write(b"enough")
        await talking


@kinds
async def test_a_cancelled_conversation_leaves_a_stream_that_can_be_read(kind: str, context: ServerContext) -> None:
    async with pair(kind, context) as (client, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await server.converse(b"220 hello", lambda _: b"too late", MAX_OCTETS)
        assert await _read(client, 9) == b"220 hello"
        await client.write(b"anybody?")
        assert await _read(server, 8) == b"anybody?"


async def test_octets_after_the_last_that_was_heard_stay_in_the_kernel() -> None:
    """Of what a client sends behind STARTTLS nothing may be in a buffer of ours when TLS begins (CVE-2011-0411)."""
    async with connected_sockets() as (ours, theirs), asyncio.timeout(PATIENCE_SECONDS):
        server = TcpStream(theirs)
        ours.sendall(b"STARTTLS\r\n" + b"INJECTED")
        await server.converse(b"", lambda _: None, len(b"STARTTLS\r\n"))
        theirs.setblocking(True)
        assert theirs.recv(100) == b"INJECTED"
        server.abort()


async def test_a_stream_that_is_dropped_in_an_answer_ends_the_conversation() -> None:
    async with connected_streams() as (client, server), asyncio.timeout(PATIENCE_SECONDS):

        def answer(_: bytes) -> bytes | None:
            server.abort()
            return b"nobody hears it"

        talking = asyncio.create_task(server.converse(b"", answer, MAX_OCTETS))
        await client.write(b"x")
        with pytest.raises(ConnectionAbortedError):
            await talking


async def test_an_idle_stream_is_quiet_until_something_comes() -> None:
    async with connected_streams() as (client, server), asyncio.timeout(PATIENCE_SECONDS):
        talking = asyncio.create_task(server.converse(b"", lambda _: None, MAX_OCTETS))
        await client.write(b"x")
        await talking
        assert server.quiet
        await client.write(b"unasked")
        await _until_heard(server)
        assert await server.read(100) == b"unasked"
        await client.close()
        await _until_heard(server)
