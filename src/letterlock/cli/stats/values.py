"""Statistics as data: one structure for JSON, and the same as rows for CSV."""

from collections.abc import Iterator
from typing import Any

from letterlock.statistics.summary import MEASURES, Measured, Statistics

CSV_COLUMNS = ("destination", "start", "measure", "value", "attempts")


def values(found: Statistics) -> dict[str, Any]:
    """Everything; times are seconds since 1970."""
    return {
        "by": found.grain.name.lower(),
        "since": found.since,
        "until": found.until,
        "domain": found.domain,
        "total": _counts(found.attempts, found.measured),
        "over_time": [{"start": each.start, **_counts(each.attempts, each.measured)} for each in found.periods],
        "destinations": [
            {"destination": each.name, **_counts(each.attempts, each.measured)} for each in found.destinations
        ],
        "destinations_named": found.named,
    }


def _counts(attempts: int, measured: Measured) -> dict[str, Any]:
    by_measure: dict[str, dict[str, int]] = {}
    for measure in MEASURES:
        by_value = {value: count for (name, value), count in measured.items() if name == measure}
        by_measure[measure] = dict(sorted(by_value.items(), key=lambda each: (-each[1], each[0])))
    return {"attempts": attempts, **by_measure}


def csv_rows(found: Statistics) -> Iterator[tuple[str, int | str, str, str, int]]:
    """The same as rows: destination and start are empty in those of all destinations, and of the whole time."""
    domain = found.domain or ""
    yield from _rows(domain, "", found.attempts, found.measured)
    for period in found.periods:
        yield from _rows(domain, period.start, period.attempts, period.measured)
    for each in found.destinations:
        yield from _rows(each.name, "", each.attempts, each.measured)


def _rows(
    destination: str, start: int | str, attempts: int, measured: Measured
) -> Iterator[tuple[str, int | str, str, str, int]]:
    yield destination, start, "attempts", "", attempts
    for measure, by_value in _counts(attempts, measured).items():
        if measure != "attempts":
            yield from ((destination, start, measure, value, count) for value, count in by_value.items())
