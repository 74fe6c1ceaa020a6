"""The users of this machine, as a table of mailboxes."""

import asyncio
import pwd

from letterlock.recipients.targets import Entry


class SystemUsers:
    """A local part is known if the system has a user of that name (passwd, or what NSS adds to it)."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def find(self, key: str) -> Entry | None:
        """An entry without targets for a user's name. In a thread: NSS may ask a server."""
        if "@" in key or not key.isascii():
            return None
        return await asyncio.to_thread(_find, key)


def _find(name: str) -> Entry | None:
    try:
        pwd.getpwnam(name)
    except KeyError:  # no such user
        return None
    return ()
