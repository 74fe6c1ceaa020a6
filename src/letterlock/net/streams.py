"""A TCP connection in clear, or one through a UNIX socket, as ports.Stream.

Read on demand: no octet leaves the kernel before somebody asks for it, so nothing can lie in a buffer of ours when TLS
takes over (CVE-2011-0411), and a peer that sends faster than it is read meets a full TCP window. The socket stays
watched between two reads, and is asked only when it has something: in a conversation that is one system call a turn.
And a conversation is answered where its octets come in: no task has to be woken for a turn that waits for nothing.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from letterlock.net.socket_address import SocketAddress
from letterlock.ports import Stream

MAX_DISCARDED_OCTETS = 1 << 20  # chosen: read before a close, so that it is no reset; a peer that sent more may see one
_DISCARD_STEP_OCTETS = 1 << 16  # chosen: few system calls, and little memory
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EINTR})  # connect(2): the kernel goes on with it


class TcpStream:
    """A TCP or UNIX socket, which the stream owns from here on. One task reads and one writes at a time.

    It is connected, or `connect` comes next. Raises OSError when it is made and the peer is gone already; the socket is
    then closed.
    """

    def __init__(self, connection: socket.SocketType, peer: str | None = None) -> None:
        """`peer`: its IP address where that is known already, or that of the client behind the proxy that connected."""
        try:
            if connection.gettimeout() != 0:  # a system call for nothing, where it is so already
                connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer = peer or _address(connection)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._writing = 0
        self._dropped = False
        self._watched = False
        self._drained = False  # the last read left nothing in the kernel: asking again at once would be in vain
        self._waiting: asyncio.Future[bytes] | None = None
        self._wanted = 0
        self._answer: Callable[[bytes], bytes | None] | None = None

    @property
    def peer(self) -> str:
        """The peer's IP address."""
        return self._peer

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to read, not even the end: what an idle connection must be to be used again.

        The kernel is asked only when it does not tell by itself.
        """
        if self._dropped:
            return False
        if self._watched and self._drained:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:  # nothing has come: what is hoped for
            return True
        except OSError:  # it has ended, or was reset
            return False
        return False

    async def connect(self, address: SocketAddress) -> None:
        """Connect to an IP address: no name is ever looked up. Raises OSError; the stream is dropped then.

        The socket is watched for what comes from here on: else the event loop would give up its handle on it as soon as
        it is connected, and make another one, with five system calls.
        """
        try:
            await self._connect(address)
        except BaseException:
            self.abort()
            raise

    async def _connect(self, address: SocketAddress) -> None:
        error = self._socket.connect_ex(address)
        if error in _UNDER_WAY:
            descriptor, connected = self._socket.fileno(), self._loop.create_future()
            self._watch()
            self._loop.add_writer(descriptor, _go_on, connected)
            try:
                await connected
            finally:
                self._loop.remove_writer(descriptor)
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    async def read(self, max_octets: int) -> bytes:
        """Some octets, at most `max_octets`; b"" at the end. Raises OSError."""
        if self._dropped:
            raise _dropped()
        if not self._drained:
            with suppress(BlockingIOError):  # nothing has come yet
                data = self._socket.recv(max_octets)
                self._drained = 0 < len(data) < max_octets
                return data
        return await self._next(max_octets)

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        """Write `first`, then what `answer` returns for each read, until that is None or the input has ended (b"").

        Raises OSError, and what `answer` raises.
        """
        if self._dropped:
            raise _dropped()
        unsent = self.send_at_once(first)
        self._answer = answer
        try:
            if unsent:
                await self.write(unsent)
            while unsent := await self._next(max_octets):
                await self.write(unsent)
        finally:
            self._answer = None

    def _next(self, max_octets: int) -> asyncio.Future[bytes]:
        """The next octets; in a conversation, the part of an answer that the kernel did not take; b"" at the end."""
        self._wanted = max_octets
        self._waiting = waiting = self._loop.create_future()
        if not self._watched:
            self._watch()
        return waiting

    def _readable(self) -> None:
        """The kernel has octets for us: they are for the read that is waiting, or are answered at once.

        In a conversation the waiter is woken at the end, on an error, or for what the kernel did not take of an answer.
        While nobody is waiting, the octets stay where they are, and the socket is no longer watched.
        """
        if self._waiting is None or self._waiting.done():
            self._drained = False
            self._unwatch()
            return
        try:
            data = self._socket.recv(self._wanted)
        except BlockingIOError:  # woken for nothing
            return
        except OSError as error:
            self._fail(error)
            return
        self._drained = 0 < len(data) < self._wanted
        if self._answer is None:
            self._waiting.set_result(data)
            return
        rest = b""
        try:
            reply = self._answer(data)
            if reply is not None and data and not (rest := self.send_at_once(reply)):
                return
        except Exception as error:  # noqa: BLE001  # it is raised where the conversation is waited for
            self._fail(error)
            return
        self._wake(rest)

    def _wake(self, result: bytes) -> None:
        """Give the waiter its result, if it has not gone meanwhile."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(result)

    def _fail(self, error: Exception) -> None:
        """Raise an error where octets are waited for.

        A future keeps its error, and that the frames that it came through, here and where it is raised. So none of
        these keeps the future, nor does the stream: it would be a ring with all that the session has in memory, and
        left to the collector.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def send_at_once(self, data: bytes) -> bytes:
        """Hand octets to the kernel; those that it does not take now. Raises OSError."""
        if not data:
            return b""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:  # the kernel's buffer is full
            return data
        return b"" if sent == len(data) else data[sent:]

    def _watch(self) -> None:
        self._watched = True
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._socket.fileno())

    async def write(self, data: bytes) -> None:
        """Hand all octets to the kernel, however long it takes. Raises OSError."""
        if self._dropped:
            raise _dropped()
        if rest := self.send_at_once(data):
            with self._operation():
                await self._loop.sock_sendall(cast("socket.socket", self._socket), rest)

    async def close(self) -> None:
        """End after what was written. Never raises, never waits.

        What the peer sent and nobody read is thrown away first: closing over unread octets would reset the connection,
        and the peer would lose our last reply.
        """
        if not self._dropped:
            with suppress(OSError):  # nothing unread is left (BlockingIOError), or the other side has gone first
                self._socket.shutdown(socket.SHUT_WR)
                for _ in range(MAX_DISCARDED_OCTETS // _DISCARD_STEP_OCTETS):
                    if not self._socket.recv(_DISCARD_STEP_OCTETS):
                        break
        self.abort()

    def abort(self) -> None:
        """Drop the connection at once; who waits for it gets a ConnectionAbortedError."""
        if self._dropped:
            return
        self._dropped = True
        self._unwatch()
        self._fail(_dropped())
        if not self._writing:
            self._socket.close()
            return
        with suppress(OSError):  # the peer has gone already
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the waiting writer, who closes

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """Keep the descriptor open while the event loop watches it: its number could be another's by then."""
        self._refuse_if_dropped()
        self._writing += 1
        try:
            yield
            self._refuse_if_dropped()
        finally:
            self._release()

    def _refuse_if_dropped(self) -> None:
        if self._dropped:
            raise _dropped()

    def _release(self) -> None:
        self._writing -= 1
        if self._dropped and not self._writing:
            self._socket.close()


async def take_turns(stream: Stream, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
    """`Stream.converse` by `read` and `write`, for streams that have nothing faster."""
    if first:
        await stream.write(first)
    while (reply := answer(heard := await stream.read(max_octets))) is not None and heard:
        if reply:
            await stream.write(reply)


def send_at_once(stream: Stream, data: bytes) -> bytes:
    """Hand over what can go without waiting; what cannot. Raises OSError."""
    return stream.send_at_once(data) if isinstance(stream, TcpStream) else data


def _go_on(connected: asyncio.Future[None]) -> None:
    if not connected.done():  # the loop may call once more before the waiter has come, or the waiter may have gone
        connected.set_result(None)


def _dropped() -> ConnectionAbortedError:
    return ConnectionAbortedError("the connection was dropped")


def _address(connection: socket.SocketType) -> str:
    """The peer's address, or the path of a UNIX socket; an IPv4 peer of a dual-stack socket is shown as IPv4.

    Raises OSError.
    """
    name = connection.getpeername()
    if connection.family == socket.AF_UNIX:
        return str(name)
    address: str = name[0]
    return address.partition("%")[0].removeprefix("::ffff:") if ":" in address else address
