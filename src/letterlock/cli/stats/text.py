"""Statistics for people: shares as bars, and their course as sparklines."""

import datetime as dt
from collections.abc import Iterator, Sequence

from letterlock.cli.stats.bars import Bars
from letterlock.cli.style import Style
from letterlock.deliver.log import safe
from letterlock.state.statistics_rows import Grain
from letterlock.statistics.summary import Destination, Statistics

MAX_VALUES = 8  # of one measure; --json has all
LEAST_LABEL, MOST_LABEL, NARROW_LABEL = 16, 36, 24  # columns of a value's name; longer ones are cut
COUNTS = 20  # columns of the number and the share
NARROW = 60  # columns of a terminal below which there are no bars
LEAST_SPARK = 8  # columns; below that a sparkline shows nothing
MOST_SPARK = 48  # chosen: two days of hours
MOST_BAR = 30  # chosen: longer ones are not easier to compare
GAP = 2  # columns between the parts of a line
WIDE_TABLE = 72  # columns that the table with all of its columns needs
_HEADINGS = {
    "protection": "Delivered",
    "demanded_by": "Demanded by",
    "proof": "Server proven by",
    "begun_by": "TLS begun by",
    "tls_version": "TLS version",
    "cipher": "Cipher",
    "key_exchange": "Key exchange",
    "held_because": "Held because of",
    "deferred_because": "Deferred because of",
    "failed_because": "Failed because of",
    "would_fail": "Would have failed if enforced",
}
_LOOKS = {"authenticated": "good", "encrypted": "warn", "clear": "bad", "held": "warn", "failed": "bad"}
_TABLE = (
    ("auth", "protection", "authenticated"),
    ("encr", "protection", "encrypted"),
    ("clear", "protection", "clear"),
)
_LATER = (("held", "result", "held"), ("would fail", "would_fail", ""))


class StatisticsScreen:
    """Draws statistics on so many columns."""

    def __init__(self, found: Statistics, style: Style, bars: Bars, width: int) -> None:
        self._found = found
        self._style = style
        self._bars = bars
        self._width = width
        longest = max((len(value) for measure, value in found.measured if measure in _HEADINGS), default=0)
        most = MOST_LABEL if width >= WIDE_TABLE else NARROW_LABEL
        self._label = max(LEAST_LABEL, min(longest + 1, most))
        room = max(0, width - 2 - self._label - COUNTS)
        self._spark = min(MOST_SPARK, len(found.periods), room // 2 if width >= NARROW else room)
        if self._spark < min(LEAST_SPARK, len(found.periods)):
            self._spark = 0
        self._bar = max(0, min(MOST_BAR, room - self._spark - 2 * GAP)) if width >= NARROW else 0

    def lines(self) -> Iterator[str]:
        """The screen."""
        found = self._found
        yield self._style(f"Deliveries to {safe(found.domain) if found.domain else 'all destinations'}", "bold")
        yield f"{_moment(found.since)} to now, UTC, by {found.grain.name.lower()}: {found.attempts:,} attempts"
        if not found.attempts:
            return
        yield from self._block("Attempts", "result", found.attempts)
        for measure, heading in _HEADINGS.items():
            yield from self._block(heading, measure, self._whole(measure))
        yield from self._destinations()

    def _whole(self, measure: str) -> int:
        """What a share of a measure is a share of."""
        if measure == "demanded_by" or measure == "would_fail":  # an attempt can count for several values
            return self._found.measured.get(("result", "delivered"), 0)
        return sum(count for _, count in self._found.of(measure))

    def _block(self, heading: str, measure: str, whole: int) -> Iterator[str]:
        rows = self._found.of(measure)
        if not rows:
            return
        yield ""
        yield self._style(heading, "bold")
        for value, count in rows[:MAX_VALUES]:
            yield self._row(measure, value, count, whole)
        if len(rows) > MAX_VALUES:
            yield f"  and {len(rows) - MAX_VALUES} more: --json has them"
        if measure == "key_exchange":
            quantum = self._found.measured.get(("post_quantum", "yes"), 0)
            yield self._row("post_quantum", "yes", quantum, whole, label="post-quantum")

    def _row(self, measure: str, value: str, count: int, whole: int, *, label: str = "") -> str:
        share = count / whole if whole else 0.0
        percent = f"{100 * share:.1f} %"
        text = f"  {_fitted(label or value, self._label):<{self._label}}{count:>12,}{percent:>8}"
        if self._bar:
            text += f"  {self._painted(value, self._bars.bar(share, self._bar), self._bar)}"
        if self._spark:
            text += f"  {self._bars.spark(self._found.over_time(measure, value), self._spark)}"
        return text.rstrip()

    def _painted(self, value: str, bar: str, width: int) -> str:
        padding = " " * (width - len(bar))
        return (self._style(bar, _LOOKS[value]) if value in _LOOKS and bar else bar) + padding

    def _destinations(self) -> Iterator[str]:
        found = self._found
        if not found.destinations:
            return
        columns = (*_TABLE, *_LATER) if self._width >= WIDE_TABLE else _TABLE
        room = self._width - 12 - sum(max(8, len(name) + 2) for name, _, _ in columns)
        width = max(12, min(40, room))
        yield ""
        heads = "".join(f"{name:>{max(8, len(name) + 2)}}" for name, _, _ in columns)
        yield self._style(f"{'Destination':<{width}}{'attempts':>10}{heads}", "bold")
        for each in found.destinations:
            cells = "".join(f"{_cell(each, of):>{max(8, len(of[0]) + 2)}}" for of in columns)
            yield f"{_fitted(each.name, width):<{width}}{each.attempts:>10,}{cells}"
        if found.named > len(found.destinations):
            yield f"and {found.named - len(found.destinations):,} more: --top shows them"


def _cell(destination: Destination, column: Sequence[str]) -> str:
    """The number of a column; of a measure as a whole, where no value is named."""
    _, measure, value = column
    number = sum(
        count
        for (name, found), count in destination.measured.items()
        if name == measure and (not value or found == value)
    )
    return f"{number:,}" if number else "."


def _moment(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M")


def _fitted(text: str, width: int) -> str:
    shown = safe(text)
    return shown if len(shown) < width else shown[: width - 2] + "~"


def grain_of(name: str) -> Grain:
    """The grain that is called so."""
    return Grain[name.upper()]
