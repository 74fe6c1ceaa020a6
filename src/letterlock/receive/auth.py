"""Authentication of a session's user (RFC 4954): drives a SASL exchange with what the file of users says."""

import asyncio
import logging
import secrets
from dataclasses import dataclass, field

from letterlock.accounts.guessing import GuessLimiter
from letterlock.accounts.user_file import BadUsers, Users
from letterlock.mail.replies import Reply
from letterlock.ports import Clock
from letterlock.receive.pipeline import Facts
from letterlock.sasl.exchange import Accepted, Challenge, CheckPassword, Exchange, NeedCredential, Outcome, Rejected
from letterlock.sasl.passwords import Login, Plain
from letterlock.sasl.scram import Scram
from letterlock.smtp.server_events import SenderOffered

FAILED = Reply(535, ("5.7.8 Authentication credentials invalid",))  # whatever is wrong: nobody learns which users exist
PUT_OFF = Reply(454, ("4.7.0 Too many failed attempts, try again later",))
LOGIN_FIRST = Reply(530, ("5.7.0 Authentication required",))  # RFC 4954 section 6
NOT_YOURS = Reply(553, ("5.7.1 Sender address rejected: not owned by the authenticated user",))
MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
PLUS = "SCRAM-SHA-256-PLUS"
MAX_CHECKS = 2  # of passwords at once: each takes 19 MiB and a core
log = logging.getLogger("letterlock.receive")


class Authenticator:
    """What all sessions share: the users, the limits on guessing, and how many passwords are checked at once."""

    def __init__(self, users: Users, clock: Clock, limiter: GuessLimiter | None = None) -> None:
        """`limiter`: with the failures that were counted so far."""
        self._users = users
        self._clock = clock
        self._limiter = limiter or GuessLimiter()
        self._checks = asyncio.Semaphore(MAX_CHECKS)

    def with_users(self, users: Users) -> "Authenticator":
        """The same after a reload: with other users, and the failures that were counted."""
        return Authenticator(users, self._clock, self._limiter)

    @property
    def users(self) -> Users:
        """The users."""
        return self._users

    def begin(self, mechanism: str, client: str, binding: bytes | None) -> "AuthExchange":
        """Begin an exchange with a client; `binding` is the tls-exporter value of its session, if there is one."""
        nonce = secrets.token_urlsafe(24).encode()
        exchange: Exchange
        match mechanism:
            case "PLAIN":
                exchange = Plain()
            case "LOGIN":
                exchange = Login()
            case _:
                exchange = Scram(nonce, plus=mechanism == PLUS, binding=binding)
        return AuthExchange(self, exchange, client)

    def is_put_off(self, client: str) -> bool:
        """Whether a client has failed too often lately."""
        return self._limiter.is_put_off(client, self._clock.monotonic())

    def succeeded(self, client: str, user: str) -> None:
        """Forget the failures of both."""
        self._limiter.succeeded(client, user)

    async def slow_down(self, client: str, user: str | None) -> None:
        """Count a failure, and wait as long as it has to."""
        await asyncio.sleep(self._limiter.failed(client, user, self._clock.monotonic()))

    async def check(self, given: CheckPassword) -> bool:
        """Whether a password is the user's: in a thread, for it takes tens of milliseconds."""
        refresh(self._users)
        async with self._checks:
            return await asyncio.to_thread(self._users.password_fits, given.user, given.password)


def refresh(users: Users) -> None:
    """Read the file of users again if it has changed; a file with mistakes leaves the users that were known."""
    try:
        users.refresh()
    except BadUsers as error:
        log.warning("the users that were known still hold: %s", error)


@dataclass(slots=True)
class AuthExchange:
    """One exchange with one client."""

    authenticator: Authenticator
    exchange: Exchange
    client: str
    user: str | None = field(default=None)

    async def step(self, response: bytes | None) -> Challenge | Accepted | Rejected:
        """Take the client's message, and do what the exchange asks for."""
        outcome: Outcome = self.exchange.step(response)
        if isinstance(outcome, NeedCredential) and isinstance(self.exchange, Scram):
            self.user = outcome.user
            refresh(self.authenticator.users)
            outcome = self.exchange.continue_with(self.authenticator.users.credential(outcome.user))
        if isinstance(outcome, CheckPassword):
            fits = await self.authenticator.check(outcome)
            outcome = Accepted(outcome.user) if fits else Rejected("authentication failure", outcome.user)
        if isinstance(outcome, Accepted):
            return self._settle(outcome)
        if isinstance(outcome, Challenge | Rejected):
            return outcome
        raise AssertionError("an exchange asks for what belongs to another mechanism")

    def _settle(self, outcome: Accepted) -> Accepted | Rejected:
        """Nobody may act for somebody else, and whom the file no longer has may do nothing."""
        if outcome.acting_for not in (None, outcome.user):
            return Rejected("one user asks to act for another", outcome.user)
        if self.authenticator.users.get(outcome.user) is None:
            return Rejected("authentication failure", outcome.user)
        self.authenticator.succeeded(self.client, outcome.user)
        return outcome


class RequireLogin:
    """Refuses senders that neither logged in nor come from a network that may relay."""

    def sender(self, facts: Facts, _offer: SenderOffered) -> Reply | None:
        """530 before AUTH."""
        return None if facts.may_relay else LOGIN_FIRST


class RequireOwnSender:
    """A user sends only as the addresses that the file of users gives them; the null reverse-path is everybody's."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def sender(self, facts: Facts, offer: SenderOffered) -> Reply | None:
        """553 for somebody else's address."""
        if facts.user is None:
            return None
        refresh(self._users)
        user = self._users.get(facts.user)
        if user is None:
            return NOT_YOURS
        return None if offer.reverse_path is None or user.may_send_as(offer.reverse_path) else NOT_YOURS
