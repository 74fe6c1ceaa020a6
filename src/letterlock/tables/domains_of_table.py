"""Domains in a table: the local domains of many customers, which come and go without a reload."""

from collections.abc import Callable

from letterlock.recent import Recent
from letterlock.recipients.directory import RecipientTable

MAX_REMEMBERED = 10_000  # domains, for a second: one message asks several times for the same


class DomainsOfTable:
    """A domain is among them if the table has an entry for its name; what the entry says does not matter."""

    def __init__(self, table: RecipientTable, monotonic: Callable[[], float]) -> None:
        self.table = table
        self._monotonic = monotonic
        self._known: Recent[str, bool] = Recent(size=MAX_REMEMBERED)

    async def have(self, domain: str) -> bool:
        """Whether a domain (lower-case A-labels) is among them. Raises TableFailed."""
        if domain.startswith("["):
            return False  # an address literal: tables have names
        now = self._monotonic()
        known = self._known.get(domain, now)
        if known is None:
            known = await self.table.find(domain) is not None
            self._known.put(domain, known, since=now, until=float("inf"))
        return known
