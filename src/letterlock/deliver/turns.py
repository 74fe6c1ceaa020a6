"""Turns at setting up sessions with one host, so that a crowd of handshakes never falls upon it."""

import asyncio
from collections import Counter, deque


class Turns:
    """At most `each` have a turn at a host at once; the others wait in line, or for a session that became free."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[bool]]] = {}

    async def wait(self, host: str, *, again: bool = False) -> bool:
        """Wait for a turn: True, and it must be given back by `leave`. False: a session became free meanwhile.

        `again`: whoever had no use for that session comes back to the head of the line.
        """
        if self._taken[host] < self._each:
            self._taken[host] += 1
            return True
        line = self._lines.setdefault(host, deque())
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        line.insert(0 if again else len(line), place)
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.result():
                self.leave(host)  # it was given at the same moment
            raise
        finally:
            self._tidy(host, place)

    def leave(self, host: str) -> None:
        """Give a turn back; the first in line has it then."""
        if not self._call(host, turn=True):
            self._taken[host] -= 1
            if not self._taken[host]:
                del self._taken[host]

    def session_free(self, host: str) -> None:
        """A session with the host waits to be used: the first in line may look."""
        self._call(host, turn=False)

    def _call(self, host: str, *, turn: bool) -> bool:
        for place in self._lines.get(host, ()):
            if not place.done():
                place.set_result(turn)
                return True
        return False

    def _tidy(self, host: str, place: asyncio.Future[bool]) -> None:
        line = self._lines[host]
        line.remove(place)
        if not line:
            del self._lines[host]
