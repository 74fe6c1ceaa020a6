"""The doors for another mail server on this machine: their sockets, and their life beside the server's."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from letterlock.app.binding import BACKLOG, StartFailed, bind
from letterlock.companion.answer_memory import AnswerMemory
from letterlock.companion.deciding import Decided, decide
from letterlock.companion.operating import Operating
from letterlock.companion.policy_door import PolicyDoor
from letterlock.config import Endpoint, Options
from letterlock.config.checked_values import UnixPath
from letterlock.discover import Discoverer
from letterlock.ports import Clock
from letterlock.routing.routes import NextHop

EVERYBODY = 0o666  # of a socket: its directory says who may enter, as for Postfix' own


@dataclass(frozen=True, slots=True)
class DoorSockets:
    """The bound sockets of the doors."""

    policy: tuple[socket.socket, ...] = ()

    def close(self) -> None:
        """Give all addresses up."""
        for each in self.policy:
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
                chosen = place if first is None else Endpoint(place.address, first.policy[number].getsockname()[1])
                [bound] = bind([chosen], shared=shared)
            policy.append(undo.enter_context(bound))
        undo.pop_all()
        return DoorSockets(tuple(policy))


def _bound_path(path: Path) -> socket.socket:
    """A UNIX socket in place of one that a server left behind. Raises StartFailed."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
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

    def __init__(self, options: Options, discoverer: Discoverer, clock: Clock) -> None:
        self._discoverer = discoverer.for_another_server()
        self._fingerprints = options.policy_server.answer == "fingerprint"
        self.memory = AnswerMemory(self._decide, clock.monotonic)
        self.operating = Operating(self.memory, lambda hop: decide(self._discoverer, hop), clock)
        self.policy = PolicyDoor(options.policy_server, self.memory, self.operating.commands)

    async def _decide(self, hop: NextHop) -> Decided:
        return await decide(self._discoverer, hop, fingerprints=self._fingerprints)

    def reload(self, options: Options, discoverer: Discoverer) -> None:
        """Follow other options; what was decided is forgotten."""
        self._discoverer = discoverer.for_another_server()
        self._fingerprints = options.policy_server.answer == "fingerprint"
        self.policy.reload(options.policy_server)


@asynccontextmanager
async def open_doors(doors: Doors, sockets: DoorSockets) -> AsyncIterator[None]:
    """Answer on the sockets until the end of the block; then everybody who waits gets an answer."""
    if not sockets.policy:
        yield
        return
    fresh = asyncio.create_task(doors.memory.keep_fresh())
    await doors.policy.start(sockets.policy)
    try:
        yield
    finally:
        await doors.policy.stop()
        fresh.cancel()
