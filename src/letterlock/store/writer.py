"""One thread, one connection, many callers: group commit.

Every piece of work runs inside a savepoint of a shared transaction, and its caller is released after the one fsync
that all of them paid for together. A piece that fails takes only itself back; when a piece took the whole transaction
with it (a full disk), the others are tried once more, each alone. With exactly one connection a file, the WAL of an old
SQLite cannot be damaged by a second one.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from letterlock.queue.store import StoreFailed, StoreFull

MAX_GROUP = 200
_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Piece(Generic[_Result]):
    """Work for the thread, and the future of the one who waits for it."""

    work: Callable[[sqlite3.Connection], _Result]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[_Result]
    results: list[_Result] = field(default_factory=list)  # one, once the work was done
    error: Exception | None = None

    @property
    def lost(self) -> bool:
        """Whether the disk failed it, and not the work itself."""
        return isinstance(self.error, StoreFailed)

    def release(self) -> None:
        """Wake the caller, from the writer's thread."""
        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.results[0])


class Writer:
    """Runs work on a connection, in groups, in a thread of its own. The connection is in autocommit mode."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._pieces: queue.SimpleQueue[_Piece[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="letterlock-store", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do work in a transaction; its writes are on disk when this returns.

        Raises StoreFailed, StoreFull, and what the work itself raises; then nothing of it was written.
        """
        if self._closed:
            raise StoreFailed("the queue is closed")
        loop = asyncio.get_running_loop()
        piece: _Piece[_Result] = _Piece(work, loop, loop.create_future())
        self._pieces.put(piece)
        return await piece.future

    async def close(self) -> None:
        """Finish what was asked for, and close the connection."""
        if not self._closed:
            self._closed = True
            self._pieces.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        last = False
        while not last:
            group: list[_Piece[Any]] = []
            piece = self._pieces.get()
            while True:
                if piece is None:
                    last = True
                    break
                group.append(piece)
                if len(group) == MAX_GROUP or self._pieces.empty():
                    break
                piece = self._pieces.get()
            self._do(group)
        self._connection.close()

    def _do(self, group: list[_Piece[Any]]) -> None:
        if not self._commit(group) and len(group) > 1:
            for piece in group:
                if piece.lost:
                    piece.error = None
                    self._commit([piece])
        for piece in group:
            piece.release()

    def _commit(self, group: list[_Piece[Any]]) -> bool:
        """One transaction; False when it was lost as a whole, and its pieces may do better alone."""
        begun = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            begun = True
            for piece in group:
                self._try(piece)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            for piece in group:
                piece.error = piece.error or explain(error)
            return not begun  # when it could not even begin, each piece alone would only wait as long again
        return True

    def _try(self, piece: _Piece[Any]) -> None:
        self._connection.execute("SAVEPOINT piece")
        try:
            piece.results = [piece.work(self._connection)]
        except sqlite3.Error as error:
            piece.error = explain(error)
        except Exception as error:  # noqa: BLE001  # it is the caller's own, and goes to him
            piece.error = error
        if piece.error is not None:
            # a full disk has already ended the whole transaction: then this raises, and the group fails together
            self._connection.execute("ROLLBACK TO piece")
        self._connection.execute("RELEASE piece")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself when the next one begins
                self._connection.execute("ROLLBACK")


def explain(error: sqlite3.Error) -> StoreFailed:
    """What SQLite says, as the store's own failure with a sentence for people."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StoreFull("the disk with the queue is full")
    return StoreFailed(f"the queue's database: {error}")
