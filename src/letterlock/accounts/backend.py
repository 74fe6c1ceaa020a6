"""What a session asks of the place where users are kept: a file, a database, or Dovecot."""

from dataclasses import dataclass, field
from typing import Protocol

from letterlock.mail.addresses import Mailbox
from letterlock.sasl.exchange import Accepted, Challenge, Rejected


class AccountsAway(Exception):
    """The users could not be looked up: nobody knows whether a password is right. `str()` says why, for the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who logs in: the client's address, the address of ours that it came to, and its session's tls-exporter value."""

    client: str
    met_at: str | None = None
    binding: bytes | None = field(default=None, repr=False)


class LoginExchange(Protocol):
    """One try to log in."""

    @property
    def user(self) -> str | None:
        """The user, as far as they are known; for the log."""

    async def step(self, response: bytes | None) -> Challenge | Accepted | Rejected:
        """Take the client's message; None when it sent no initial response. Raises AccountsAway."""

    def abandon(self) -> None:
        """The client does not go on. Raises nothing; an exchange that has ended may be abandoned, too."""


class Accounts(Protocol):
    """The users who may log in."""

    async def mechanisms(self) -> tuple[str, ...]:
        """The mechanisms that may be offered inside TLS, best first. Raises nothing.

        SCRAM-SHA-256-PLUS is among them if logins may be bound to a TLS session that has a value for it.
        """

    def begin(self, mechanism: str, caller: Caller) -> LoginExchange:
        """Begin an exchange."""

    async def may_send_as(self, user: str, mailbox: Mailbox) -> bool:
        """Whether an address is a user's own. Raises AccountsAway."""

    def close(self) -> None:
        """End connections. Raises nothing; who logs in later makes new ones."""
