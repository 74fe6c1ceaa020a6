"""The addresses that the server listens on: all of them are bound, or none."""

import errno
import os
import pwd
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from letterlock.app.activation import UnfitSocket, passed_for
from letterlock.app.socket_units import SERVICE, SocketUnit, holder
from letterlock.config import Endpoint, Options
from letterlock.net.socket_address import socket_address

BACKLOG = 512  # chosen: a burst of connections waits in the kernel, which caps it at net.core.somaxconn
METRICS_KEY = "[metrics] listen"


class StartFailed(Exception):
    """The server cannot start. `str()` says why and what to do about it."""


def bind(endpoints: Sequence[Endpoint], *, shared: bool = False, datagram: bool = False) -> list[socket.socket]:
    """Bind every endpoint, or none; `shared`: we may bind the same ones again (SO_REUSEPORT). Raises StartFailed."""
    with ExitStack() as undo:
        sockets = [undo.enter_context(bind_one(endpoint, shared=shared, datagram=datagram)) for endpoint in endpoints]
        undo.pop_all()
        return sockets


def bind_one(
    endpoint: Endpoint, *, shared: bool = False, datagram: bool = False, key: str = "`listen`"
) -> socket.socket:
    """Bind one endpoint, which the configuration has under `key`. Raises StartFailed."""
    if not datagram and (passed := in_our_place(endpoint.address, endpoint.port)) is not None:
        return passed
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
    try:
        if not datagram:  # for datagrams it would let two servers share an address unawares
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(socket_address(endpoint.address, endpoint.port))
        if not datagram:
            bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        hint = _bind_hint(error, endpoint, key)
        raise StartFailed(f"cannot listen on {endpoint}: {error.strerror}\n  hint: {hint}") from None
    return bound


def in_our_place(address: str, port: int | None) -> socket.socket | None:
    """The service manager's socket in the place of our own. Raises StartFailed."""
    try:
        return passed_for(address, port)
    except UnfitSocket as error:
        raise StartFailed(str(error)) from None


@contextmanager
def bind_metrics(options: Options) -> Iterator[socket.socket | None]:
    """The socket of the metrics' endpoint, for as long as the block lasts; None without one. Raises StartFailed."""
    at = options.metrics.listen
    if at is None:
        yield None
    elif isinstance(at, Endpoint):
        with bind_one(at, key=METRICS_KEY) as bound:
            yield bound
    elif (passed := in_our_place(str(at.path), None)) is not None:
        with passed:
            yield passed  # its path is the service manager's to remove
    else:
        with _bound_at(at.path, options.user) as bound:
            yield bound
        with suppress(OSError):  # its directory may be root's, whom we gave up: then the next start replaces it
            at.path.unlink()


def _bound_at(path: Path, user: str | None) -> socket.socket:
    """A socket for the service's user and group. One that is left over from a server that died is replaced."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            path.unlink()
        bound.bind(os.fspath(path))
        path.chmod(0o660)  # for the user and the group of the service only
        if user is not None and os.geteuid() == 0:
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        hint = "[metrics] listen names a socket in a directory that this user may write to"
        raise StartFailed(f"cannot listen on {path}: {error.strerror or error}\n  hint: {hint}") from None
    return bound


def _is_left_over(path: Path) -> bool:
    """Whether a socket is there that nobody answers on."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(os.fspath(path))
    except ConnectionRefusedError:  # a socket that a dead server left
        return True
    except FileNotFoundError:  # somebody has removed it meanwhile
        return False
    return False


def _bind_hint(error: OSError, endpoint: Endpoint, key: str) -> str:
    if error.errno == errno.EADDRINUSE:
        if (held := holder(endpoint)) is not None:
            return _held_hint(held, endpoint)
        return f"another program has this port; stop it, or choose another one in {key}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need root (and `user`, to give it up again), or systemd's AmbientCapabilities"
    return f"{key} takes addresses of this machine"


def _held_hint(held: SocketUnit, endpoint: Endpoint) -> str:
    holds = f"systemd holds {held.listen} for {held.service}, by {held.unit}"
    if held.service != SERVICE:
        return f"{holds}; stop that unit, or choose another port"
    if held.listen != str(endpoint):
        return f"{holds}; write ListenStream={endpoint} there, so that the server gets this very address"
    return f"{holds}; start the server with `systemctl start {SERVICE}`, which passes it on"
