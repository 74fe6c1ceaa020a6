"""What became of lookups since the start, for monitoring: plain numbers."""

from collections import Counter
from dataclasses import dataclass, field

from letterlock.resolver.answer import Answer, LookupFailure


@dataclass(slots=True)
class LookupCounts:
    """Lookups by their result, the durations of those the cache could not answer, and two limits.

    `cached` counts answers from the cache, `gave_way` lookups that a limit ended. `results` counts answers by their
    security and failures by their kind. `seconds` holds the durations since they were last taken, the first MAX_UNTAKEN
    of them.
    """

    cached: int = 0
    gave_way: int = 0
    results: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def looked_up(self, result: Answer | LookupFailure, seconds: float) -> None:
        """A lookup is over."""
        self.results[str(result.security if isinstance(result, Answer) else result.kind)] += 1  # `value` takes longer
        if len(self.seconds) < MAX_UNTAKEN:
            self.seconds.append(seconds)

    def take_seconds(self) -> list[float]:
        """The durations since the last time."""
        taken, self.seconds = self.seconds, []
        return taken


MAX_UNTAKEN = 10_000  # they are taken every second, in which no resolver finishes so many
