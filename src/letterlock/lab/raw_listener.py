"""Connections accepted, each talked to by a task of its own, all of them ended with the listener."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def accepting(bound: socket.socket, talk: Talk) -> AsyncIterator[None]:
    """Accept on a bound socket until the block ends; a broken connection ends its talk only."""
    talks: set[asyncio.Task[None]] = set()
    ended = False

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the other side may leave at any time: that is part of many attacks
            await talk(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if ended:  # it was on its way
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        talks.add(task)
        task.add_done_callback(talks.discard)
        # Not in `finally`: a task that is cancelled before its first step does not come to that.
        task.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(accept, sock=bound)
    try:
        yield
    finally:
        ended = True
        server.close()
        waiting = tuple(talks)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await server.wait_closed()
