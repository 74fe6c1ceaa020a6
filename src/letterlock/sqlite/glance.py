"""Single rows, read in the event loop beside the Writer: no transaction, no thread, no waiting for a lock.

Each message to a destination that was not looked at a moment ago asks what is remembered of it, and mostly there is
nothing. For that the Writer takes the write lock and hands the commit to its thread, which costs ten times the look. A
glance sees what is committed, by whichever process. Whatever keeps it from seeing that (a lock, a journal that a
crash has left, damage) is the Writer's to deal with.

Only for files with a rollback journal: of the WAL an old SQLite wants one connection a file.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class NotSeen(Exception):
    """Ask the Writer."""


class Glance:
    """Looks into one file, which is opened for reading at the first look."""

    def __init__(self, path: Path | None, text: Callable[[bytes], str]) -> None:
        """None: a database in memory, into which only its Writer sees. `text` decodes text, and never raises."""
        self._path = path
        self._text = text
        self._connection: sqlite3.Connection | None = None

    def row(self, statement: str, values: Sequence[str]) -> tuple[Any, ...] | None:
        """The row that a statement selects, if there is one; it must select one at most. Raises NotSeen."""
        if self._path is None:
            raise NotSeen
        try:
            # all rows, so that the statement has ended: until then it would keep writers away
            found = (self._connection or self._open(self._path)).execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self.close()  # another file may be there by now
            raise NotSeen from error
        return found[0] if found else None

    def close(self) -> None:
        """Close the file; another look opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0)
        connection.text_factory = self._text
        self._connection = connection
        return connection
