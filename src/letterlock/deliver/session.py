"""From an address to a session that the policy has cleared, or to the reason why there is none.

Everything that the server says before it is cleared may be an attacker's word: it can make us go to the next host or
try again later, never bounce a message.
"""

import asyncio
import functools
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from typing import Protocol, TypeVar

from letterlock.deliver.conversation import Conversation, SessionLost, say
from letterlock.deliver.decision_cache import DecisionCache
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.relay_login import log_in
from letterlock.deliver.reply_hints import NO_HINTS, ReplyHints
from letterlock.frozen import frozen_dataclass
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.mail.replies import Reply
from letterlock.policy.decision import Cleared, Defer, Encryption, Refuse, Requirement, SkipHost
from letterlock.policy.evidence import DestinationEvidence, MxHost, SessionEvidence, SessionId, StartTls, TargetHost
from letterlock.policy.judge import judge, judge_extensions, next_requirement
from letterlock.ports import Clock, Dialer, Stream
from letterlock.routing.routes import NextHop
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import Event, Greeted, HelloAnswered, TlsAnswered, TlsGoAhead

_T = TypeVar("_T")


class EvidenceSource(Protocol):
    """Who asks DNS for the evidence on a destination; `letterlock.discover` has it."""

    def destination_key(self, domain: str) -> str:
        """Where mail for a domain goes, by the operator's routes; mostly the domain itself."""

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """What is known of a next hop; `sender` is the domain of the reverse-path, for rules that go by it."""

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Whether the domain's MTA-STS policy is another one by now (RFC 8461 section 5.1)."""

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """What is known of one of its hosts."""


class Shuffle(Protocol):
    """Chance, for hosts of equal preference (RFC 5321 section 5.1)."""

    def __call__(self, items: Sequence[_T], /) -> Sequence[_T]:
        """The same items in another order."""


TakeReport = Callable[[bytes, str], Awaitable[str]]
"""Keep the report in a message of a name; what it was, for the log. Raises StoreFailed, and nothing for the report."""


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside world, as an attempt needs it."""

    discoverer: EvidenceSource
    dialer: Dialer
    clock: Clock
    shuffle: Shuffle
    decision_cache: DecisionCache = field(default_factory=DecisionCache)
    take_report: TakeReport | None = None


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session whose requirement held at `judged_at` (seconds since 1970). The conversation is the holder's to end.

    `reused`: it served others before. `local`: it does not leave this machine, and no new one could do better.
    """

    conversation: Conversation
    cleared: Cleared
    evidence: SessionEvidence
    handshake: Completed | None
    connected_at: float
    judged_at: float = 0.0
    reused: bool = False
    local: bool = False

    @property
    def exposed(self) -> bool:
        """In clear, over a network: an attacker on the path may have written everything that the server sent."""
        return self.handshake is None and not self.local and not _is_loopback(self.evidence.address)


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class NotCleared:
    """The policy did not clear the session, for what `evidence` shows; it is closed already."""

    verdict: SkipHost | Defer | Refuse
    evidence: SessionEvidence
    connected_at: float


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """There was no session to judge. `status` is of class 4; `hints` are what its last reply asks for."""

    status: str
    text: str
    connected_at: float | None
    hints: ReplyHints = NO_HINTS


Answered = Callable[[float, float], None]
"""Called when a server has answered the first EHLO: with the seconds since the connection, and since the greeting."""

OpenResult = Opened | NotCleared | Unreachable


def _unrecorded(_requirement: Requirement, _result: OpenResult) -> None:
    """Nobody keeps a record of the sessions."""


def _unheard(_elapsed: float, _reply: float) -> None:
    """Nobody goes by how fast the server is."""


async def open_with_fallback(
    address: str,
    requirement: Requirement,
    *,
    ports: Ports,
    options: DeliverOptions,
    implicit: bool = False,
    lmtp: bool = False,
    stream: Stream | None = None,
    tried: Callable[[Requirement, OpenResult], None] = _unrecorded,
    answered: Answered = _unheard,
) -> OpenResult:
    """A session with one judged address under a requirement, or under the fallback that the requirement has earned.

    After a handshake that failed comes a second one, under the same requirement: with a smaller ClientHello and, where
    no certificate is demanded, without a server name. Only when that has failed too, the requirement's own fallback is
    tried, if it has one (RFC 7672 section 2.2). There is no other way from TLS to cleartext. `tried` is called after
    each session, with what it had to hold and how it ended. Never raises for the peer; the rest is as in
    `open_session`.
    """

    opened = functools.partial(
        open_session, address, ports=ports, options=options, implicit=implicit, lmtp=lmtp, answered=answered
    )
    result = await opened(requirement, stream=stream)
    tried(requirement, result)
    if isinstance(result, NotCleared) and isinstance(result.evidence.handshake, HandshakeFailed):
        result = await opened(requirement, compatible=True)
        tried(requirement, result)
    if implicit:
        return result  # there is no cleartext where TLS comes first
    if isinstance(result, NotCleared) and (fallback := next_requirement(requirement, result.evidence)) is not None:
        result = await opened(fallback)
        tried(fallback, result)
    return result


