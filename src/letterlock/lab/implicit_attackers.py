"""The port where TLS comes before SMTP (RFC 8314 section 7.3): the honest server there, and who may be in its place."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum, auto

from letterlock.lab.attackers import RelayedSession
from letterlock.lab.cutters import CutAfterHandshake
from letterlock.lab.mail_server import MailServer
from letterlock.lab.raw_smtp import Tell, Wire, connected, say_nothing

_LOGIN_FIRST = b"530 5.7.0 Authentication required\r\n"  # RFC 4954 section 6


class NoAnswer(Enum):
    """Nobody talks at the port."""

    CLOSED = auto()  # connections are reset
    FILTERED = auto()  # connections are never answered


class ImplicitMailServer(MailServer):
    """A mail server that begins with the TLS handshake."""

    async def talk(self, wire: Wire) -> None:
        """One session. Raises ConnectionError when the other side goes away."""
        await wire.start_tls(self.context, server=True)
        await super().talk(wire)


class SubmissionServer(ImplicitMailServer):
    """What that port is mostly for: it takes mail from users who log in, and from nobody else."""

    def _reply(self, verb: bytes, *, encrypted: bool) -> bytes:
        return _LOGIN_FIRST if verb == b"MAIL" else super()._reply(verb, encrypted=encrypted)


class SilentPort:
    """Accepts connections and says nothing. Never holds anything."""

    def __init__(self, tell: Tell = say_nothing) -> None:
        self._tell = tell

    def holds(self, _secret: bytes) -> bool:
        """Whether the attacker read the secret."""
        return False

    async def talk(self, wire: Wire) -> None:
        """One connection. Raises PeerClosed when the other side goes away."""
        self._tell("attacker on the path: says nothing at the port for implicit TLS")
        while True:
            await wire.read_some()


class ImplicitCutter(CutAfterHandshake):
    """Passes the handshake on, and closes the connection when the client has finished it."""

    async def talk(self, victim: Wire) -> None:
        """One session. Raises ConnectionError when either side goes away."""
        async with connected(*self._honest) as honest:
            await self._pass_through(RelayedSession(victim, honest))


@contextmanager
def unanswered(bound: socket.socket) -> Iterator[None]:
    """The kernel drops every attempt to connect to a bound socket, as a packet filter would."""
    bound.listen(0)
    with ExitStack() as stack:
        waiting = stack.enter_context(socket.socket())
        waiting.connect(bound.getsockname())  # nobody accepts it, and with that the queue is full
        yield
