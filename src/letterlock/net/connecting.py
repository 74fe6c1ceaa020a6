"""Sockets that never wait.

Those of sessions and queries are `SocketType`, the base of Python's `socket.socket`: that one's constructor and `close`
are written in Python, and count users that these sockets never have.
"""

from socket import SOCK_NONBLOCK, AddressFamily, SocketKind, SocketType


def nonblocking_socket(family: AddressFamily, kind: SocketKind) -> SocketType:
    """A socket that never waits and that no child inherits. Raises OSError."""
    return SocketType(family, kind | SOCK_NONBLOCK)
