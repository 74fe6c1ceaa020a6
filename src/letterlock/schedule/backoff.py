"""Places that failed several times in a row, where nothing is tried for a while. Data only, no clock.

After PATIENCE failures in a row a place rests, for FIRST_SECONDS and each further time twice as long, up to
MAX_SECONDS; what answers that it wants less mail rests at once. Then one delivery is tried. One that goes well ends it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from letterlock.queue.tasks import Attempt, OutcomeKind, RecipientOutcome

PATIENCE = 5  # chosen: failures in a row that may be chance
FIRST_SECONDS = 1.0  # chosen: a restart of a server takes about as long
MAX_SECONDS = 30.0  # chosen: so late, at most, it is noticed that a place works again
DOWN_SECONDS = 8.0  # chosen: a restart is over by then; a longer silence is an outage
MAX_REMEMBERED = 10_000  # places; each takes some hundred bytes
SLOW_SECONDS = 60.0  # an attempt that took longer shows a place that had better get less at once


@dataclass(slots=True)
class BackedOff:
    """`until` (seconds since 1970) nothing is tried, for what was last heard at `since`."""

    failures: int = 0
    span: float = 0.0
    since: float = 0.0
    until: float = 0.0
    heard: RecipientOutcome | None = None

    @property
    def down(self) -> bool:
        """Whether it has failed for so long that mail need not wait for the next try."""
        return self.span >= DOWN_SECONDS


class Backoff:
    """Backoff by place; at most MAX_REMEMBERED. `failing`: the places that failed lately, as nearly none does."""

    def __init__(self) -> None:
        self.failing: OrderedDict[str, BackedOff] = OrderedDict()

    def went_well(self, place: str) -> None:
        """It can be reached."""
        self.failing.pop(place, None)

    @property
    def places(self) -> list[str]:
        """Those that failed lately."""
        return [*self.failing]

    def forget(self, place: str | None) -> None:
        """Let a place (None: every one) be tried at once, as if nothing had been heard of it."""
        if place is None:
            self.failing.clear()
        else:
            self.failing.pop(place, None)

    def failed(self, place: str, now: float, heard: RecipientOutcome | None) -> None:
        """A delivery failed at `now`; those that end while the place rests already say nothing new."""
        rest = self.failing.setdefault(place, BackedOff())
        self.failing.move_to_end(place)
        if rest.until > now >= rest.since:
            return
        rest.failures += 1
        rest.since, rest.heard = now, heard
        if rest.failures >= PATIENCE or (heard is not None and heard.slow_down):
            rest.span = min(MAX_SECONDS, max(FIRST_SECONDS, rest.span * 2))
            rest.until = now + rest.span
        if len(self.failing) > MAX_REMEMBERED:
            self.failing.popitem(last=False)

    def of(self, place: str, now: float) -> BackedOff | None:
        """The rest that a place has now. A clock that was set back ends it."""
        rest = self.failing.get(place)
        return rest if rest is not None and rest.since <= now < rest.until else None

    def next_end(self, now: float) -> float | None:
        """When the next rest ends."""
        ends = (rest.until for rest in self.failing.values() if rest.since <= now < rest.until)
        return min(ends, default=None)


def first_trouble(made: Attempt) -> RecipientOutcome | None:
    """What an attempt shows of a place that did not take the mail."""
    return next((outcome for outcome in made.outcomes if outcome.kind is OutcomeKind.DEFERRED), None)


def did_well(made: Attempt) -> bool | None:
    """Whether the place was reached in good time, or need not be reached; and did not ask for less mail.

    None where the attempt shows nothing of it.
    """
    if made.broken:
        return None
    for outcome in made.outcomes:  # not by any(): this is asked for each message
        if outcome.slow_down:
            return False
    if made.connected_at is None and first_trouble(made) is not None:
        return False
    return made.ended_at - made.started_at < SLOW_SECONDS


def was_crowded(made: Attempt, *, reached: bool) -> bool:
    """Whether a place had too many connections: it said so, or let nobody in though it was `reached` a moment ago."""
    if any(outcome.slow_down for outcome in made.outcomes):
        return True
    return reached and made.connected_at is None and not made.broken and first_trouble(made) is not None
