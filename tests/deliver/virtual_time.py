"""A clock for the event loop that jumps to the next timer whenever nothing else is to be done."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class VirtualTime:
    """The time of the loop, which passes only while everybody waits."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def select(self, selector: Any, timeout: float | None) -> Any:
        """What the loop's selector finds; instead of waiting for a timer, the time jumps."""
        events = selector(0)
        if not events and timeout is not None:
            self.now += timeout
            return events
        return events or selector(timeout)


@contextmanager
def virtual_time() -> Iterator[VirtualTime]:
    """Let the running loop have such a clock."""
    loop: Any = asyncio.get_running_loop()
    clock, selector = VirtualTime(), loop._selector
    real_select, real_time = selector.select, loop.time
    selector.select = lambda timeout=None: clock.select(real_select, timeout)
    loop.time = lambda: clock.now
    try:
        yield clock
    finally:
        loop.time = real_time
        del selector.select