async def open_session(
    address: str,
    requirement: Requirement,
    *,
    ports: Ports,
    options: DeliverOptions,
    compatible: bool = False,
    implicit: bool = False,
    lmtp: bool = False,
    stream: Stream | None = None,
    answered: Answered = _unheard,
) -> OpenResult:
    """Connect to one judged address, do STARTTLS as required, and have the session judged. Never raises for the peer.

    `stream`: a connection to the address that was made already.
    `compatible` is the second try with a server that refused the first handshake, under the same requirement.
    `implicit`: TLS from the first octet instead of STARTTLS (RFC 8314 section 3), judged before anything is said.
    `lmtp`: the server speaks LMTP.
    """
    timeouts = options.timeouts
    deadline = asyncio.get_running_loop().time() + timeouts.session
    try:
        if stream is None:
            async with asyncio.timeout(timeouts.connect):
                stream = await ports.dialer.dial(address, options.port)
    except TimeoutError:
        text = f"no connection within {timeouts.connect:.0f} seconds"
        return Unreachable(status="4.4.1", text=text, connected_at=None)
    except OSError as error:
        return Unreachable(status="4.4.1", text=f"cannot connect: {say(error)}", connected_at=None)
    client = SmtpClient(options.hostname, secure=implicit, lmtp=lmtp, ignored=options.ignore_ehlo)
    session = SessionId()
    conversation = Conversation(stream, client, timeouts, deadline, session)
    opening = _Opening(conversation, session, requirement, ports, options, answered, compatible=compatible)
    return await opening.run()


