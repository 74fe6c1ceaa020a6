"""Which deliveries take long, which may be stuck, and which hosts answer slowly though this machine has time."""

import asyncio
from collections.abc import Callable

from letterlock.queue.tasks import Lease

SLOW_REPLY_SECONDS = 0.2  # chosen: a reply over the longest lines, from a host that is not busy, comes sooner
OWN_TURNS = 2  # of the event loop: one in which the reply came, and one in which it was read
ASIDE_SECONDS = 2.0  # chosen: nearly all deliveries are done in less
STUCK_SECONDS = 6.0  # chosen: a very slow host, which gives six replies of a second each, is not stuck


class SlowAnswers:
    """Calls `slow` with a next hop whose host answered EHLO slowly, and what `deliver.session.Answered` gets.

    When this machine is busy all replies seem to be late. So it is seen first how long a turn of the event loop takes
    now, and only what the host took beyond that counts: more sessions would make a busy machine busier.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, slow: Callable[[str, float, float], None]) -> None:
        self._loop = loop
        self._slow = slow

    def answered(self, next_hop: str, elapsed: float, reply: float) -> None:
        """EHLO was answered `elapsed` seconds after the connection, `reply` seconds after the greeting."""
        if reply >= SLOW_REPLY_SECONDS:
            self._loop.call_soon(self._look, self._loop.time(), next_hop, elapsed, reply)

    def _look(self, since: float, next_hop: str, elapsed: float, reply: float) -> None:
        if reply - OWN_TURNS * (self._loop.time() - since) >= SLOW_REPLY_SECONDS:
            self._slow(next_hop, elapsed, reply)


class SlowWatch:
    """Calls `slow` for each lease that began ASIDE_SECONDS ago and has not ended, and `stuck` after STUCK_SECONDS.

    One timer for all, for the one that began first: most deliveries end before it, and cost an entry in a dict. Those
    that are slow have a timer each.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, slow: Callable[[Lease], None], stuck: Callable[[Lease], None]
    ) -> None:
        self._loop = loop
        self._slow = slow
        self._stuck = stuck
        self._begun: dict[str, tuple[float, Lease]] = {}  # when they are slow (the event loop's time), in this order
        self._timer: asyncio.TimerHandle | None = None
        self._slow_ones: dict[str, asyncio.TimerHandle] = {}

    def begin(self, lease: Lease) -> None:
        """A delivery began."""
        when = self._loop.time() + ASIDE_SECONDS
        self._begun[lease.token] = when, lease
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._look)

    def end(self, token: str) -> None:
        """It ended, whether it was slow or not."""
        if self._begun.pop(token, None) is None and (timer := self._slow_ones.pop(token, None)) is not None:
            timer.cancel()

    def stop(self) -> None:
        """Call nobody any more."""
        for timer in (self._timer, *self._slow_ones.values()):
            if timer is not None:
                timer.cancel()

    def _look(self) -> None:
        self._timer = None
        while self._begun:
            token, (when, lease) = next(iter(self._begun.items()))
            if when > self._loop.time():
                self._timer = self._loop.call_at(when, self._look)
                return
            del self._begun[token]
            self._slow_ones[token] = self._loop.call_at(when - ASIDE_SECONDS + STUCK_SECONDS, self._look_again, lease)
            self._slow(lease)

    def _look_again(self, lease: Lease) -> None:
        del self._slow_ones[lease.token]
        self._stuck(lease)
