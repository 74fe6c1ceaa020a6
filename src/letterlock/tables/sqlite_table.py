"""A table that a query reads from a SQLite database. The database is opened for reading only."""

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import MAX_TARGETS, BadEntry, Entry, parse_targets

MAX_SECONDS = 5.0  # for one query; a client waits at RCPT for 5 minutes (RFC 5321 section 4.5.3.2.3)
STEPS_BETWEEN_LOOKS: Final = 10_000  # of SQLite's machine: a fraction of a millisecond


class SqliteTable:
    """Runs `query` for each key, with the parameters `:key`, `:local` and `:domain`.

    Each row's first column has targets, with commas between; a row with NULL or an empty text is an entry without any.
    """

    def __init__(self, name: str, path: Path, query: str) -> None:
        self.name = name
        self._path = path
        self._query = query
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time = threading.Lock()

    async def find(self, key: str) -> Entry | None:
        """The entry for a key. Raises TableFailed."""
        return await asyncio.to_thread(self._find, key)

    def check(self) -> None:
        """Run the query once for nobody. Raises TableFailed."""
        self._find("@")

    def _find(self, key: str) -> Entry | None:
        with self._one_at_a_time:
            try:
                rows = self._rows(key)
                return None if not rows else tuple(target for row in rows for target in parse_targets(_text(row)))
            except (sqlite3.Error, BadEntry) as error:
                if isinstance(error, sqlite3.Error):
                    self._close()
                raise TableFailed(f"table {self.name}: {self._path}: {error}") from None

    def _rows(self, key: str) -> list[tuple[object, ...]]:
        connection = self._connection = self._connection or self._open()
        until = time.monotonic() + MAX_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, STEPS_BETWEEN_LOOKS)
        local, _, domain = key.rpartition("@") if "@" in key else (key, "", "")
        found = connection.execute(self._query, {"key": key, "local": local, "domain": domain})
        rows = found.fetchmany(MAX_TARGETS + 1)
        found.close()
        if len(rows) > MAX_TARGETS:
            raise BadEntry(f"more than {MAX_TARGETS} rows for {key}")
        return rows

    def _open(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self._path))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=MAX_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _close(self) -> None:
        """Open it anew the next time: the file may have been replaced."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _text(row: tuple[object, ...]) -> str:
    return "" if row[0] is None else str(row[0])
