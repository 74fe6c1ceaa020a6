"""Metrics as text: Prometheus' format 0.0.4, and OpenMetrics 1.0 for clients that ask for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from letterlock.metrics.family import Family, Layout, MetricKind

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_TOTAL = "_total"


@dataclass(frozen=True, slots=True)
class Fact:
    """A gauge that is found out when it is asked for; `series` are labels, by name, and the value."""

    name: str
    text: str
    series: tuple[tuple[Mapping[str, str], float], ...]


def exposition(layout: Layout, values: Sequence[float], facts: Iterable[Fact], *, openmetrics: bool = False) -> str:
    """All families that are not hidden, in the order of their declaration, and then the facts."""
    lines: list[str] = []
    for placed in layout.families.values():
        family = placed.family
        if family.hidden:
            continue
        lines += _heading(family.name, family.kind, family.text, openmetrics=openmetrics)
        names = [name for name, _ in family.labels]
        for labels, place in placed.places.items():
            lines += _series(family, dict(zip(names, labels, strict=True)), values, place)
    for fact in facts:
        lines += _heading(fact.name, MetricKind.GAUGE, fact.text, openmetrics=openmetrics)
        lines += [_line(fact.name, labels, value) for labels, value in fact.series]
    return "\n".join([*lines, "# EOF"] if openmetrics else lines) + "\n"


def _heading(name: str, kind: MetricKind, text: str, *, openmetrics: bool) -> tuple[str, str]:
    """OpenMetrics has the name of a counter without `_total`, which its samples have."""
    about = name.removesuffix(_TOTAL) if openmetrics and kind is MetricKind.COUNTER else name
    return f"# HELP {about} {_escaped(text)}", f"# TYPE {about} {kind}"


def _series(family: Family, labels: Mapping[str, str], values: Sequence[float], place: int) -> Iterator[str]:
    if family.kind is not MetricKind.HISTOGRAM:
        yield _line(family.name, labels, values[place])
        return
    count = 0.0
    for number, bound in enumerate((*family.buckets, float("inf"))):
        count += values[place + number]
        yield _line(f"{family.name}_bucket", {**labels, "le": _number(bound)}, count)
    yield _line(f"{family.name}_sum", labels, values[place + len(family.buckets) + 1])
    yield _line(f"{family.name}_count", labels, count)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text, quotes=True)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
