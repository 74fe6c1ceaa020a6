"""A query over UDP: a socket of its own, and strict matching of what comes back (RFC 5452).

To a resolver on this machine, queries share sockets (`shared_sockets.py`).
"""

import asyncio
import socket
from collections.abc import Callable

from letterlock.net.connecting import nonblocking_socket
from letterlock.net.dns.shared_sockets import MAX_DATAGRAM_OCTETS, MAX_STRAYS, SharedSocket, SharedSockets
from letterlock.net.dns.upstream import Upstream
from letterlock.net.socket_address import socket_address


class Harassed(OSError):
    """So many datagrams came that do not answer the query that somebody may be guessing."""


class Datagrams:
    """A query that was sent, from a port of its own where it crosses a network.

    `outcome` is the reply that fits; `stray` is called for each other.
    It has no task and no timeout: the caller waits for `reply`, or is called when it is `done`, and calls `close`. The
    outcome may be an OSError, and is Harassed after MAX_STRAYS strays: then use TCP.
    """

    __slots__ = (
        "_done",
        "_fits",
        "_loop",
        "_shared",
        "_socket",
        "_stray",
        "_strays",
        "_upstream",
        "_waiting",
        "asked",
        "begun",
        "outcome",
        "query",
    )

    def __init__(
        self,
        upstream: Upstream,
        query: bytes,
        fits: Callable[[bytes], bool],
        stray: Callable[[], None],
        *,
        asked: bytes | None = None,
        done: Callable[[], None] | None = None,
        local: SharedSockets | None = None,
    ) -> None:
        """`asked`: the question as the caller has it, where the query has it in the same case. `done` comes later.
        `local`: sockets that may be shared."""
        self.asked = asked
        self.query = query
        self.outcome: bytes | OSError | None = None
        self._loop = asyncio.get_running_loop()
        self.begun = self._loop.time()  # seconds of the event loop's clock
        self._waiting: asyncio.Future[bytes] | None = None
        self._done = done
        self._upstream = upstream
        self._fits = fits
        self._stray = stray
        self._strays = 0
        self._socket: socket.SocketType | None = None
        self._shared: SharedSocket | None = None
        try:
            shared = None if local is None else local.socket_for(query)
            if shared is not None and shared.send(query, self):
                self._shared = shared
            else:
                self._send(query)
        except OSError as error:
            self._close_socket()
            self.outcome = error
            if done is not None:
                self._loop.call_soon(done)

    @property
    def reply(self) -> asyncio.Future[bytes]:
        """The outcome for one who waits."""
        if self._waiting is None:
            self._waiting = self._loop.create_future()
            if self.outcome is not None:
                _settle(self._waiting, self.outcome)
        return self._waiting

    def close(self) -> None:
        """Wait for nothing any more."""
        self._close_socket()
        self._done = None
        if self._waiting is not None and not self._waiting.cancel() and not self._waiting.cancelled():
            self._waiting.exception()  # it counts as seen, whether anybody looked or not

    def _close_socket(self) -> None:
        if self._shared is not None:
            self._shared.forget(self.query)
            self._shared = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _send(self, query: bytes) -> None:
        """Raises OSError."""
        address, port = self._upstream.address, self._upstream.port
        self._socket = nonblocking_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        # the kernel chooses the port, and drops what others send
        self._socket.connect((address, port) if "%" not in address else socket_address(address, port))
        self._loop.add_reader(self._socket.fileno(), self._read)
        try:
            self._socket.send(query)
        except BlockingIOError:  # no room in the kernel: lost like one that the network loses, and sent again
            return

    def _read(self) -> None:
        """Read one datagram: a flood is read without waiting, and others want the loop, too."""
        if self._socket is None:
            return
        try:
            reply = self._socket.recv(MAX_DATAGRAM_OCTETS)
        except BlockingIOError:
            return  # its checksum was wrong
        except OSError as error:
            self._end(error)
        else:
            self.heard(reply)

    def given_up(self) -> None:
        """The shared socket is over: ask from one of our own."""
        self._shared = None
        try:
            self._send(self.query)
        except OSError as error:
            self._end(error)

    def heard(self, reply: bytes) -> None:
        """A datagram came that may be the reply."""
        if self._fits(reply):
            self._end(reply)
            return
        self._stray()
        self._strays += 1
        if self._strays == MAX_STRAYS:
            self._end(Harassed(f"{self._upstream} sent {MAX_STRAYS} datagrams that do not answer the query"))

    def _end(self, outcome: bytes | OSError) -> None:
        self._close_socket()
        self.outcome = outcome
        if self._waiting is not None:
            _settle(self._waiting, outcome)
        done, self._done = self._done, None  # whose owner has this: a ring would be left to the collector
        if done is not None:
            done()


def _settle(waiting: asyncio.Future[bytes], outcome: bytes | OSError) -> None:
    if waiting.done():
        return  # who has given up
    if isinstance(outcome, bytes):
        waiting.set_result(outcome)
    else:
        waiting.set_exception(outcome)
