"""TcpStream: octets in order, nothing read ahead, polite and impolite ends."""

import asyncio
import gc
import socket
import struct
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine

import pytest
import uvloop

from letterlock.net.dial import TcpDialer
from letterlock.net.streams import TcpStream
from tests.net.pairs import connected_sockets, connected_streams


async def test_what_is_written_is_read() -> None:
    async with connected_streams() as (left, right):
        await left.write(b"EHLO here\r\n")
        assert await right.read(100) == b"EHLO here\r\n"
        assert right.peer == "127.0.0.1"


async def test_a_read_takes_no_more_than_it_was_asked_for() -> None:
    async with connected_sockets() as (ours, theirs):
        stream = TcpStream(ours)
        theirs.sendall(b"220 go ahead\r\nINJECTED")
        assert await stream.read(14) == b"220 go ahead\r\n"
        assert ours.recv(100) == b"INJECTED", "the rest must still be in the kernel"


async def test_a_writer_waits_for_a_reader_that_does_not_read() -> None:
    async with connected_streams() as (left, _right):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await left.write(b"x" * (1 << 26))


async def test_close_ends_after_the_last_octet() -> None:
    async with connected_streams() as (left, right):
        await left.write(b"221 bye\r\n")
        await left.close()
        assert await right.read(100) == b"221 bye\r\n"
        assert await right.read(100) == b""


async def test_close_over_unread_octets_does_not_destroy_our_last_reply() -> None:
    async with connected_streams() as (left, right):
        await right.write(b"x" * 1000)
        await left.write(b"421 too much\r\n")
        await left.close()
        assert await right.read(100) == b"421 too much\r\n"
        assert await right.read(100) == b""


async def test_abort_wakes_a_waiting_reader() -> None:
    async with connected_streams() as (left, _right):
        reader = asyncio.create_task(left.read(100))
        await asyncio.sleep(0)
        left.abort()
        with pytest.raises(ConnectionAbortedError):
            await reader


async def test_a_dropped_stream_refuses_further_use() -> None:
    async with connected_streams() as (left, _right):
        left.abort()
        left.abort()
        await left.close()
        with pytest.raises(ConnectionAbortedError):
            await left.write(b"x")
        with pytest.raises(ConnectionAbortedError):
            await left.read(1)


async def test_a_reset_is_an_os_error() -> None:
    async with connected_sockets() as (ours, theirs):
        stream = TcpStream(ours)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        with pytest.raises(ConnectionResetError):
            await stream.read(1)
        stream.abort()


async def test_dial_connects_to_the_very_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await TcpDialer().dial("127.0.0.1", listener.getsockname()[1])
        assert stream.peer == "127.0.0.1"
        await stream.close()


async def test_dial_refuses_names() -> None:
    with pytest.raises(ValueError, match="localhost"):
        await TcpDialer().dial("localhost", 25)


async def test_dial_says_when_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await TcpDialer().dial("127.0.0.1", port)


async def _first_octets(port: int) -> bytes:
    stream = await TcpDialer().dial("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            return await stream.read(100)
    finally:
        stream.abort()


def _greet(connection: socket.socket) -> None:
    connection.sendall(b"220 mx.example.org\r\n")


def _reset_at_once(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_happens_right_behind_a_connection_is_what_is_read(
    run: Callable[[Coroutine[None, None, bytes]], bytes],
) -> None:
    """uvloop gives up its handle on a socket when that has an error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for answer in (_greet, _reset_at_once, socket.socket.close) * 5:
            serving = threading.Thread(target=_serve, args=(listener, answer))
            serving.start()
            try:
                assert run(_first_octets(port)) == (b"220 mx.example.org\r\n" if answer is _greet else b"")
            except ConnectionResetError:
                assert answer is _reset_at_once
            serving.join()
    with pytest.raises(ConnectionRefusedError):
        run(_first_octets(port))


def _serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    accepted, _ = listener.accept()
    with accepted:
        answer(accepted)


async def test_a_socket_whose_peer_is_gone_is_closed() -> None:
    with socket.socket() as unconnected:
        with pytest.raises(OSError, match="not connected"):
            TcpStream(unconnected)
        assert unconnected.fileno() == -1


async def test_a_connection_over_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        stream = await TcpDialer().dial("::1", listener.getsockname()[1])
        assert stream.peer == "::1"
        await stream.close()


async def test_an_ipv4_peer_of_a_dual_stack_socket_is_shown_as_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        stream = await TcpDialer().dial("127.0.0.1", listener.getsockname()[1])
        accepted, _ = listener.accept()
        server = TcpStream(accepted)
        assert server.peer == "127.0.0.1"
        await server.close()
        await stream.close()


async def _reset(stream: TcpStream, theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    asyncio.get_running_loop().call_soon(theirs.close)
    await stream.read(100)


async def _dropped(stream: TcpStream, theirs: socket.socket) -> None:
    asyncio.get_running_loop().call_soon(stream.abort)
    await stream.read(100)


async def _misunderstood(stream: TcpStream, theirs: socket.socket) -> None:
    def answer(heard: bytes) -> bytes:
        raise ConnectionError(heard.decode())

    theirs.sendall(b"not SMTP")
    await stream.converse(b"", answer, 100)


@pytest.mark.parametrize("end", [_reset, _dropped, _misunderstood])
async def test_a_connection_that_failed_needs_no_collector(
    end: Callable[[TcpStream, socket.socket], Awaitable[None]],
) -> None:
    """Else each would keep what its session has in memory until the collector comes."""
    gc.disable()
    try:
        async with connected_sockets() as (ours, theirs):
            stream = TcpStream(ours)
            gone = weakref.ref(stream)
            failed = False
            try:
                await end(stream, theirs)
            except ConnectionError:  # pytest.raises would keep it
                failed = True
            stream.abort()
            del stream
            await asyncio.sleep(0)  # until then the event loop holds what woke us
            assert failed
            assert gone() is None
    finally:
        gc.enable()
