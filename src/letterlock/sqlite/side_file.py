"""SQLite files beside the queue, whose loss loses no mail: opened by the server and by the verbs that read them."""

import logging
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from letterlock.queue.store import NewerStore, StoreFailed
from letterlock.sqlite.writer import explain

log = logging.getLogger("letterlock.store")
IN_MEMORY = ":memory:"


@dataclass(frozen=True, slots=True)
class SideFile:
    """How such a file is opened. `statements` has `version_1` and so on, up to `version`; `what` is for people.

    A rollback journal is kept and not the WAL, so that a verb may read the file while the server writes it.
    """

    what: str
    statements: Mapping[str, str]
    version: int
    lock_seconds: float

    def open(self, path: Path | None) -> sqlite3.Connection:
        """Open, or make, the file; without a path, a database in memory. Raises StoreFailed."""
        try:
            if path is None:
                return self._connect(IN_MEMORY)
            _make(path)
            return self._connect_or_begin_anew(path)
        except (sqlite3.Error, OSError) as error:
            raise explain(error, f"cannot open the {self.what} {path}") from None

    def _connect_or_begin_anew(self, path: Path) -> sqlite3.Connection:
        try:
            return self._connect(str(path))
        except sqlite3.OperationalError:
            raise  # locked, or the disk: not the file's fault
        except sqlite3.DatabaseError as error:
            log.critical("%s: %s: set aside; the %s begin anew", path, error, self.what)
            path.replace(path.with_suffix(".damaged"))
            _make(path)
            return self._connect(str(path))

    def _connect(self, path: str) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=self.lock_seconds)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(connection, path)
        except (sqlite3.Error, StoreFailed):
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection, path: str) -> None:
        """Bring the file to this version, one process at a time."""
        if _version(connection) == self.version:
            return
        connection.execute("BEGIN IMMEDIATE")
        found = _version(connection)
        if found > self.version:
            raise NewerStore(
                f"{path} was written by a newer Letterlock (version {found}, this one knows {self.version})"
            )
        for number in range(found + 1, self.version + 1):
            for statement in self.statements[f"version_{number}"].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make(path: Path) -> None:
    """Make the file, if there is none; root makes it for the owner of the directory, the server's user."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)
