"""A table that a query reads from a database."""

from letterlock.lookups.queries import LookupFailed, Row, RowSource
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import MAX_TARGETS, BadEntry, Entry, parse_targets

PARAMETERS = ("key", "local", "domain")


class RowTable:
    """Runs a query for each key, with the parameters `:key`, `:local` and `:domain`.

    Each row's first column has targets, with commas between; a row with NULL or an empty text is an entry without any.
    """

    def __init__(self, name: str, source: RowSource) -> None:
        self.name = name
        self._source = source

    async def find(self, key: str) -> Entry | None:
        """The entry for a key. Raises TableFailed."""
        local, _, domain = key.rpartition("@") if "@" in key else (key, "", "")
        try:
            return _entry(await self._source.rows({"key": key, "local": local, "domain": domain}))
        except (LookupFailed, BadEntry) as error:
            raise TableFailed(f"table {self.name}: {error}") from None


def _entry(rows: list[Row]) -> Entry | None:
    """What rows lead to; None: there are none. Raises BadEntry."""
    entry = tuple(target for row in rows for target in parse_targets(_text(row)))
    if len(entry) > MAX_TARGETS:
        raise BadEntry(f"more than {MAX_TARGETS} targets")
    return entry if rows else None


def _text(row: Row) -> str:
    return "" if not row or row[0] is None else str(row[0])
