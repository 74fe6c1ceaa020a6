"""Rows that a query reads from a SQLite database. The database is opened for reading only."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from letterlock.lookups.queries import MAX_ROWS, LookupFailed, Row, in_one_line

MAX_SECONDS = 5.0  # for one query; a client waits at RCPT for 5 minutes (RFC 5321 section 4.5.3.2.3)
STEPS_BETWEEN_LOOKS: Final = 10_000  # of SQLite's machine: a fraction of a millisecond


class SqliteRows:
    """Runs one query, whose parameters are values only and never a part of it."""

    def __init__(self, path: Path, query: str) -> None:
        self._path = path
        self._query = query
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time = threading.Lock()

    async def rows(self, values: Mapping[str, str]) -> list[Row]:
        """The rows, read in a thread. Raises LookupFailed."""
        return await asyncio.to_thread(self._rows, values)

    def _rows(self, values: Mapping[str, str]) -> list[Row]:
        with self._one_at_a_time:
            try:
                return self._run(values)
            except sqlite3.Error as error:
                self._close()
                raise LookupFailed(f"{self._path}: {in_one_line(str(error))}") from None

    def _run(self, values: Mapping[str, str]) -> list[Row]:
        connection = self._connection = self._connection or self._open()
        until = time.monotonic() + MAX_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > until, STEPS_BETWEEN_LOOKS)
        found = connection.execute(self._query, values)
        rows = found.fetchmany(MAX_ROWS + 1)
        found.close()
        if len(rows) > MAX_ROWS:
            raise LookupFailed(f"{self._path}: more than {MAX_ROWS} rows")
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
