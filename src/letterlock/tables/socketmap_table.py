"""A table that another program answers by the socketmap protocol, as it does for Postfix."""

from letterlock.lookups.queries import LookupFailed
from letterlock.lookups.socketmap_link import SocketmapLink
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import BadEntry, Entry, parse_targets


class SocketmapTable:
    """Asks a map for each key; what it has are targets, with commas between."""

    def __init__(self, name: str, link: SocketmapLink) -> None:
        self.name = name
        self._link = link

    async def find(self, key: str) -> Entry | None:
        """The entry for a key. Raises TableFailed."""
        try:
            found = await self._link.find(key)
            return None if found is None else parse_targets(found)
        except (LookupFailed, BadEntry) as error:
            raise TableFailed(f"table {self.name}: {error}") from None
