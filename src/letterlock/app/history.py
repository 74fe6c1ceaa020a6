"""The last day in minutes, for `letterlock status`: what came in, went out, and how it was protected."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STEP_SECONDS = 60.0  # chosen: an hour's flow is right to a minute or two
STEPS = 24 * 60 + 1  # a day


@dataclass(frozen=True, slots=True)
class Span:
    """The growth of some counters over the last seconds; fewer than were asked for, if counting began later."""

    seconds: float
    grown: tuple[float, ...]


class History:
    """Samples of counters, one a minute. Times are monotonic seconds."""

    def __init__(self, now: float, counters: Sequence[float]) -> None:
        self._samples: deque[tuple[float, tuple[float, ...]]] = deque([(now, tuple(counters))], maxlen=STEPS)

    def look(self, now: float, counters: Callable[[], Sequence[float]]) -> None:
        """Keep a sample if it is time for one; the counters are not read before."""
        if now - self._samples[-1][0] >= STEP_SECONDS:
            self._samples.append((now, tuple(counters())))

    def since(self, seconds: float, now: float, counters: Sequence[float]) -> Span:
        """The growth from about so many seconds ago until now."""
        oldest = next((each for each in self._samples if now - each[0] <= seconds), self._samples[-1])
        grown = tuple(max(0.0, after - before) for before, after in zip(oldest[1], counters, strict=True))
        return Span(now - oldest[0], grown)
