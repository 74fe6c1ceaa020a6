"""Many surveys at once: bounded in number, handed on in the order in which the domains were named."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

_Survey = TypeVar("_Survey")
AHEAD = 8
"""How many domains, for each one that is looked at, may be finished and wait for a slow one before them."""


async def run_surveys(
    domains: Iterable[str], look: Callable[[str], Awaitable[_Survey]], jobs: int, stop: asyncio.Event
) -> AsyncIterator[_Survey]:
    """Look at each domain, `jobs` at a time, and hand on the surveys in order.

    Ends early when `stop` is set: with all that are finished by then, and without those that are not.
    """
    slots = asyncio.Semaphore(jobs)

    async def seated(domain: str) -> _Survey:
        async with slots:
            return await look(domain)

    waiting: deque[asyncio.Task[_Survey]] = deque()
    stopping = asyncio.create_task(stop.wait())
    try:
        for domain in domains:
            waiting.append(asyncio.create_task(seated(domain)))
            while len(waiting) >= jobs * AHEAD or (waiting and waiting[0].done()):
                if not await _finished(waiting[0], stopping):
                    break
                yield waiting.popleft().result()
            if stop.is_set():
                break
        while waiting and await _finished(waiting[0], stopping):
            yield waiting.popleft().result()
        for task in [each for each in waiting if each.done()]:
            waiting.remove(task)
            yield task.result()
    finally:
        stopping.cancel()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _finished(task: asyncio.Task[_Survey], stopping: asyncio.Task[bool]) -> bool:
    """Wait for a survey, or until nobody wants it any more."""
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    return task.done()
