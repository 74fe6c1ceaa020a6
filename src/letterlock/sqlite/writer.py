"""One connection, many callers: group commit.

Every piece of work runs inside a savepoint of a shared transaction, and its caller is released after the one fsync
that all of them paid for together. A piece that fails is rolled back alone; when it ended the whole transaction
(a full disk), the others are tried once more, each alone. With exactly one connection a file, the WAL of an old
SQLite cannot be damaged by a second one.

Short work is done where its callers are, in the event loop, and only the commit, which waits for the disk, in a thread:
a thread that ran every statement would fight the loop for the interpreter at each of them. Long work (`do_aside`) is
done in the thread whole. There is one transaction at a time, in the order in which the work was asked for.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.sqlite.disk import NO_ROOM, nobody_helps

MAX_GROUP = 200  # chosen: pieces of work that share one transaction; more would gain little and delay the first
MAX_SHORT_GROUP = 64  # chosen: done in one turn of the event loop, which other work waits for
_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Piece(Generic[_Result]):
    """Work, and the future of the one who waits for it."""

    work: Callable[[sqlite3.Connection], _Result]
    future: asyncio.Future[_Result]
    aside: bool
    outside: bool = False  # of any transaction, and alone
    results: list[_Result] = field(default_factory=list)  # one, once the work was done
    error: Exception | None = None

    @property
    def lost(self) -> bool:
        """Whether the disk failed it, and not the work itself."""
        return isinstance(self.error, StoreFailed)

    def wake(self) -> None:
        """Release the caller."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.results[0])


class Writer:
    """Runs work on a connection, in groups. The connection is in autocommit mode; all callers share one event loop."""

    def __init__(self, connection: sqlite3.Connection, relief: Callable[[], bool] = nobody_helps) -> None:
        """`relief` is called when the disk is full: True when it made room. It may be called from any thread."""
        self._connection = connection
        self._relief = relief
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[_Piece[Any]] = deque()
        self._busy = False
        self._begun = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="letterlock-store", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do short work in a transaction; its writes are on disk when this returns.

        Raises StoreFailed, StoreFull, and what the work itself raises; then nothing of it was written.
        """
        return await self._ask(work, aside=False)

    async def do_aside(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """The same for work that may take long, so that other work does not wait for it."""
        return await self._ask(work, aside=True)

    async def shrink(self, pages: int) -> None:
        """Give pages that are not used back to the disk. Raises StoreFailed."""

        def work(db: sqlite3.Connection) -> None:
            db.executescript(f"PRAGMA incremental_vacuum({pages})")  # `execute` would take one step, which is a page
            self.write_back()

        await self._ask(work, aside=True, outside=True)

    async def close(self) -> None:
        """Finish what was asked for, and close the connection."""
        if not self._closed:
            self._closed = True
            await self._idle.wait()
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._connection.close()

    async def _ask(
        self, work: Callable[[sqlite3.Connection], _Result], *, aside: bool, outside: bool = False
    ) -> _Result:
        if self._closed:
            raise StoreFailed("the queue is closed")
        piece: _Piece[_Result] = _Piece(work, self._loop.create_future(), aside, outside)
        self._pieces.append(piece)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._begin)  # other callers in this turn join the group
        return await piece.future

    # --- in the event loop -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Take the next group: work of one kind, in its order."""
        if self._pieces[0].outside:
            piece = self._pieces.popleft()
            self._jobs.put(lambda: self._do_outside(piece))
            return
        aside = self._pieces[0].aside
        group: list[_Piece[Any]] = []
        most = MAX_GROUP if aside else MAX_SHORT_GROUP
        while self._pieces and len(group) < most:
            if self._pieces[0].aside is not aside or self._pieces[0].outside:
                break
            group.append(self._pieces.popleft())
        failed = None if aside else self._try_all(group)
        self._jobs.put(lambda: self._finish(group, failed, tried=not aside))

    def _released(self, group: Sequence[_Piece[Any]]) -> None:
        if self._pieces:
            self._loop.call_soon(self._begin)
        else:
            self._busy = False
            self._idle.set()
        for piece in group:
            piece.wake()

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _do_outside(self, piece: _Piece[Any]) -> None:
        try:
            piece.results = [piece.work(self._connection)]
        except sqlite3.Error as error:
            piece.error = explain(error)
        except Exception as error:  # noqa: BLE001  # as in _try: without this thread, all would wait for ever
            piece.error = error
        self._tell([piece])

    def _tell(self, group: Sequence[_Piece[Any]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: there are no waiters left
            self._loop.call_soon_threadsafe(self._released, group)

    def _finish(self, group: Sequence[_Piece[Any]], failed: sqlite3.Error | None, *, tried: bool) -> None:
        if not tried:
            failed = self._try_all(group)
        if not self._commit(group, failed) and len(group) > 1:
            for piece in group:
                if piece.lost:
                    self._do_alone(piece)
        if any(isinstance(piece.error, StoreFull) for piece in group) and self._relief():
            self.write_back()
            for piece in group:
                if isinstance(piece.error, StoreFull):
                    self._do_alone(piece)
        self._tell(group)

    def _do_alone(self, piece: _Piece[Any]) -> None:
        piece.error = None
        self._commit([piece], self._try_all([piece]))

    def write_back(self) -> None:
        """Write the log back into the database, if there is room for that; the log's own room is then used again."""
        with contextlib.suppress(sqlite3.Error):  # it is only tidying: a later one succeeds
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    # --- in either ---------------------------------------------------------------------------------------------------

    def _try_all(self, group: Sequence[_Piece[Any]]) -> sqlite3.Error | None:
        """Begin a transaction and do the work; what ended the whole of it, if anything did."""
        self._begun = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._begun = True
            for piece in group:
                self._try(piece)
        except sqlite3.Error as error:  # the caller ends the transaction, and tells each of the group
            return error
        return None

    def _try(self, piece: _Piece[Any]) -> None:
        self._connection.execute("SAVEPOINT piece")
        try:
            piece.results = [piece.work(self._connection)]
        except sqlite3.Error as error:
            piece.error = explain(error)
        except Exception as error:  # noqa: BLE001  # it is the caller's own error, and is raised there
            piece.error = error
        if piece.error is not None:
            # a full disk has already ended the whole transaction: then this raises, and the group fails together
            self._connection.execute("ROLLBACK TO piece")
        self._connection.execute("RELEASE piece")

    def _commit(self, group: Sequence[_Piece[Any]], failed: sqlite3.Error | None) -> bool:
        """End the transaction; False when it was lost as a whole, and its pieces may do better alone."""
        try:
            if failed is not None:
                raise failed
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            for piece in group:
                piece.error = piece.error or explain(error)
            return not self._begun  # when it could not even begin, each piece alone would only wait as long again
        return True

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself when the next one begins
                self._connection.execute("ROLLBACK")


def explain(error: sqlite3.Error | OSError, what: str = "the queue's database") -> StoreFailed:
    """An error of SQLite or the system as the store's own failure, with a sentence for people about `what`."""
    full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    if full or (isinstance(error, OSError) and error.errno in NO_ROOM):
        return StoreFull("the disk with the queue is full")
    why = error.strerror if isinstance(error, OSError) else None
    return StoreFailed(f"{what}: {why or error}")
