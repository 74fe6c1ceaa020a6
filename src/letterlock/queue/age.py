"""For how long a message has really been tried: what decides when it is given up. Pure.

A wall clock can be wrong when a message is accepted (1970, on a machine without a battery) and right a minute later;
it can be set back, and the machine can be off for a week. So an age is never the difference of two wall clock readings
alone: it grows from attempt to attempt, by what the monotonic clock says while the machine runs, and by no more than
the schedule explains when it was started anew in between.
"""

from letterlock.frozen import frozen_dataclass

ROUNDING_SECONDS = 0.001
"""Times since 1970 are floats with a resolution of a quarter of a microsecond: what is due exactly at the end of a
message's life is tried for the last time then, and not once more a microsecond later."""


@frozen_dataclass(frozen=True, slots=True)
class Reading:
    """The clocks at one moment. `boot` names the origin of `monotonic`: seconds of two boots differ."""

    wall: float
    monotonic: float
    boot: str = ""


@frozen_dataclass(frozen=True, slots=True)
class Age:
    """How long a task has been tried, in seconds, up to the moment when that was last looked at; None: never yet."""

    seconds: float = 0.0
    seen: Reading | None = None

    def grown(self, now: Reading, *, at_most: float) -> "Age":
        """The age at a later moment; `at_most`: how much of a time that no monotonic clock measured counts."""
        if self.seen is None:
            return Age(self.seconds, now)
        if self.seen.boot == now.boot:
            passed = now.monotonic - self.seen.monotonic
        else:
            passed = min(now.wall - self.seen.wall, at_most)
        return Age(self.seconds + max(0.0, passed), now)


NEW = Age()
