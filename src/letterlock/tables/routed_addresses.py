"""The addresses that have a route of their own, as a table of mailboxes."""

from collections.abc import Collection

from letterlock.recipients.targets import Entry


class RoutedAddresses:
    """An address with a route exists, whatever other tables say."""

    name = "[route]"

    def __init__(self, addresses: Collection[str]) -> None:
        """Take `local@domain` in lower case."""
        self._addresses = frozenset(addresses)

    async def find(self, key: str) -> Entry | None:
        """An entry without targets for an address that has a route."""
        return () if key in self._addresses else None
