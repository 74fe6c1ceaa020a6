"""Several workers accept from one socket: each gets as many connections, and none waits for one that is stuck."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from letterlock.receive.accept_turns import PATIENCE_SECONDS, AcceptTurns, SessionBoard

SECONDS = 10.0


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as bound:
        bound.setblocking(False)
        yield bound


class Worker:
    """Accepts from a descriptor of its own, and keeps what it accepts open."""

    def __init__(self, board: SessionBoard, number: int, bound: socket.socket) -> None:
        self.turns = AcceptTurns(board, number)
        self.taken: list[socket.socket] = []
        self._bound = bound.dup()

    async def run(self) -> None:
        try:
            while True:
                self.taken.append(await self.turns.accept(self._bound))
                self.turns.has_open(len(self.taken))
        finally:
            for each in (self._bound, *self.taken):
                each.close()


async def accepted(workers: list[Worker], count: int) -> list[int]:
    async with asyncio.timeout(SECONDS):
        while sum(len(each.taken) for each in workers) < count:  # noqa: ASYNC110  # each has its own event
            await asyncio.sleep(0)
    return [len(each.taken) for each in workers]


async def shares(connections: int, running: int, board: SessionBoard) -> list[int]:
    """How a crowd that comes at once is spread over so many workers of the board's."""
    with listening() as bound, ExitStack() as stack:
        workers = [Worker(board, number, bound) for number in range(running)]
        for _ in range(connections):
            stack.enter_context(socket.create_connection(bound.getsockname()))
        tasks = [asyncio.create_task(each.run()) for each in workers]
        found = await accepted(workers, connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def test_a_crowd_is_spread_evenly() -> None:
    assert await shares(21, 3, SessionBoard(3)) == [7, 7, 7]


async def test_whoever_has_many_sessions_leaves_new_connections_to_the_others() -> None:
    board = SessionBoard(2)
    busy = AcceptTurns(board, 1)
    busy.has_open(100)
    with listening() as bound, socket.create_connection(bound.getsockname()):
        waiting = asyncio.create_task(busy.accept(bound))
        for _ in range(3):  # it has seen the connection by then
            await asyncio.sleep(0)
        other = Worker(board, 0, bound)
        task = asyncio.create_task(other.run())
        assert await accepted([other], 1) == [1]
        assert not waiting.done()
        for each in (waiting, task):
            each.cancel()
        await asyncio.gather(waiting, task, return_exceptions=True)


async def test_one_after_the_other_each_worker_gets_its_share() -> None:
    """A session that has ended before the next one begins counts, too: else chance would give all to one worker."""
    board = SessionBoard(2)
    with listening() as bound:
        workers = [Worker(board, number, bound) for number in range(2)]
        tasks = [asyncio.create_task(each.run()) for each in workers]
        for number in range(1, 11):
            with socket.create_connection(bound.getsockname()):
                await accepted(workers, number)
                for each in workers:
                    each.turns.has_open(0)
        found = [len(each.taken) for each in workers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert found == [5, 5]


async def test_nobody_waits_for_a_worker_that_is_stuck() -> None:
    """It never accepts, and the others lose patience: half of it each time, so that a crowd does not wait either."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await shares(40, 1, SessionBoard(2)) == [40]
    assert loop.time() - begun < 20 * PATIENCE_SECONDS  # twice its patience, and what the machine adds


async def test_a_worker_that_is_started_again_has_no_sessions_and_goes_on_counting() -> None:
    board = SessionBoard(2)
    board.write(1, 12, 300)
    AcceptTurns(board, 1)
    assert board.read(1) == (0, 300)
    assert board.read(0) == (0, 0)
