"""What an attempt counts as in the statistics, and the periods of time that it is counted in."""

import datetime as dt
from enum import IntEnum
from typing import NamedTuple

HOUR_SECONDS = 3_600  # of UTC, which has no summer time
DAY_SECONDS = 86_400  # the same
OTHER = "other"
"""A value that was not worth, or had no room for, a name of its own."""
OTHER_DESTINATIONS = "(other)"
"""The destination of attempts whose own destination has no room; no domain is called that."""


class DeliveryShape(NamedTuple):
    """Everything that is counted of an attempt but when it was and where it went. An empty text: does not apply.

    `result` is delivered, held (by the policy), deferred or failed; `reason`, for what was not delivered, the policy's
    code or the class and subject of the status. `protection` is clear, encrypted, authenticated or local; `proof` what
    proved the server, as in `Achieved.by`; `demanded_by` who demanded TLS, joined by `+`; `begun_by` is starttls or
    implicit; `would_fail` whose demand would have held the message were it enforced.
    """

    result: str
    reason: str = ""
    protection: str = ""
    proof: str = ""
    demanded_by: str = ""
    begun_by: str = ""
    tls_version: str = ""
    cipher: str = ""
    key_exchange: str = ""
    would_fail: str = ""

    @property
    def coarse(self) -> "DeliveryShape":
        """The same without what a peer can vary at will."""
        if not self.tls_version:
            return self
        return self._replace(tls_version=OTHER, cipher=OTHER, key_exchange=OTHER)


class Grain(IntEnum):
    """The length of the periods that attempts are counted by. The numbers are those in the database."""

    HOUR = 0
    DAY = 1
    MONTH = 2

    def start(self, moment: float) -> int:
        """When the period that holds a moment began (UTC; seconds since 1970, as all times here)."""
        if self is Grain.MONTH:
            day = dt.datetime.fromtimestamp(moment, dt.UTC)
            return int(dt.datetime(day.year, day.month, 1, tzinfo=dt.UTC).timestamp())
        seconds = HOUR_SECONDS if self is Grain.HOUR else DAY_SECONDS
        return int(moment // seconds) * seconds

    def after(self, start: int) -> int:
        """When the next period begins."""
        if self is Grain.MONTH:
            return self.start(start + 31 * DAY_SECONDS)
        return start + (HOUR_SECONDS if self is Grain.HOUR else DAY_SECONDS)

    def before(self, moment: float, number: int) -> int:
        """The start of the period that is so many before the one that holds a moment."""
        start = self.start(moment)
        if self is not Grain.MONTH:
            return start - number * (HOUR_SECONDS if self is Grain.HOUR else DAY_SECONDS)
        for _ in range(number):
            start = self.start(start - 1)
        return start


class Counted(NamedTuple):
    """Attempts of one shape in the period that began at `start`."""

    start: int
    shape: DeliveryShape
    attempts: int


class KeptPeriods(NamedTuple):
    """How much is kept: periods of each length, and how many destinations by name in each period."""

    hours: int
    days: int
    months: int
    destinations: int

    def periods(self, grain: Grain) -> int:
        """How many periods of a length are kept."""
        return (self.hours, self.days, self.months)[grain]
