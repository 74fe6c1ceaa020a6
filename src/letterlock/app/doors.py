"""The doors for another mail server on this machine: their sockets, and their life beside the server's."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from letterlock.app.beside import beside
from letterlock.app.binding import BACKLOG, StartFailed, bind, in_our_place
from letterlock.companion.answer_memory import AnswerMemory
from letterlock.companion.deciding import Decided, decide
from letterlock.companion.dns_answering import DnsAnswering
from letterlock.companion.operating import Operating
from letterlock.companion.policy_door import PolicyDoor
from letterlock.companion.resolver_door import ResolverDoor
from letterlock.config import Endpoint, Options
from letterlock.config.checked_values import UnixPath
from letterlock.discover import Discoverer
from letterlock.net.dns import Upstream
from letterlock.ports import Clock
from letterlock.resolver import Resolver
from letterlock.routing.routes import NextHop

EVERYBODY = 0o666  # of a socket: its directory says who may enter, as for Postfix' own


@dataclass(frozen=True, slots=True)
class DoorSockets:
    """The bound sockets of the doors."""

    policy: tuple[socket.socket, ...] = ()
    dns_stream: tuple[socket.socket, ...] = ()
    dns_datagram: tuple[socket.socket, ...] = ()

    def close(self) -> None:
        """Give all addresses up."""
        for each in (*self.policy, *self.dns_stream, *self.dns_datagram):
            each.close()


NO_SOCKETS = DoorSockets()


def bind_doors(options: Options, *, shared: bool = False, first: DoorSockets | None = None) -> DoorSockets:
    """Bind the doors' sockets, or none. `shared`: several workers bind the same; `first`: what the first has bound.

    A UNIX socket cannot be bound twice: all workers accept from that of the first. Raises StartFailed.
    """
    with ExitStack() as undo:
        policy: list[socket.socket] = []
        for number, place in enumerate(options.keys.policy_listen):
            if isinstance(place, UnixPath):
                bound = _bound_path(place.path) if first is None else first.policy[number].dup()
            else:
                [bound] = bind([place if first is None else _chosen(place, first.policy[number])], shared=shared)
            policy.append(undo.enter_context(bound))
        dns = options.keys.resolver_listen
        places = dns if first is None else list(map(_chosen, dns, first.dns_stream))
        streams = [undo.enter_context(each) for each in bind(places, shared=shared)]
        same = list(map(_chosen, dns, streams))
        datagrams = [undo.enter_context(each) for each in bind(same, shared=shared, datagram=True)]
        for each in datagrams:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)
        undo.pop_all()
        return DoorSockets(tuple(policy), tuple(streams), tuple(datagrams))


RECEIVE_OCTETS = 1 << 20  # of queries that wait in the kernel during a turn of the event loop: some thousand


def _chosen(place: Endpoint, bound: socket.socket) -> Endpoint:
    """The same address with the port that the system chose for a first socket."""
    return Endpoint(place.address, bound.getsockname()[1])


def _bound_path(path: Path) -> socket.socket:
    """A UNIX socket in place of one that a server left behind. Raises StartFailed."""
    if (passed := in_our_place(str(path), None)) is not None:
        return passed
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):  # the usual case
            if stat.S_ISSOCK(path.stat().st_mode):
                path.unlink()
        bound.bind(str(path))
        path.chmod(EVERYBODY)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        hint = "[policy_server] listen: the directory must exist, and the server's user must be able to write there"
        raise StartFailed(f"cannot listen on unix:{path}: {error.strerror}\n  hint: {hint}") from None
    return bound


class Doors:
    """The doors of one process."""

    def __init__(self, options: Options, resolver: Resolver, discoverer: Discoverer, clock: Clock) -> None:
        self._discoverer = discoverer.for_another_server()
        self._fingerprints = options.policy_server.answer == "fingerprint"
        self.memory = AnswerMemory(self._decide, clock.monotonic)
        self.operating = Operating(self.memory, self._decide, options.deliver.port)
        self.policy = PolicyDoor(
            options.policy_server, self.memory, self.operating.commands, usual_port=options.deliver.port
        )
        self.resolver = ResolverDoor(options.resolver_door, DnsAnswering(resolver, clock.now))

    async def _decide(self, hop: NextHop) -> Decided:
        return await decide(self._discoverer, hop, fingerprints=self._fingerprints)

    def reload(self, options: Options, discoverer: Discoverer) -> None:
        """Follow other options; what was decided is forgotten."""
        self._discoverer = discoverer.for_another_server()
        self._fingerprints = options.policy_server.answer == "fingerprint"
        self.policy.reload(options.policy_server)
        self.resolver.reload(options.resolver_door)


@asynccontextmanager
async def open_doors(doors: Doors, sockets: DoorSockets) -> AsyncIterator[None]:
    """Answer on the sockets until the end of the block; then everybody who waits gets an answer."""
    async with AsyncExitStack() as stack:
        if sockets.policy:
            fresh = asyncio.create_task(beside("refreshing policy answers", doors.memory.keep_fresh))
            stack.callback(fresh.cancel)
            await doors.policy.start(sockets.policy)
            stack.push_async_callback(doors.policy.stop)
        if sockets.dns_stream:
            await doors.resolver.start(sockets.dns_datagram, sockets.dns_stream)
            stack.push_async_callback(doors.resolver.stop)
        yield


def refuse_loop(options: Options, upstreams: Sequence[Upstream]) -> None:
    """The resolver door must not be its own upstream. Raises StartFailed."""
    own = {(each.address, each.port) for each in options.keys.resolver_listen}
    for upstream in upstreams:
        if (upstream.address, upstream.port) in own:
            hint = "name the resolver that it shall ask in [resolver] upstream; /etc/resolv.conf leads back to it"
            raise StartFailed(f"the resolver door at {upstream} would ask itself\n  hint: {hint}")
