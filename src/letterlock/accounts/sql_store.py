"""Users in a database: a query gives a user's row, which has the hash of the password and the user's addresses."""

import asyncio
import logging
from dataclasses import dataclass, field

from letterlock.accounts.backend import AccountsAway
from letterlock.accounts.password_hashes import PasswordHashes, UnusableHash, false_credential, parse_hashes
from letterlock.accounts.remembered_logins import RememberedLogins
from letterlock.accounts.user_file import BadUsers, hash_password, sender_address
from letterlock.lookups.queries import LookupFailed, Row, RowSource
from letterlock.mail.addresses import Mailbox
from letterlock.sasl.scram import ScramCredential

PARAMETERS = ("user", "local", "domain")
MAX_ADDRESSES = 1000  # of one user
log = logging.getLogger("letterlock.accounts")


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user's row. `hashes` None: the user cannot log in. `addresses` None: the user's own name is the address."""

    name: str
    hashes: PasswordHashes | None = field(repr=False)
    addresses: tuple[str, ...] | None

    def may_send_as(self, mailbox: Mailbox) -> bool:
        """Whether an address is the user's; a mailbox's local part in any case of letters."""
        whole = f"{mailbox.local_part.lower()}@{mailbox.domain}"
        own = (self.name.lower(),) if self.addresses is None else self.addresses
        return whole in own or f"@{mailbox.domain}" in own


class SqlStore:
    """The users that a query finds by `:user`, or by its parts, `:local` and `:domain`."""

    def __init__(self, source: RowSource, remembered: RememberedLogins, scram_secret: bytes | None = None) -> None:
        """`scram_secret` makes the salts of users that do not exist; None: no SCRAM, only passwords are checked."""
        self._source = source
        self._remembered = remembered
        self._scram_secret = scram_secret
        self._nobody: PasswordHashes | None = None  # what is checked for a user who does not exist
        self._like: ScramCredential | None = None

    @property
    def has_scram(self) -> bool:
        """As the operator says: nobody can see it from the rows of others."""
        return self._scram_secret is not None

    async def get(self, name: str) -> UserRow | None:
        """A user. Raises AccountsAway."""
        local, _, domain = name.rpartition("@") if "@" in name else (name, "", "")
        try:
            rows = await self._source.rows({"user": name, "local": local, "domain": domain})
        except LookupFailed as error:
            raise AccountsAway(str(error)) from None
        if len(rows) > 1:
            raise AccountsAway("the query finds more than one row for a user")
        return _user(name, rows[0]) if rows else None

    async def password_fits(self, name: str, password: str) -> bool:
        """Whether a password is the user's; for nobody, one is checked that is like those of others. In a thread.

        Raises AccountsAway.
        """
        user = await self.get(name)
        hashes = user.hashes if user is not None else None
        if hashes is not None:
            self._nobody = hashes
            if self._remembered.knows(name, hashes.stored, password):
                return True
        elif self._nobody is None:
            self._nobody = PasswordHashes(await asyncio.to_thread(hash_password, "nobody"))
        try:
            fits = await asyncio.to_thread((hashes or self._nobody).fit, password)
        except UnusableHash as error:
            raise AccountsAway(f"the password of {name!a}: {error}") from None
        if fits and hashes is not None:
            self._remembered.remember(name, hashes.stored, password)
        return fits and hashes is not None

    async def credential(self, name: str) -> ScramCredential:
        """The user's SCRAM credential, or a false one."""
        user = await self.get(name)
        if user is not None and user.hashes is not None and user.hashes.scram is not None:
            self._like = user.hashes.scram
            return user.hashes.scram
        return false_credential(self._scram_secret or b"", name, self._like)


def _user(name: str, row: Row) -> UserRow:
    hashes: PasswordHashes | None = None
    if row and row[0] is not None:
        try:
            hashes = parse_hashes(str(row[0]))
        except UnusableHash as error:
            log.warning("the password of %s cannot be checked: %s", ascii(name), error)
    return UserRow(name, hashes, None if len(row) < 2 or row[1] is None else _addresses(name, str(row[1])))


def _addresses(name: str, text: str) -> tuple[str, ...]:
    found, words = list[str](), text.replace(",", " ").split()
    if len(words) > MAX_ADDRESSES:
        log.warning("of the %d addresses of %s only the first %d count", len(words), ascii(name), MAX_ADDRESSES)
    for word in words[:MAX_ADDRESSES]:
        try:
            found.append(sender_address(word))
        except BadUsers as error:
            log.warning("an address of %s is passed over: %s", ascii(name), error)
    return tuple(found)
