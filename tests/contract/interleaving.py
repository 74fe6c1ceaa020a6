"""Every order in which the steps of several workers can happen: one step at a time, and each choice tried once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence


class Chooser:
    """Follows a script of choices, takes the first one beyond its end, and knows the script that comes next."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self._taken: list[tuple[int, int]] = []

    def choose(self, count: int) -> int:
        """One of `count` possibilities."""
        place = len(self._taken)
        choice = self._script[place] if place < len(self._script) else 0
        self._taken.append((choice, count))
        return choice

    def next_script(self) -> list[int] | None:
        """The script of the next order, depth first; None after the last one."""
        taken = list(self._taken)
        while taken:
            choice, count = taken.pop()
            if choice + 1 < count:
                return [each for each, _ in taken] + [choice + 1]
        return None


class Gate:
    """Where one worker waits before each step until it is its turn."""

    def __init__(self) -> None:
        self._parked = asyncio.Event()
        self._open: asyncio.Future[None] | None = None
        self.free = False  # whether steps need no permission: before and after the race

    async def step(self) -> None:
        """The next step begins; wait for the turn."""
        if self.free:
            return
        self._open = asyncio.get_running_loop().create_future()
        self._parked.set()
        await self._open

    async def settle(self, task: asyncio.Task[None]) -> bool:
        """Wait until the worker is before its next step, or at its end; whether it has another step."""
        parked = asyncio.create_task(self._parked.wait())
        await asyncio.wait([parked, task], return_when=asyncio.FIRST_COMPLETED)
        parked.cancel()
        return not task.done()

    def let_go(self) -> None:
        """It is this worker's turn."""
        if self._open is None:
            raise AssertionError("the worker is not before a step")
        self._parked.clear()
        self._open.set_result(None)


async def race(chooser: Chooser, workers: Sequence[tuple[Gate, Awaitable[None]]]) -> None:
    """Run the workers to their ends, one step at a time, in the order that the chooser says."""
    running = [(gate, asyncio.ensure_future(_run(work))) for gate, work in workers]
    while True:
        waiting = [gate for gate, task in running if not task.done() and await gate.settle(task)]
        if not waiting:
            break
        waiting[chooser.choose(len(waiting)) if len(waiting) > 1 else 0].let_go()
    for _, task in running:
        await task


async def _run(work: Awaitable[None]) -> None:
    await work


async def in_every_order(run: Callable[[Chooser], Awaitable[None]]) -> int:
    """Run something once for each order of its steps; how many there are."""
    script: list[int] | None = []
    count = 0
    while script is not None:
        chooser = Chooser(script)
        await run(chooser)
        count += 1
        script = chooser.next_script()
    return count
