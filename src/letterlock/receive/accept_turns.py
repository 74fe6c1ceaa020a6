"""Which of several workers takes the next connection: the one with the fewest sessions, unless it is busy.

All workers accept from the same sockets. The kernel distributes connections at random: of twenty that a smarthost
opens, one of two workers gets twelve on average, and is still busy when the other has nothing left to do. So a worker
that has more sessions than another leaves a new connection to that one, but only for a moment: no client waits for a
worker that is busy, stuck, or being restarted.
"""

import asyncio
import mmap
import socket
import struct

PATIENCE_SECONDS = 0.05  # chosen: longer than a busy worker's turn of the event loop; no client notices it
STEP_SECONDS = 0.002  # chosen: an idle worker accepts within a millisecond, and a look costs microseconds
_COUNTS = struct.Struct("=qq")  # of one worker: sessions that are open, and connections accepted so far


class SessionBoard:
    """How many sessions each worker has: made before the workers are forked, it is the same memory to all of them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, _COUNTS.size * workers)

    def read(self, worker: int) -> tuple[int, int]:
        """Sessions that are open, and connections accepted so far."""
        open_count, accepted_count = _COUNTS.unpack_from(self._memory, worker * _COUNTS.size)
        return open_count, accepted_count

    def write(self, worker: int, sessions: int, connections: int) -> None:
        """Replace the counts of one worker: sessions that are open, and connections accepted so far."""
        _COUNTS.pack_into(self._memory, worker * _COUNTS.size, sessions, connections)


class AcceptTurns:
    """One worker's view of the board, and how it accepts. Among equals, the one that accepted fewer goes first."""

    def __init__(self, board: SessionBoard, worker: int) -> None:
        self._board = board
        self._worker = worker
        self._open = 0
        _, self._accepted = board.read(worker)  # of the same worker before its restart
        self._patience = PATIENCE_SECONDS  # halved each time that it was in vain: the others may be stuck
        self._tell()

    def has_open(self, sessions: int) -> None:
        """Let the others see how many sessions there are now."""
        self._open = sessions
        self._tell()

    async def accept(self, listening: socket.socket) -> socket.socket:
        """The next connection that is for this worker. Raises OSError."""
        loop = asyncio.get_running_loop()
        while True:
            await _readable(loop, listening)
            await self._leave_to_others(loop)
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                self._patience = PATIENCE_SECONDS
                continue  # another worker has taken it
            connection.setblocking(False)
            self._accepted += 1
            self._tell()
            return connection

    async def _leave_to_others(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until no other worker has fewer, or for as long as the patience lasts."""
        until = loop.time() + self._patience
        while self._others_have_fewer():
            if loop.time() >= until:
                self._patience /= 2
                return
            await asyncio.sleep(STEP_SECONDS)
        self._patience = PATIENCE_SECONDS

    def _others_have_fewer(self) -> bool:
        mine = self._open, self._accepted
        return any(self._board.read(each) < mine for each in range(self._board.workers) if each != self._worker)

    def _tell(self) -> None:
        self._board.write(self._worker, self._open, self._accepted)


async def _readable(loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
    """Wait until somebody has connected."""
    came: asyncio.Future[None] = loop.create_future()
    loop.add_reader(listening, _set, came)
    try:
        await came
    finally:
        loop.remove_reader(listening)


def _set(came: asyncio.Future[None]) -> None:
    if not came.done():
        came.set_result(None)
