"""One session's AUTH: the exchange with the client, and what becomes of it (RFC 4954)."""

from letterlock.accounts.backend import AccountsAway, Caller, LoginExchange
from letterlock.receive.auth import AWAY, FAILED, PUT_OFF, Authenticator
from letterlock.receive.pipeline import Facts
from letterlock.receive.receipt_log import SessionJournal
from letterlock.receive.session_counts import SessionCounts
from letterlock.sasl.exchange import Accepted, Challenge, Rejected
from letterlock.smtp.server import SmtpServer


class SessionLogin:
    """What one session has to do with AUTH. The decisions go to `smtp`, what became of them to facts and journal."""

    def __init__(
        self,
        authenticator: Authenticator,
        smtp: SmtpServer,
        facts: Facts,
        journal: SessionJournal,
        counts: SessionCounts,
    ) -> None:
        self._authenticator = authenticator
        self._smtp = smtp
        self._facts = facts
        self._journal = journal
        self._counts = counts
        self._exchange: LoginExchange | None = None
        self._mechanism = ""

    async def offer(self, binding: bytes | None) -> None:
        """Offer AUTH, inside TLS. `binding`: what channel binding ties a login to (RFC 9266)."""
        self._smtp.offer_auth(await self._authenticator.offers(can_bind=binding is not None))

    async def begin(self, mechanism: str, response: bytes | None, binding: bytes | None) -> None:
        """Answer the client's AUTH."""
        if self._authenticator.is_put_off(self._facts.client):
            self._journal.auth_failed(mechanism, None, "too many failed attempts")
            self._counts.reached(PUT_OFF)
            self._smtp.refuse(PUT_OFF)
            return
        self._mechanism = mechanism
        self.abandon()
        caller = Caller(client=self._facts.client, met_at=self._facts.met_at, binding=binding)
        self._exchange = self._authenticator.accounts.begin(mechanism, caller)
        await self.go_on(response)

    async def go_on(self, response: bytes | None) -> None:
        """Answer the client's answer to a challenge."""
        exchange = self._exchange
        if exchange is None:
            raise AssertionError("no authentication is going on")
        since, client = self._authenticator.now(), self._facts.client
        try:
            outcome = await exchange.step(response)
        except AccountsAway as error:
            self._journal.auth_aborted(self._mechanism, str(error))
            self._smtp.refuse(AWAY)
            return
        match outcome:
            case Challenge(data):
                self._smtp.challenge(data)
            case Accepted(user):
                self._authenticator.succeeded(client, user)
                self._facts.user, self._facts.mechanism, self._facts.may_relay = user, self._mechanism, True
                self._journal.authenticated(self._mechanism, user)
                self._smtp.accept()
            case Rejected(why, user):
                self._journal.auth_failed(self._mechanism, user or exchange.user, why)
                await self._authenticator.slow_down(client, user or exchange.user, since)
                self._smtp.refuse(FAILED)

    def abandon(self) -> None:
        """The client began an authentication and does not end it."""
        if self._exchange is not None:
            self._exchange.abandon()
            self._exchange = None
