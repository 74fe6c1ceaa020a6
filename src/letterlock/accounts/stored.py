"""Users whose passwords' hashes we have: drives the server's side of a SASL exchange with them."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Protocol

from letterlock.accounts.backend import Caller
from letterlock.mail.addresses import Mailbox
from letterlock.sasl.exchange import Accepted, Challenge, CheckPassword, Exchange, NeedCredential, Outcome, Rejected
from letterlock.sasl.passwords import Login, Plain
from letterlock.sasl.scram import Scram, ScramCredential

PLUS = "SCRAM-SHA-256-PLUS"
WITH_SCRAM = (PLUS, "SCRAM-SHA-256", "PLAIN", "LOGIN")
PASSWORDS_ONLY = ("PLAIN", "LOGIN")
MAX_CHECKS = 2  # of passwords at once: each takes 19 MiB and a core


class SendsAs(Protocol):
    """A user, as far as a mail transaction needs to know them."""

    def may_send_as(self, mailbox: Mailbox) -> bool:
        """Whether an address is the user's own."""


class UserStore(Protocol):
    """Users by prepared name. All it is asked costs the same for a user that does not exist. Raises AccountsAway."""

    @property
    def has_scram(self) -> bool:
        """Whether there are SCRAM credentials, or only hashes to check passwords against."""

    async def get(self, name: str) -> SendsAs | None:
        """A user; None: there is no such user."""

    async def password_fits(self, name: str, password: str) -> bool:
        """Whether a prepared password is the user's."""

    async def credential(self, name: str) -> ScramCredential:
        """The user's SCRAM credential, or one that no password fits, always the same for a name."""


class StoredAccounts:
    """Users in a store of ours."""

    def __init__(self, store: UserStore) -> None:
        self.store = store
        self.checks = asyncio.Semaphore(MAX_CHECKS)

    async def mechanisms(self) -> tuple[str, ...]:
        """What the store has the credentials for."""
        return WITH_SCRAM if self.store.has_scram else PASSWORDS_ONLY

    def begin(self, mechanism: str, caller: Caller) -> "StoredExchange":
        """Begin an exchange."""
        nonce = secrets.token_urlsafe(24).encode()  # 192 bits, so that none comes twice (RFC 5802 section 5.1)
        exchange: Exchange
        match mechanism:
            case "PLAIN":
                exchange = Plain()
            case "LOGIN":
                exchange = Login()
            case _:
                exchange = Scram(nonce, plus=mechanism == PLUS, binding=caller.binding)
        return StoredExchange(self, exchange)

    async def may_send_as(self, user: str, mailbox: Mailbox) -> bool:
        """Whether the store gives an address to a user; a user who was removed has none. Raises AccountsAway."""
        found = await self.store.get(user)
        return found is not None and found.may_send_as(mailbox)

    def close(self) -> None:
        """There is nothing to end."""


@dataclass(slots=True)
class StoredExchange:
    """One exchange with one client."""

    accounts: StoredAccounts
    exchange: Exchange
    user: str | None = field(default=None)

    async def step(self, response: bytes | None) -> Challenge | Accepted | Rejected:
        """Take the client's message, and do what the exchange asks for. Raises AccountsAway."""
        outcome: Outcome = self.exchange.step(response)
        if isinstance(outcome, NeedCredential) and isinstance(self.exchange, Scram):
            self.user = outcome.user
            outcome = self.exchange.continue_with(await self.accounts.store.credential(outcome.user))
        if isinstance(outcome, CheckPassword):
            self.user = outcome.user
            async with self.accounts.checks:
                fits = await self.accounts.store.password_fits(outcome.user, outcome.password)
            outcome = Accepted(outcome.user) if fits else Rejected("authentication failure", outcome.user)
        if isinstance(outcome, Accepted):
            return await self._settle(outcome)
        if isinstance(outcome, Challenge | Rejected):
            return outcome
        raise AssertionError("an exchange asks for what belongs to another mechanism")

    def abandon(self) -> None:
        """Nobody else waits for it."""

    async def _settle(self, outcome: Accepted) -> Accepted | Rejected:
        """Nobody may act for somebody else, and whom the store no longer has may do nothing."""
        if outcome.acting_for not in (None, outcome.user):
            return Rejected("one user asks to act for another", outcome.user)
        if await self.accounts.store.get(outcome.user) is None:
            return Rejected("authentication failure", outcome.user)
        return outcome
