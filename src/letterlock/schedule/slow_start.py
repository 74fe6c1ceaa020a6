"""How many deliveries at once a place may have: one at first, and more as they succeed while others wait.

Deliveries to one place use the sessions that are kept for it, so this is how many sessions it gets. A new one costs six
round trips and a handshake before its first message; one that is open takes a message in two (RFC 2920). So a message
waits for a session that will be free in a moment, until enough of them have waited that another session is worth it,
or until a session seems to be stuck (`slow_watch.py`). A host that is merely slow is slow in each new session as well,
and gets another one by what it has shown (`paces.py`).
Behind a long queue each success adds one, so the number doubles from one round of deliveries to the next, as the
congestion window of TCP does at first (RFC 5681 section 3.1); where one or two wait all the time, it grows slowly.
"""

from collections import OrderedDict
from dataclasses import dataclass

FIRST = 1  # a place where nothing succeeded yet has to answer one before it meets more
WORTH_A_SESSION = 4  # waits per session: three messages it sends in the six round trips that another one needs
MAX_REMEMBERED = 10_000  # places; each takes some hundred bytes


@dataclass(slots=True)
class _Window:
    size: int
    waits: int = 0  # messages that had to wait when one was delivered, since it last grew


class SlowStart:
    """Windows by place; the places that have none have the first one. Data only, no clock."""

    def __init__(self, first: int = FIRST) -> None:
        self._first = first
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def of(self, place: str) -> int:
        """How many deliveries a place may have at once."""
        window = self._windows.get(place)
        return self._first if window is None else window.size

    def went_well(self, place: str, waiting: int, most: int) -> None:
        """A delivery went well while `waiting` tasks waited for the place, which may have `most` deliveries at once."""
        window = self._windows.get(place) or self._remember(place, self._first)
        if window.size < most:
            window.waits += waiting
            if window.waits >= WORTH_A_SESSION * window.size:
                window.size, window.waits = window.size + 1, 0

    def stuck(self, place: str, most: int) -> None:
        """A delivery takes very long: its session will not be free in a moment, so others need not wait for it.

        `most`: how many deliveries the place may have at once.
        """
        window = self._windows.get(place) or self._remember(place, self._first)
        window.size = min(most, window.size + 1)

    def idle(self, place: str) -> None:
        """Nothing is sent there and nothing waits: half as many next time, for its sessions will soon be ended."""
        window = self._windows.pop(place, None)
        if window is not None and window.size // 2 > self._first:
            self._remember(place, window.size // 2)

    def failed(self, place: str) -> None:
        """A delivery failed: begin anew."""
        self._windows.pop(place, None)

    def _remember(self, place: str, size: int) -> _Window:
        window = self._windows[place] = _Window(size)
        if len(self._windows) > MAX_REMEMBERED:
            self._windows.popitem(last=False)
        return window
