"""The file of users as a store: read again when it has changed."""

import asyncio
import logging
from pathlib import Path

from letterlock.accounts.remembered_logins import RememberedLogins
from letterlock.accounts.user_file import BadUsers, User, Users
from letterlock.sasl.scram import ScramCredential

log = logging.getLogger("letterlock.accounts")


class FileStore:
    """The users of a file."""

    has_scram = True

    def __init__(self, path: Path, remembered: RememberedLogins) -> None:
        """Read the file. Raises BadUsers."""
        self._users = Users(path)
        self._remembered = remembered

    def user(self, name: str) -> User | None:
        """A user, now."""
        self._refresh()
        return self._users.get(name)

    async def get(self, name: str) -> User | None:
        """A user."""
        return self.user(name)

    async def password_fits(self, name: str, password: str) -> bool:
        """Whether a password is the user's: in a thread, for it takes tens of milliseconds."""
        user = self.user(name)
        if user is not None and self._remembered.knows(name, user.argon2, password):
            return True
        fits = await asyncio.to_thread(self._users.password_fits, name, password)
        if fits and user is not None:
            self._remembered.remember(name, user.argon2, password)
        return fits

    async def credential(self, name: str) -> ScramCredential:
        """The user's credential, or a false one."""
        self._refresh()
        return self._users.credential(name)

    def _refresh(self) -> None:
        """Read the file again if it has changed; a file with mistakes leaves the users that were known."""
        try:
            self._users.refresh()
        except BadUsers as error:
            log.warning("the users file is not read again, and the users known so far stay: %s", error)