class _Opening:
    """One session on its way from the greeting to the verdict."""

    def __init__(
        self,
        conversation: Conversation,
        session: SessionId,
        requirement: Requirement,
        ports: Ports,
        options: DeliverOptions,
        answered: Answered,
        *,
        compatible: bool,
    ) -> None:
        self._conversation = conversation
        self._session = session
        self._requirement = requirement
        self._ports = ports
        self._port = options.port
        self._login = options.login
        self._compatible = compatible
        self._answered = answered
        self._connected_at = ports.clock.now()
        self._began = ports.clock.monotonic()
        self._greeted: float | None = None  # monotonic; None when EHLO was answered
        self._said_helo = False
        self._tls_answered: TlsAnswered | None = None

    async def run(self) -> OpenResult:
        opened = False
        try:
            result = await self._judged()
            opened = isinstance(result, Opened)
        except SessionLost as lost:
            result = Unreachable(status=lost.status, text=lost.text, connected_at=self._connected_at, hints=lost.hints)
        finally:
            if not opened:
                await self._give_up()
        return result

    async def _give_up(self) -> None:
        try:
            await self._conversation.end()
        except asyncio.CancelledError:
            self._conversation.stream.abort()
            raise

    async def _judged(self) -> OpenResult:
        implicit = self._conversation.client.secure
        evidence = await (self._implicit_tls() if implicit else self._explicit_tls())
        now = self._ports.clock.now()
        verdict = judge(self._requirement, evidence, now)
        if not isinstance(verdict, Cleared):
            return NotCleared(verdict=verdict, evidence=evidence, connected_at=self._connected_at)
        handshake = evidence.handshake if isinstance(evidence.handshake, Completed) else None
        if handshake is not None:
            if not implicit:
                self._conversation.command(self._conversation.client.tls_established)
                self._conversation.command(self._conversation.client.hello)
            await self._conversation.exchange(self._hear)
        offered = self._conversation.client.capabilities.requiretls
        extended = judge_extensions(verdict, evidence, requiretls_offered=offered)
        if not isinstance(extended, Cleared):
            return NotCleared(verdict=extended, evidence=evidence, connected_at=self._connected_at)
        if self._login is not None:
            await log_in(self._conversation, self._login, extended)
        return Opened(
            conversation=self._conversation,
            cleared=extended,
            evidence=evidence,
            handshake=handshake,
            connected_at=self._connected_at,
            judged_at=now,
        )

    async def _explicit_tls(self) -> SessionEvidence:
        await self._conversation.exchange(self._hear)
        return await self._starttls()

    async def _implicit_tls(self) -> SessionEvidence:
        """TLS that nobody had to offer, and nobody could strip."""
        return self._evidence(StartTls.IMPLICIT, handshake=await self._shake_hands())

    def _hear(self, event: Event) -> bool:
        """Answer what the server says until it is time for TLS, or for mail; whether more is to be heard."""
        match event:
            case Greeted(reply=reply):
                _insist(reply.positive, "refused to talk to us", reply)
                self._greeted = self._ports.clock.monotonic()
                self._conversation.command(self._conversation.client.hello)
                return True
            case HelloAnswered():
                if self._greeted is not None:
                    now, greeted, self._greeted = self._ports.clock.monotonic(), self._greeted, None
                    self._answered(now - self._began, now - greeted)
                return self._hello_answered(event)
            case TlsAnswered():
                self._tls_answered = event
                return False
        raise TypeError(f"the client gave {event!r} before there was mail")

    def _hello_answered(self, answered: HelloAnswered) -> bool:
        """HELO after EHLO only in clear, to a server that does not know EHLO, where nothing demands TLS.

        A server that knows neither is not one that a message can be sent to. Where TLS is demanded, one that does not
        know EHLO is left to the policy: it does not offer STARTTLS.
        """
        client, wanted = self._conversation.client, self._requirement.encryption
        unknown = answered.capabilities is None and _does_not_know(answered.reply) and not self._said_helo
        if unknown and not (client.secure or client.lmtp):
            if wanted is Encryption.MANDATORY:
                return False
            self._said_helo = True
            self._conversation.command(client.hello_without_extensions)
            return True
        _insist(answered.capabilities is not None, "refused our EHLO", answered.reply)
        if client.secure or wanted is Encryption.NONE or not client.capabilities.starttls:
            return False
        self._conversation.command(client.start_tls)
        return True

    async def _starttls(self) -> SessionEvidence:
        answered = self._tls_answered
        if answered is None:
            untried = self._requirement.encryption is Encryption.NONE
            return self._evidence(StartTls.NOT_TRIED if untried else StartTls.NOT_OFFERED)
        match answered.go_ahead:
            case TlsGoAhead.REFUSED:
                return self._evidence(StartTls.REFUSED, refusal=answered.reply)
            case TlsGoAhead.INJECTED:
                return self._evidence(StartTls.INJECTED)
        return self._evidence(StartTls.OFFERED, handshake=await self._shake_hands())

    async def _shake_hands(self) -> Completed | HandshakeFailed:
        conversation, seconds = self._conversation, self._conversation.timeouts.handshake
        stream: Stream = conversation.stream
        try:
            with conversation.within(seconds):
                conversation.stream, handshake = await self._ports.dialer.start_tls(
                    stream, self._server_name(), compatible=self._compatible
                )
        except TimeoutError:
            stream.abort()
            return HandshakeFailed(f"not finished within {seconds:.0f} seconds")
        return handshake

    def _server_name(self) -> str | None:
        """The SNI. A server may refuse names that it does not know (RFC 6066 section 3, unrecognized_name): where no
        certificate is demanded, and so the name does not matter, the second handshake does without."""
        if self._compatible and not self._requirement.demands_certificate:
            return None
        return self._requirement.sni

    def _evidence(
        self,
        starttls: StartTls,
        *,
        refusal: Reply | None = None,
        handshake: Completed | HandshakeFailed | None = None,
    ) -> SessionEvidence:
        return SessionEvidence(
            address=self._conversation.stream.peer,
            port=self._port,
            starttls=starttls,
            refusal=refusal,
            handshake=handshake,
            session=self._session,
        )


@functools.lru_cache(maxsize=256)  # a few servers take most mail; 100 bytes each
def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _does_not_know(reply: Reply) -> bool:
    """Whether the command was not understood: any 50z, by the first two digits (RFC 5321 sections 4.2.1 and 4.3.2)."""
    return reply.code // 10 == 50


def _insist(condition: bool, what: str, reply: Reply) -> None:
    if not condition:
        raise SessionLost("4.3.2", f"the server {what}: {reply}", reply)
