"""Opening a queue: its lock, its file, and the way from each older version of the schema to the present one."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from letterlock.machine import memory_octets
from letterlock.queue.store import NewerStore, QueueInUse, StoreFailed
from letterlock.sqlite.disk import disk_octets, free_octets
from letterlock.store.sqlite.statements import SCHEMA, SQL

FILE = "queue.db"
LOCK_FILE = "lock"
VERSION = 7  # of the schema; older ones are brought up by the from_version_* statements
MAX_CACHE_KIBIBYTES = 1 << 16  # of the file in memory: the rows of a large queue, without its contents
CACHE_SHARE = 16  # of the memory of the machine or control group
PAGE_OCTETS = 4096  # SQLite's default, and the block of most file systems
MAX_LOG_PAGES = 1000  # SQLite's own choice: 4 MB of log, before it is written back into the database
MIN_LOG_PAGES = 25  # chosen: 100 KB, room for a few transactions on the smallest disk
LOG_SHARE = 64  # of a small disk the log takes no more than a sixty-fourth: to write it back takes as much again
MAX_REWRITTEN_OCTETS = 1 << 24  # of an older version's database: rewriting one that is larger would delay the start


def take_lock(directory: Path) -> IO[bytes]:
    """The right to use the queue in a directory, until it is closed. Raises StoreFailed, QueueInUse."""
    path = directory / LOCK_FILE
    try:
        lock = open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115  # kept open
    except OSError as error:
        raise StoreFailed(f"cannot write in the queue directory {directory}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if isinstance(error, BlockingIOError):
            raise QueueInUse(f"another server is running on the queue in {directory}") from None
        raise StoreFailed(f"cannot lock the queue directory {directory}: {error.strerror}") from None
    return lock


@contextmanager
def open_alone(directory: Path) -> Iterator[sqlite3.Connection]:
    """The queue's file, for maintenance while no server runs. Raises StoreFailed, QueueInUse."""
    lock = take_lock(directory)
    try:
        connection = connect(directory / FILE, time.time())
        try:
            yield connection
        finally:
            connection.close()
    finally:
        lock.close()


def connect(path: Path, now: float) -> sqlite3.Connection:
    """Open, make or migrate a queue's file; leases of a server that died are void.

    `now` puts right what a clock that was ahead of it left to be due in years.

    Raises sqlite3.Error, StoreFailed, OSError.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.text_factory = _text  # octets that are no UTF-8 damage one row, not the reading of all
    try:
        for pragma in _pragmas(path):
            connection.execute(f"PRAGMA {pragma}")
        _migrate(connection, path)
        _let_it_shrink(connection, path)
        connection.execute("UPDATE task SET due_at = 0, lease_token = NULL WHERE lease_token IS NOT NULL")
        connection.execute(SQL["put_right"], (now,))
    except (sqlite3.Error, StoreFailed):
        connection.close()
        raise
    return connection


def _cache_kibibytes() -> int:
    """How much of the file SQLite may keep in memory: less on a small machine, where the system's cache has to do."""
    return min(MAX_CACHE_KIBIBYTES, memory_octets() // CACHE_SHARE // 1024)


def log_octets(directory: Path) -> int:
    """How long the log may become before it is written back: less on a small disk. Raises OSError."""
    return PAGE_OCTETS * max(MIN_LOG_PAGES, min(MAX_LOG_PAGES, disk_octets(directory) // LOG_SHARE // PAGE_OCTETS))


def keep_log(directory: Path) -> None:
    """Give the log of an open database its room ahead: on a full disk, changes are written where it is already.

    Zeros behind its last frame end it, as anything does that has not the log's salt.
    """
    with suppress(OSError):  # the disk is full; the reserve is for that
        descriptor = os.open(directory / f"{FILE}-wal", os.O_RDWR | os.O_NOFOLLOW)
        try:
            os.posix_fallocate(descriptor, 0, log_octets(directory))
        finally:
            os.close(descriptor)


def _pragmas(path: Path) -> tuple[str, ...]:
    """In their order: whether a database can shrink is decided before there is anything in it.

    Temporary tables are in memory: sorting a list must not need a disk.
    """
    octets = log_octets(path.parent)
    return (
        f"page_size = {PAGE_OCTETS}", "auto_vacuum = INCREMENTAL", "temp_store = MEMORY", "journal_mode = WAL",
        "synchronous = FULL", "foreign_keys = ON", f"cache_size = -{_cache_kibibytes()}",
        f"wal_autocheckpoint = {octets // PAGE_OCTETS}", f"journal_size_limit = {octets}",
    )  # fmt: skip


def _let_it_shrink(connection: sqlite3.Connection, path: Path) -> None:
    """Rewrite a small database of an older version, so that it can give room back to the disk (`shrink`)."""
    (mode,), (pages,), (unused,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("auto_vacuum", "page_count", "freelist_count")
    )
    octets = (pages - unused) * PAGE_OCTETS
    # VACUUM needs a copy in a file, and one in the WAL, with reserve
    if mode == 0 and octets <= MAX_REWRITTEN_OCTETS and free_octets(path.parent) > 4 * octets + MAX_REWRITTEN_OCTETS:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif 1 <= version < VERSION:
        steps = "".join(SQL[f"from_version_{each}"] for each in range(version, VERSION))
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        raise NewerStore(f"{path} was written by a newer Letterlock (version {version}, this one knows {VERSION})")
