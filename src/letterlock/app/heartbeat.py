"""Noticing an event loop that stands still.

The loop beats once a second, and a thread watches: when the beats stop, it logs where the loop is stuck. A late beat
logs for how long everything waited. Every beat also reports to the supervisor, or to systemd (WatchdogSec), that this
process is alive, so that one that never continues is restarted.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

log = logging.getLogger("letterlock.workers")
BEAT_SECONDS = 1.0  # chosen: often enough to see a stall of seconds, and costs nothing
LATE_SECONDS = 1.0  # beyond its time; what a healthy loop does in one step takes milliseconds
STALL_SECONDS = 5.0  # after which the place is logged: long before anybody restarts the process
FRAMES = 6  # of the place, the innermost


class Heart:
    """When the event loop of this thread moved last."""

    def __init__(self, alive: Callable[[], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        """`alive` is called with every beat."""
        self._alive = alive
        self._monotonic = monotonic
        self._thread = threading.get_ident()
        self._beat_at = monotonic()
        self._told = False
        self.stalls = 0  # so far, for monitoring

    def beat(self) -> None:
        """The loop moves."""
        now = self._monotonic()
        late = now - self._beat_at - BEAT_SECONDS
        self._beat_at, self._told = now, False
        if late > LATE_SECONDS:
            self.stalls += 1
            log.warning(
                "the event loop stood still for %.1f seconds: nothing was received or delivered meanwhile", late
            )
        self._alive()

    def look(self) -> None:
        """From another thread: log where the loop stands, once, if it stands still."""
        still = self._monotonic() - self._beat_at
        if still < STALL_SECONDS or self._told:
            return
        self._told = True
        log.error("the event loop has stood still for %.0f seconds, in %s", still, self._place())

    def _place(self) -> str:
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # there is no other way to see another thread
        stack = traceback.extract_stack(frame)[-FRAMES:]
        return " < ".join(f"{each.name} ({each.filename}:{each.lineno})" for each in reversed(stack))


@asynccontextmanager
async def beating(alive: Callable[[], None]) -> AsyncIterator[Heart]:
    """Beat, and have a thread look on, as long as the block lasts."""
    heart, over = Heart(alive), threading.Event()
    heart.beat()
    watcher = threading.Thread(target=_watch, args=(heart, over), name="watchdog", daemon=True)
    watcher.start()
    task = asyncio.create_task(_beat(heart))
    try:
        yield heart
    finally:
        task.cancel()
        over.set()
        watcher.join()


async def _beat(heart: Heart) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        heart.beat()


def _watch(heart: Heart, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        heart.look()
