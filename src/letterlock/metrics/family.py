"""One family of metrics: its name, kind and text, and every value that each of its labels can have.

Labels have fixed values, so the number of series is known before the first message: nothing that a peer sends can add
one. Domains and addresses are never labels; `letterlock queue stats` and the log have those.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product


class MetricKind(StrEnum):
    """The kinds of Prometheus that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """How the values of several workers become one."""

    SUM = "the sum over all workers"
    MOST = "the greatest of all workers"
    LEAST = "the least of all workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family. `labels` are pairs of a name and all its values; a histogram has the upper bounds of its `buckets`.

    `hidden` families are what workers tell each other, and not exposed.
    """

    name: str
    kind: MetricKind
    text: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = Merge.SUM
    hidden: bool = False

    def series(self) -> Iterator[tuple[str, ...]]:
        """The values of the labels of each series."""
        return product(*(values for _, values in self.labels))

    @property
    def width(self) -> int:
        """The numbers that one series takes: a histogram's buckets, one beyond them all, and its sum."""
        return len(self.buckets) + 2 if self.kind is MetricKind.HISTOGRAM else 1


@dataclass(frozen=True, slots=True)
class Placed:
    """A family with the places of its series in a row of numbers."""

    family: Family
    places: Mapping[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each number of each family has its place in a row of `size` numbers."""

    families: Mapping[str, Placed]
    size: int
    gauges: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, families: Sequence[Family]) -> "Layout":
        """Families one behind the other. Raises ValueError if two have the same name."""
        placed: dict[str, Placed] = {}
        gauges: list[int] = []
        size = 0
        for family in families:
            if family.name in placed:
                raise ValueError(f"{family.name} is declared twice")
            places: dict[tuple[str, ...], int] = {}
            for series in family.series():
                places[series] = size
                size += family.width
            if family.kind is MetricKind.GAUGE:
                gauges += places.values()
            placed[family.name] = Placed(family, places)
        return cls(placed, size, tuple(gauges))

    def place(self, name: str, *labels: str) -> int:
        """The place of a series. Raises KeyError for one that was not declared."""
        return self.families[name].places[labels]

    def by_label(self, name: str) -> dict[str, int]:
        """The places of a family with one label, by its value."""
        return {labels[0]: place for labels, place in self.families[name].places.items()}

    def merged(self, rows: Sequence[Sequence[float]], alive: Sequence[bool]) -> list[float]:
        """The rows of all workers as one: of workers that are not alive only what they have counted."""
        total = [0.0] * self.size
        for placed in self.families.values():
            family = placed.family
            counted = [
                row for row, lives in zip(rows, alive, strict=True) if lives or family.kind is not MetricKind.GAUGE
            ]
            first = next(iter(placed.places.values()))
            for place in range(first, first + len(placed.places) * family.width):
                total[place] = _merge([row[place] for row in counted], family.merge)
        return total


def _merge(values: Sequence[float], how: Merge) -> float:
    if how is Merge.SUM:
        return sum(values)
    return (max if how is Merge.MOST else min)(values, default=0.0)


def observe(values: list[float], place: int, buckets: Sequence[float], value: float) -> None:
    """Count a value into the histogram that begins at a place."""
    values[place + bisect_left(buckets, value)] += 1
    values[place + len(buckets) + 1] += value
