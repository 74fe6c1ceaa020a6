"""Sockets that the service manager has bound for us (sd_listen_fds(3)), and that take the place of our own.

They are matched with the configuration by their addresses, so that `listen` says what it always says, and everybody who
reads it (`letterlock-sendmail`, say) knows where the server is. A name that the socket unit gives (FileDescriptorName=)
is checked, if it is one of ours: it must be the role of the listener with that address, or `metrics`.
"""

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from letterlock.config import Endpoint, Options
from letterlock.receive.profiles import Role

FIRST = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
MAX_SOCKETS = 200  # chosen: [[listener]] has at most 100 addresses each; a wrong number must not mean a million calls
METRICS = "metrics"


class UnfitSocket(Exception):
    """A socket that was passed cannot be used. `str()` says why and what to do about it."""


@dataclass(frozen=True, slots=True)
class PassedSocket:
    """A listening socket that was passed: its descriptor, the name that its unit gives it, and its address."""

    descriptor: int
    name: str
    address: str  # as `Endpoint` has it, or the path of a UNIX socket
    port: int | None  # None for a UNIX socket

    def __str__(self) -> str:
        return self.address if self.port is None else str(Endpoint(self.address, self.port))

    def taken(self) -> socket.socket:
        """Another descriptor of the same socket, which the caller may close."""
        return socket.socket(fileno=fcntl.fcntl(self.descriptor, fcntl.F_DUPFD_CLOEXEC, 0))


def passed_sockets(environment: Mapping[str, str] = os.environ) -> tuple[PassedSocket, ...]:
    """The sockets that were passed to this very process. Raises UnfitSocket."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return ()
    if int(count) > MAX_SOCKETS:
        raise UnfitSocket(f"LISTEN_FDS is {count}: at most {MAX_SOCKETS} sockets can be passed")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return tuple(_passed(FIRST + number, names[number : number + 1]) for number in range(int(count)))


def _passed(descriptor: int, name: Sequence[str]) -> PassedSocket:
    called = name[0] if name else ""
    try:
        os.set_inheritable(descriptor, False)
        with socket.socket(fileno=os.dup(descriptor)) as found:
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            fits = found.type == socket.SOCK_STREAM and listens
            if not fits or found.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
                raise UnfitSocket(f"the socket {called} from systemd takes no connections\n  hint: write ListenStream=")
            if found.family == socket.AF_INET6 and not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
                hint = "write BindIPv6Only=ipv6-only in the socket unit, and one ListenStream= more for IPv4"
                raise UnfitSocket(f"the socket {called} from systemd takes IPv4 and IPv6 at once\n  hint: {hint}")
            found.setblocking(False)
            at = found.getsockname()
    except OSError as error:
        raise UnfitSocket(f"descriptor {descriptor} from systemd is no socket: {error.strerror}") from None
    if isinstance(at, tuple):
        return PassedSocket(descriptor, called, at[0].partition("%")[0], at[1])
    return PassedSocket(descriptor, called, str(at), None)


def passed_for(address: str, port: int | None) -> socket.socket | None:
    """A socket that was passed for an address, or for a path, if there is one. Raises UnfitSocket."""
    for each in passed_sockets():
        if each.port == port and each.address == address.partition("%")[0]:
            return each.taken()
    return None


def check_passed(options: Options) -> None:
    """Every socket that was passed has its place in the configuration, and the right name. Raises UnfitSocket."""
    places = dict(_places(options))
    for each in passed_sockets():
        if str(each) not in places:
            known = ", ".join(places) or "none"
            hint = f"`listen` has these addresses: {known}; give the socket unit one of them, or the configuration its"
            raise UnfitSocket(f"systemd passes a socket for {each}, and nothing is configured there\n  hint: {hint}")
        what = places[str(each)]
        if each.name in (*Role, METRICS) and each.name != what:
            hint = f"write FileDescriptorName={what}, or leave it out"
            raise UnfitSocket(f"systemd calls the socket for {each} {each.name}, and it is {what}\n  hint: {hint}")


def _places(options: Options) -> Iterator[tuple[str, str]]:
    """What is configured for each address."""
    for listener in options.listeners:
        yield from ((str(_unscoped(each)), listener.profile.role.value) for each in listener.endpoints)
    for door in options.keys.policy_listen:
        yield str(door if isinstance(door, Endpoint) else door.path), "policy"
    yield from ((str(_unscoped(each)), "resolver") for each in options.keys.resolver_listen)
    if (at := options.metrics.listen) is not None:
        yield str(at if isinstance(at, Endpoint) else at.path), METRICS


def _unscoped(endpoint: Endpoint) -> Endpoint:
    return Endpoint(endpoint.address.partition("%")[0], endpoint.port)
