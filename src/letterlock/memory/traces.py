"""On how many days something was seen, and since when: how a memory grows and fades."""

from dataclasses import dataclass

DAY_SECONDS = 86_400.0  # of a day in UTC
NEEDED_DAYS = 4  # chosen: several, and so few that a domain that gets a message a week is known after a month
NEEDED_SECONDS = 14 * DAY_SECONDS  # chosen: an attacker would have to stay on the path for two weeks to plant anything
LIFETIME_SECONDS = 90 * DAY_SECONDS  # chosen: domains that get a message a month stay known; none is for ever
MAX_DAYS = 100_000  # bounds the number; nobody counts so far


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that was seen on so many different days (UTC); `first` and `last` are seconds since 1970."""

    days: int
    first: float
    last: float

    def holds(self, now: float) -> bool:
        """Whether it was seen often enough, over long enough, and not too long ago to count on it.

        A clock that was set back makes nothing fade.
        """
        return (
            self.days >= NEEDED_DAYS
            and self.last - self.first >= NEEDED_SECONDS
            and now - self.last <= LIFETIME_SECONDS
        )


def holding(trace: Trace | None, now: float) -> Trace | None:
    """The trace, if it holds."""
    return trace if trace is not None and trace.holds(now) else None


def extended(before: Trace | None, now: float) -> Trace:
    """The same after it was seen now.

    A day counts once. After a silence that is longer than its lifetime half of the days are left, however long the
    silence was: a clock that was far ahead for a while must not wipe out what is known. Times that lie in the future
    are the work of such a clock, and are brought back.
    """
    if before is None:
        return Trace(1, now, now)
    first, last = min(before.first, now), min(before.last, now)
    days = before.days // 2 if now - last > LIFETIME_SECONDS else before.days
    if now // DAY_SECONDS > last // DAY_SECONDS:
        days = min(days + 1, MAX_DAYS)
    return Trace(max(1, days), first, now)
