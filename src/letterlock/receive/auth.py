"""Authentication of a session's user (RFC 4954): limits on guessing, and what a user may send."""

import asyncio
import logging
from collections.abc import Sequence

from letterlock.accounts.backend import Accounts, AccountsAway
from letterlock.accounts.file_store import FileStore
from letterlock.accounts.guessing import GuessLimiter
from letterlock.accounts.stored import PLUS
from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.ports import Clock
from letterlock.receive.pipeline import Facts
from letterlock.recipients.directory import RecipientTable, TableFailed
from letterlock.recipients.targets import Name, Target
from letterlock.smtp.server_events import SenderOffered

FAILED = Reply(535, ("5.7.8 Authentication credentials invalid",))  # whatever is wrong: nobody learns which users exist
PUT_OFF = Reply(454, ("4.7.0 Too many failed attempts, try again later",))
LOGIN_FIRST = Reply(530, ("5.7.0 Authentication required",))  # RFC 4954 section 6
NOT_YOURS = Reply(553, ("5.7.1 Sender address rejected: not owned by the authenticated user",))
AWAY = Reply(454, ("4.7.0 Temporary authentication failure",))  # RFC 4954 section 6: never "wrong password"
NOBODY_KNOWS = Reply(451, ("4.3.0 Sender address cannot be checked now, try again later",))
log = logging.getLogger("letterlock.receive")


class Authenticator:
    """What all sessions share: the accounts, and the limits on guessing, which hold wherever the users are kept."""

    def __init__(self, accounts: Accounts, clock: Clock, limiter: GuessLimiter) -> None:
        self.accounts = accounts
        self._clock = clock
        self._limiter = limiter

    async def offers(self, *, can_bind: bool) -> tuple[str, ...]:
        """The mechanisms to offer; with channel binding only where the session can be bound to."""
        return tuple(each for each in await self.accounts.mechanisms() if can_bind or each != PLUS)

    def is_put_off(self, client: str) -> bool:
        """Whether a client has failed too often lately."""
        return self._limiter.is_put_off(client, self._clock.monotonic())

    def succeeded(self, client: str, user: str) -> None:
        """Forget the failures of both."""
        self._limiter.succeeded(client, user)

    def now(self) -> float:
        """The time from which the reply to a failure is delayed."""
        return self._clock.monotonic()

    async def slow_down(self, client: str, user: str | None, since: float) -> None:
        """Count a failure, and wait as long as it has to, from the client's message on.

        So the time that the check took does not show: not for a user who does not exist, and not for one whose hash is
        cheaper than another's.
        """
        now = self._clock.monotonic()
        await asyncio.sleep(max(0.0, self._limiter.failed(client, user, now) - (now - since)))


class RequireLogin:
    """Refuses senders that neither logged in nor come from a network that may relay."""

    def sender(self, facts: Facts, _offer: SenderOffered) -> Reply | None:
        """530 before AUTH."""
        return None if facts.may_relay else LOGIN_FIRST


class RequireOwnSender:
    """A user sends only as the addresses that the file of users gives them; the null reverse-path is everybody's."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def sender(self, facts: Facts, offer: SenderOffered) -> Reply | None:
        """553 for somebody else's address."""
        if facts.user is None:
            return None
        user = self._store.user(facts.user)
        if user is None:
            return NOT_YOURS
        return None if offer.reverse_path is None or user.may_send_as(offer.reverse_path) else NOT_YOURS


class LookUpOwnSender:
    """The same for users who are kept elsewhere, or with tables that say who else may send as an address."""

    def __init__(self, accounts: Accounts, tables: Sequence[RecipientTable] = ()) -> None:
        self._accounts = accounts
        self._tables = tables

    async def sender(self, facts: Facts, offer: SenderOffered) -> Reply | None:
        """553 for somebody else's address, 451 where that cannot be found out."""
        if facts.user is None or offer.reverse_path is None:
            return None
        try:
            if await self._accounts.may_send_as(facts.user, offer.reverse_path):
                return None
            return None if await permits(self._tables, offer.reverse_path, facts.user) else NOT_YOURS
        except (AccountsAway, TableFailed) as error:
            log.warning("%s: cannot check whether the sender address is the user's: %s", facts.client_label, error)
            return NOBODY_KNOWS


async def permits(tables: Sequence[RecipientTable], address: Mailbox, user: str) -> bool:
    """Whether tables let a user send as an address: its entry, or that of its whole domain, names them.

    As with Postfix's smtpd_sender_login_maps, the first entry counts. Raises TableFailed.
    """
    for key in (f"{address.local_part.lower()}@{address.domain}", f"@{address.domain}"):
        for table in tables:
            entry = await table.find(key)
            if entry is not None:
                return any(_names(target, user) for target in entry)
    return False


def _names(target: Target, user: str) -> bool:
    name = str(target) if isinstance(target, Mailbox) else target.local_part if isinstance(target, Name) else ""
    return name.lower() == user.lower()
