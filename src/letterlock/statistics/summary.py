"""From counted attempts to shares: what `letterlock stats` shows, in whatever form."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from letterlock.state.statistics_rows import DAY_SECONDS, Counted, DeliveryShape, Grain
from letterlock.state.statistics_store import StatisticsStore
from letterlock.statistics.delivery_facts import LOCAL

NOBODY = "nobody"
NOTHING = "nothing"
MEASURES = (
    "result",
    "protection",
    "demanded_by",
    "proof",
    "begun_by",
    "tls_version",
    "cipher",
    "key_exchange",
    "post_quantum",
    "held_because",
    "deferred_because",
    "failed_because",
    "would_fail",
)
"""What attempts are counted by, in the order in which it is shown."""
_HYBRIDS = ("MLKEM", "KYBER")  # as OpenSSL and others name post-quantum groups, alone or in hybrids
MAX_HOURS_SHOWN = 2 * DAY_SECONDS  # of a longer time the days are shown, which are far fewer rows to read
MAX_DAYS_SHOWN = 62 * DAY_SECONDS  # of a longer time the months

Measured = Mapping[tuple[str, str], int]
"""Attempts by measure and value."""


class Period(NamedTuple):
    """What was counted in the period that began at `start`."""

    start: int
    attempts: int
    measured: Measured


class Destination(NamedTuple):
    """What was counted of one destination."""

    name: str
    attempts: int
    measured: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Attempts from `since` on and before `until` (seconds since 1970), whole periods of a grain.

    `domain` is the only destination, if one was asked for; else `destinations` are the largest of `named` ones.
    """

    grain: Grain
    since: int
    until: int
    domain: str | None
    attempts: int
    measured: Measured
    periods: Sequence[Period]
    destinations: Sequence[Destination] = ()
    named: int = 0

    def of(self, measure: str) -> list[tuple[str, int]]:
        """The values of a measure with their attempts, the most frequent first."""
        found = [(value, count) for (name, value), count in self.measured.items() if name == measure]
        return sorted(found, key=lambda each: (-each[1], each[0]))

    def over_time(self, measure: str, value: str) -> list[int]:
        """The attempts of one value in each period."""
        return [period.measured.get((measure, value), 0) for period in self.periods]


def usual_grain(seconds: float) -> Grain:
    """By which periods a stretch of time is shown."""
    if seconds <= MAX_HOURS_SHOWN:
        return Grain.HOUR
    return Grain.DAY if seconds <= MAX_DAYS_SHOWN else Grain.MONTH


async def statistics(
    store: StatisticsStore, *, now: float, seconds: float, grain: Grain, domain: str | None = None, top: int = 20
) -> Statistics:
    """The statistics of the last `seconds`, from the beginning of a period on, and of the `top` destinations.

    Raises StoreFailed.
    """
    since, until = grain.start(max(0.0, now - seconds)), grain.after(grain.start(now))
    if domain is not None:
        counted = await store.of_destination(grain, since, until, domain)
        return _summed(counted, grain, since, until, domain)
    total = _summed(await store.totals(grain, since, until), grain, since, until, None)
    names, named = await store.largest(grain, since, until, top)
    largest = [_destination(name, await store.of_destination(grain, since, until, name)) for name in names]
    return Statistics(
        grain=grain,
        since=since,
        until=until,
        domain=None,
        attempts=total.attempts,
        measured=total.measured,
        periods=total.periods,
        destinations=largest,
        named=named,
    )


def no_statistics(*, now: float, seconds: float, grain: Grain, domain: str | None) -> Statistics:
    """The same where nothing was ever counted."""
    return _summed((), grain, grain.start(max(0.0, now - seconds)), grain.after(grain.start(now)), domain)


def is_post_quantum(key_exchange: str) -> bool:
    """Whether a recording of the session is safe from a later quantum computer."""
    return any(name in key_exchange.upper() for name in _HYBRIDS)


def measures_of(shape: DeliveryShape) -> Iterator[tuple[str, str]]:
    """Measures and values that one attempt counts for. It can have several demanders."""
    yield "result", shape.result
    if shape.result != "delivered":
        yield f"{shape.result}_because", shape.reason
        return
    yield "protection", shape.protection
    if shape.protection == LOCAL:
        return
    yield from (("demanded_by", each) for each in (shape.demanded_by or NOBODY).split("+"))
    if shape.tls_version:
        yield "proof", shape.proof or NOTHING
        yield "begun_by", shape.begun_by
        yield "tls_version", shape.tls_version
        yield "cipher", shape.cipher
        yield "key_exchange", shape.key_exchange
        yield "post_quantum", "yes" if is_post_quantum(shape.key_exchange) else "no"
    if shape.would_fail:
        yield from (("would_fail", each) for each in shape.would_fail.split("+"))


def _measured(counted: Iterable[Counted]) -> Counter[tuple[str, str]]:
    by_shape: Counter[DeliveryShape] = Counter()
    for each in counted:
        by_shape[each.shape] += each.attempts
    found: Counter[tuple[str, str]] = Counter()
    for shape, attempts in by_shape.items():
        for key in measures_of(shape):
            found[key] += attempts
    return found


def _destination(name: str, counted: Sequence[Counted]) -> Destination:
    return Destination(name, sum(each.attempts for each in counted), _measured(counted))


def _summed(counted: Sequence[Counted], grain: Grain, since: int, until: int, domain: str | None) -> Statistics:
    by_start: dict[int, list[Counted]] = {start: [] for start in _starts(grain, since, until)}
    for each in counted:
        by_start[each.start].append(each)
    periods = [
        Period(start, sum(each.attempts for each in found), _measured(found)) for start, found in by_start.items()
    ]
    return Statistics(
        grain=grain,
        since=since,
        until=until,
        domain=domain,
        attempts=sum(period.attempts for period in periods),
        measured=_measured(counted),
        periods=periods,
    )


def _starts(grain: Grain, since: int, until: int) -> Iterator[int]:
    start = since
    while start < until:
        yield start
        start = grain.after(start)
