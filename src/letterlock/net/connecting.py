"""Connects a socket without a name ever being looked up, and without asking the event loop for more than it must.

The sockets of sessions and queries are `SocketType`, the base of Python's `socket.socket`: that one's constructor and
`close` are written in Python, and count users that these sockets never have.
"""

import asyncio
import errno
import os
from socket import SO_ERROR, SOCK_NONBLOCK, SOL_SOCKET, AddressFamily, SocketKind, SocketType

from letterlock.net.socket_address import SocketAddress

_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EINTR})  # connect(2): the kernel goes on with it


def nonblocking_socket(family: AddressFamily, kind: SocketKind) -> SocketType:
    """A socket that never waits and that no child inherits. Raises OSError."""
    return SocketType(family, kind | SOCK_NONBLOCK)


async def connect(connection: SocketType, address: SocketAddress) -> None:
    """Connect a socket to an IP address. Raises OSError. After a cancellation the socket is the caller's to close."""
    error = connection.connect_ex(address)
    if error in _UNDER_WAY:
        loop, descriptor = asyncio.get_running_loop(), connection.fileno()
        writable: asyncio.Future[None] = loop.create_future()
        loop.add_writer(descriptor, _wake, writable)
        try:
            await writable
        finally:
            loop.remove_writer(descriptor)
        error = connection.getsockopt(SOL_SOCKET, SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _wake(writable: asyncio.Future[None]) -> None:
    if not writable.done():  # the loop may call once more before the waiter has come, or the waiter may have gone
        writable.set_result(None)
