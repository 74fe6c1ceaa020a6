"""Users that Dovecot knows: passes SASL messages on to its auth service.

All logins of a process share one connection, which is made when it is needed and ends when nobody needed it for a
minute. While Dovecot is away nobody's password is wrong: every login fails for the time being.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from letterlock.accounts.backend import AccountsAway, Caller
from letterlock.mail.addresses import Mailbox
from letterlock.sasl.dovecot_protocol import (
    MAX_LINE_OCTETS,
    AuthAnswer,
    AuthFinding,
    AuthGreeting,
    BadAuthLine,
    auth_request,
    cancellation,
    continuation,
    introduction,
    read_auth_answer,
)
from letterlock.sasl.exchange import Accepted, Challenge, Rejected

CONNECT_SECONDS = 5.0  # for the connection and the greeting: both are answered on this machine, or next to it
ANSWER_SECONDS = 60.0  # Dovecot delays failures by 2 seconds, and those of a client that guesses by up to 15 more
IDLE_SECONDS = 60.0  # then the connection ends: after a reload, the one of the old configuration does so, too
RETRY_SECONDS = 1.0  # after a failure: who logs in meanwhile does not wait for the next one
MAX_IDENTITY = 2**31 - 1  # a PID in Dovecot's eyes; the same one twice would be refused
OFFERED = ("SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN")
"""What is offered of what Dovecot has, best first. Not CRAM-MD5, DIGEST-MD5 and NTLM, which need stored passwords in
clear or nearly so, nor ANONYMOUS and EXTERNAL, which prove nothing here."""
UNKNOWN_YET = ("PLAIN", "LOGIN")  # offered while Dovecot was never reached, so that clients are put off by AUTH itself

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
log = logging.getLogger("letterlock.accounts")


class DovecotLink:
    """A connection to the auth service. After a failure it is of no more use, and all who wait get AccountsAway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[AuthAnswer]] = {}
        self._reading: asyncio.Task[None] | None = None
        self.mechanisms: tuple[str, ...] = ()
        self.failure = ""  # why it is of no more use

    @classmethod
    async def open(cls, connect: Connect) -> "DovecotLink":
        """Connect, and read the greeting. Raises AccountsAway."""
        link: DovecotLink | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                link = cls(*await connect())
                await link._greet()
        except (OSError, BadAuthLine) as error:
            if link is not None:
                link.close()
            raise AccountsAway(_why(error)) from None
        except BaseException:
            if link is not None:
                link.close()
            raise
        link._reading = asyncio.create_task(link._read())
        return link

    async def _greet(self) -> None:
        self._writer.write(introduction(1 + secrets.randbelow(MAX_IDENTITY)))
        greeting = AuthGreeting()
        while not greeting.feed(await self._line()):
            pass
        self.mechanisms = tuple(each for each in OFFERED if each in greeting.mechanisms)

    def number(self) -> int:
        """The number of a new request."""
        return next(self._numbers) & 0xFFFF_FFFF  # a 32-bit number

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return bool(self._waiting)

    async def ask(self, number: int, line: bytes) -> AuthAnswer:
        """Send a line of a request, and wait for its answer. Raises AccountsAway."""
        if self.failure:
            raise AccountsAway(self.failure)
        waiting: asyncio.Future[AuthAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        self._writer.write(line)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting
        except TimeoutError:
            self._writer.write(cancellation(number))
            raise AccountsAway(f"no answer within {ANSWER_SECONDS:g} seconds") from None
        except asyncio.CancelledError:
            self.cancel(number)
            raise
        finally:
            self._waiting.pop(number, None)

    def cancel(self, number: int) -> None:
        """Nobody waits for the answer to a request any more."""
        if not self.failure:
            self._writer.write(cancellation(number))

    def close(self) -> None:
        """End the connection."""
        self.failure = self.failure or "the connection was closed"
        if self._reading is not None:
            self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        try:
            while True:
                answer = read_auth_answer(await self._line())
                if answer is not None and (waiting := self._waiting.get(answer.number)) and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, BadAuthLine) as error:
            self.failure = _why(error)
        finally:
            self.failure = self.failure or "the connection was closed"
            self._writer.close()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(AccountsAway(self.failure))

    async def _line(self) -> bytes:
        """The next line. Raises OSError, BadAuthLine."""
        try:
            line = await self._reader.readline()
        except ValueError:  # longer than the reader's own limit
            raise BadAuthLine("a line without end") from None
        if not line:
            raise ConnectionResetError("it closed the connection")
        if len(line) > MAX_LINE_OCTETS:
            raise BadAuthLine(f"a line of more than {MAX_LINE_OCTETS} bytes")
        return line


