"""The addresses that the server listens on: all of them are bound, or none."""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from letterlock.config import Endpoint
from letterlock.net.socket_address import socket_address

BACKLOG = 512  # chosen: a burst of connections waits in the kernel, which caps it at net.core.somaxconn


class StartFailed(Exception):
    """The server cannot start. `str()` says why and what to do about it."""


def bind(endpoints: Sequence[Endpoint], *, shared: bool = False) -> list[socket.socket]:
    """Bind every endpoint, or none; `shared`: others may bind the same ones (SO_REUSEPORT). Raises StartFailed."""
    with ExitStack() as undo:
        sockets = [undo.enter_context(_bound(endpoint, shared=shared)) for endpoint in endpoints]
        undo.pop_all()
        return sockets


def _bound(endpoint: Endpoint, *, shared: bool) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(socket_address(endpoint.address, endpoint.port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise StartFailed(f"cannot listen on {endpoint}: {error.strerror}\n  hint: {_bind_hint(error)}") from None
    return bound


def _bind_hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program has this port; stop it, or choose another one in `listen`"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need root (and `user`, to give it up again), or systemd's AmbientCapabilities"
    return "`listen` takes addresses of this machine"
