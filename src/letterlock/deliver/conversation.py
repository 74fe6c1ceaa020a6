"""The SMTP client over a stream: every wait has an end, and every way to fail is one exception."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar, TypeVarTuple

from letterlock.deliver.options import Timeouts
from letterlock.deliver.reply_hints import NO_HINTS, ReplySubject, advise
from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import Wishes
from letterlock.net.errors import os_error_words
from letterlock.net.time_limits import Limit
from letterlock.net.tls import TlsStream
from letterlock.policy.decision import Cleared
from letterlock.policy.evidence import SessionId
from letterlock.ports import Stream
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_content import WireContent
from letterlock.smtp.client_events import Capabilities, ConnectionEnded, Event, RemoteProtocolError, ServerClosing
from letterlock.smtp.client_steps import ClientState, Step

BLOCK_OCTETS = 1 << 16  # chosen: as much as a socket usually takes at once
MAX_AT_ONCE_OCTETS = 1 << 14  # what a kernel takes without waiting
# Members of enums that each message meets: until Python 3.12, to look one up in its class costs more than a call.
_CLOSED = ClientState.CLOSED
_MESSAGE = Step.MESSAGE
_MAY_QUIT = frozenset({ClientState.GREETED, ClientState.READY})
_READ_OCTETS = 1 << 13  # chosen: replies are a few hundred octets
_Wanted = TypeVar("_Wanted")
_Given = TypeVarTuple("_Given")


class SessionLost(Exception):
    """The session cannot go on: the connection broke, the server was too slow, against the protocol, or said 421.

    `status` is an enhanced status code of class 4, `text` says what happened; `hints` are what the server's last reply
    asks for, `said` whether there were any.
    """

    def __init__(self, status: str, text: str, reply: Reply | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.said = reply is not None
        self.hints = NO_HINTS if reply is None else advise(reply, ReplySubject.SESSION)


class Spoken(Protocol):
    """The client of a conversation, but for `begin`: mail is begun by `Conversation.begin` alone."""

    @property
    def state(self) -> ClientState: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def secure(self) -> bool: ...
    @property
    def lmtp(self) -> bool: ...
    @property
    def ignored(self) -> frozenset[str]: ...
    @property
    def pipelining(self) -> bool: ...
    @property
    def chunking(self) -> bool: ...
    @property
    def may_send_early(self) -> bool: ...
    @property
    def may_follow(self) -> bool: ...
    @property
    def fault(self) -> str | None: ...
    @property
    def sent_early(self) -> bool: ...
    def take_output(self) -> bytes: ...
    def hello(self) -> None: ...
    def hello_without_extensions(self) -> None: ...
    def start_tls(self) -> None: ...
    def tls_established(self) -> None: ...
    def send_message(self, content: WireContent) -> None: ...
    def begin_message(self, octets: int) -> bytes: ...


class Conversation:
    """One session with one server. `deadline` is the event loop's time at which all must be over.

    `session` is which one it is, for the proof that it may have mail; `client` is the protocol's state, and what may be
    said that is not mail.
    """

    def __init__(
        self, stream: Stream, client: SmtpClient, timeouts: Timeouts, deadline: float, session: SessionId
    ) -> None:
        self.stream = stream
        self.client: Final[Spoken] = client
        self._client = client
        self._session = session
        self.timeouts = timeouts
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._limit = Limit()
        self._events: list[Event] = []  # short, and a deque takes 760 bytes while a session is idle
        self._step: Step | None = None  # what is waited for
        self._seconds = 0.0  # and how long it may take
        self.on_end: Callable[[], None] | None = None  # called once, when the session is about to end

    def demand(self, proof: object) -> None:
        """Raises TypeError unless this is the proof for this very session."""
        # getattr: an object that was made without the constructor has no session at all
        if not isinstance(proof, Cleared) or getattr(proof, "session", None) is not self._session:
            raise TypeError("a message goes nowhere without the proof for the very session")

    def begin(
        self,
        cleared: Cleared,
        reverse_path: Mailbox | None,
        recipients: Sequence[Mailbox],
        *,
        size: int,
        eight_bit: bool,
        requiretls: bool,
        wishes: Wishes,
        smtputf8: bool,
        early: WireContent | None,
        behind: bool = False,
    ) -> None:
        """MAIL FROM, and what goes with it (`SmtpClient.begin`); `size` is in octets.

        Raises SessionLost; TypeError without the proof.
        """
        self.demand(cleared)
        self._refuse_if_over()
        try:
            self._client.begin(
                reverse_path,
                recipients,
                size=size,
                eight_bit=eight_bit,
                requiretls=requiretls,
                wishes=wishes,
                smtputf8=smtputf8,
                early=early,
                behind=behind,
            )
        except RemoteProtocolError as error:
            raise SessionLost("4.5.0", str(error)) from None

    def log_in(self, mechanism: str, response: bytes | None) -> None:
        """AUTH (`SmtpClient.log_in`). Raises SessionLost."""
        self.command(self._client.log_in, mechanism, response)

    def answer_challenge(self, response: bytes) -> None:
        """The response to a challenge. Raises SessionLost."""
        self.command(self._client.answer_challenge, response)

    def begin_anew(self, seconds: float) -> None:
        """Give the session as much time again, for another message."""
        self._deadline = self._loop.time() + seconds

    async def expect(self, wanted: type[_Wanted]) -> _Wanted:
        """Send what is to be sent and wait for the one event that must come next. Raises SessionLost."""
        event = await self.next_event()
        if not isinstance(event, wanted):
            raise TypeError(f"the client gave {event!r} where {wanted.__name__} was due")
        return event

    async def next_event(self) -> Event:
        """Send what is to be sent and wait for an event. Raises SessionLost; 421 is one, behind the answer it gave."""
        await self.send()
        if not self._events:
            await self._receive()
        event = self._events.pop(0)
        if isinstance(event, ServerClosing):
            raise _closing(event)
        return event

    async def exchange(self, hear: Callable[[Event], bool]) -> None:
        """Send what is to be sent and give events to `hear`, answering at once, until it has enough.

        Raises SessionLost, and what `hear` raises; 421 is the former, behind the answer that it gave.
        """
        if self._events and not self._hand_on(hear):
            return await self.send()
        self._refuse_if_over()
        first = self._client.take_output()
        if len(first) > MAX_AT_ONCE_OCTETS:
            await self.write_blocks(first)
            first = b""

        def answer(octets: bytes) -> bytes | None:
            self._events += self._client.receive(octets)
            if not self._hand_on(hear):
                return None
            self._refuse_if_over()
            self._limit.move(self._answer_due())
            return self._client.take_output()

        try:
            with self._limit.until(self._answer_due()):
                await self.stream.converse(first, answer, _READ_OCTETS)
        except (OSError, RemoteProtocolError) as error:
            raise self._loss(error) from None

    def _hand_on(self, hear: Callable[[Event], bool]) -> bool:
        """Whether more is wanted when all events were heard."""
        events = self._events
        while events:
            event = events.pop(0)
            if isinstance(event, ServerClosing):
                raise _closing(event)
            if not hear(event):
                return False
        return True

    async def send(self) -> None:
        """Write what the client has to send, block by block. Raises SessionLost."""
        await self.write_blocks(self._client.take_output())

    async def write_blocks(self, output: bytes) -> None:
        """Write octets, each block in its time. Raises SessionLost."""
        for start in range(0, len(output), BLOCK_OCTETS):
            await self.write(output[start : start + BLOCK_OCTETS])

    async def write(self, block: bytes) -> None:
        """Write one block. Raises SessionLost."""
        limit = self.limit(self.timeouts.block)
        try:
            with self._limit.until(self._loop.time() + limit):
                await self.stream.write(block)
        except TimeoutError:
            raise SessionLost("4.4.2", f"the server took no more data for {limit:.0f} seconds") from None
        except OSError as error:
            raise SessionLost("4.4.2", f"the connection broke while sending: {say(error)}") from None

    def command(self, command: Callable[[*_Given], None], *given: *_Given) -> None:
        """Give the client a command, unless the server has ended the session or broken the protocol.

        Raises SessionLost.
        """
        self._refuse_if_over()
        try:
            command(*given)
        except RemoteProtocolError as error:
            raise SessionLost("4.5.0", str(error)) from None

    async def end(self) -> None:
        """Say QUIT where that is possible, and close. Does not wait for the answer, which changes nothing any more."""
        self.release()
        goodbye, stream = self._goodbye(), self.stream
        if isinstance(stream, TlsStream):
            self._limit.close()
            await stream.close(goodbye)  # in one packet with the end of TLS
            return
        try:
            if goodbye:
                with self._limit.until(self._loop.time() + self.timeouts.goodbye):
                    await stream.write(goodbye)
        except OSError:
            stream.abort()
        self._limit.close()
        await stream.close()

    def _goodbye(self) -> bytes:
        """QUIT, where it may be said. A server that has broken the protocol is not talked to any more."""
        if self._client.state not in _MAY_QUIT:
            return b""
        try:
            self._client.quit()
        except RemoteProtocolError:
            self.stream.abort()
            return b""
        return self._client.take_output()

    def abandon(self) -> None:
        """End at once, without a word."""
        self.release()
        self._limit.close()
        self.stream.abort()

    def release(self) -> None:
        """Be counted no more among the sessions with the server: it is about to end."""
        if (on_end := self.on_end) is not None:
            self.on_end = None
            on_end()

    def limit(self, seconds: float) -> float:
        """The time-out, cut to what the whole session has left."""
        return max(0.0, min(seconds, self._deadline - self._loop.time()))

    def within(self, seconds: float) -> Limit:
        """The limit of a wait of at most so many seconds, which ends with the session: `with within(...): await ...`.

        Raises TimeoutError.
        """
        return self._limit.until(self._loop.time() + self.limit(seconds))

    def _refuse_if_over(self) -> None:
        if self._client.state is not _CLOSED:  # a fault closes it, too
            return
        if self._client.fault is not None:
            raise SessionLost("4.5.0", self._client.fault)
        raise SessionLost("4.4.2", "the session is over")

    async def _receive(self) -> None:
        self._refuse_if_over()
        when = self._answer_due()
        try:
            while not self._events:
                with self._limit.until(when):
                    octets = await self.stream.read(_READ_OCTETS)
                self._events.extend(self._client.receive(octets))
                await self.send()
        except (OSError, RemoteProtocolError) as error:
            raise self._loss(error) from None

    def _answer_due(self) -> float:
        """Until when the next answer must have come (event loop's time)."""
        client, now = self._client, self._loop.time()
        self._step = step = client.awaiting
        seconds, left = self.timeouts.answer(_MESSAGE if client.sent_early else step), self._deadline - now
        self._seconds = seconds = seconds if seconds <= left else max(0.0, left)
        return now + seconds

    def _loss(self, error: OSError | RemoteProtocolError) -> SessionLost:
        """What ended a session in which an answer was due."""
        match error:
            case TimeoutError():
                return SessionLost("4.4.2", f"no answer within {self._seconds:.0f} seconds: {self._step}")
            case ConnectionEnded():
                return SessionLost("4.4.2", str(error))
            case RemoteProtocolError():
                return SessionLost("4.5.0", str(error))
        text = f"the connection broke, waiting for the answer to {self._step}: {say(error)}"
        return SessionLost("4.4.2", text)


def _closing(event: ServerClosing) -> SessionLost:
    return SessionLost("4.3.2", f"the server is closing: {event.reply}", event.reply)


def say(error: OSError) -> str:
    """What an operating system's error means, in words."""
    return os_error_words(error)