class DovecotAccounts:
    """The users of a Dovecot. `name` is for the log, `domain` is added to names without one to get an address."""

    def __init__(self, connect: Connect, name: str, domain: str | None = None) -> None:
        self._connect = connect
        self._name = name
        self._domain = domain
        self._link: DovecotLink | None = None
        self._known: tuple[str, ...] = UNKNOWN_YET
        self._opening: asyncio.Lock | None = None
        self._failed_at = float("-inf")
        self._failure = ""
        self._idle: asyncio.TimerHandle | None = None

    async def mechanisms(self) -> tuple[str, ...]:
        """What Dovecot has, or had when it was last heard."""
        with suppress(AccountsAway):  # a login then finds out and answers 454; what to offer is what was known
            await self.link()
        return self._known

    def begin(self, mechanism: str, caller: Caller) -> "DovecotExchange":
        """Begin an exchange."""
        return DovecotExchange(self, mechanism, caller)

    async def may_send_as(self, user: str, mailbox: Mailbox) -> bool:
        """Dovecot knows nothing of this: a user's own address is their name."""
        name = user if "@" in user or self._domain is None else f"{user}@{self._domain}"
        return name.lower() == f"{mailbox.local_part}@{mailbox.domain}".lower()

    def close(self) -> None:
        """End the connection."""
        if self._idle is not None:
            self._idle.cancel()
        if self._link is not None:
            self._link.close()
            self._link = None

    async def link(self) -> DovecotLink:
        """The connection, made anew where it has ended. Raises AccountsAway."""
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._link is not None and not self._link.failure:
                self._put_off_idling()
                return self._link
            loop = asyncio.get_running_loop()
            if loop.time() < self._failed_at + RETRY_SECONDS:
                raise AccountsAway(self._failure)
            try:
                self._link = await DovecotLink.open(self._connect)
            except AccountsAway as error:
                self._failed_at, self._failure = loop.time(), f"{self._name}: {error}"
                log.warning("Dovecot cannot be asked for logins: %s", self._failure)
                raise AccountsAway(self._failure) from None
            self._known = self._link.mechanisms
            self._put_off_idling()
            return self._link

    def _put_off_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        if self._link is not None and self._link.busy:
            self._put_off_idling()
        else:
            self.close()


class DovecotExchange:
    """One login, whose messages are passed on."""

    def __init__(self, accounts: DovecotAccounts, mechanism: str, caller: Caller) -> None:
        self._accounts = accounts
        self._mechanism = mechanism
        self._caller = caller
        self._link: DovecotLink | None = None
        self._number = 0
        self._ending: Accepted | Rejected | None = None
        self.user: str | None = None

    async def step(self, response: bytes | None) -> Challenge | Accepted | Rejected:
        """Pass the client's message on. Raises AccountsAway."""
        if (ending := self._ending) is not None:
            self._ending = None
            return ending if not response or isinstance(ending, Rejected) else Rejected("more than an empty answer")
        try:
            if self._link is None:
                answer = await self._first(response)
            else:
                answer = await self._link.ask(self._number, continuation(self._number, response or b""))
        except BadAuthLine as error:
            return Rejected(str(error), self.user)
        return self._settled(answer)

    async def _first(self, response: bytes | None) -> AuthAnswer:
        link = await self._accounts.link()
        if self._mechanism not in link.mechanisms:
            raise AccountsAway(f"Dovecot does not offer {self._mechanism} any more")
        number, caller = link.number(), self._caller
        line = auth_request(number, self._mechanism, client=caller.client, met_at=caller.met_at, response=response)
        self._link, self._number = link, number
        return await link.ask(number, line)

    def _settled(self, answer: AuthAnswer) -> Challenge | Accepted | Rejected:
        if answer.finding is AuthFinding.CONTINUES:
            return Challenge(answer.data or b"")
        self._link, self.user = None, answer.user or self.user
        if answer.temporary:
            raise AccountsAway(answer.why)
        ending: Accepted | Rejected = Rejected(answer.why, self.user)
        if answer.finding is AuthFinding.SUCCEEDED and answer.may_enter and answer.user is not None:
            ending = Accepted(answer.user)
        if not answer.data:
            return ending
        self._ending = ending  # SMTP has no data with success or failure (RFC 4954 section 4): a challenge carries it
        return Challenge(answer.data)

    def abandon(self) -> None:
        """Dovecot need not wait for the client."""
        if self._link is not None:
            self._link.cancel(self._number)
            self._link = None


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
