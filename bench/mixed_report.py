"""The tables of `bench.relay --part mixed` and `--part isolation`."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.mixed_rounds import MixedOutcome, MixedPart
from bench.relay_report import Spread
from letterlock.config.capacity import PER_HOST

BASE = "Postfix 1000"
OURS = "Letterlock"
CALM, TROUBLED = "calm", "troubled"
GOAL = 0.1  # by so much the p99 of the others may grow when some destinations are in trouble
HEADING = (
    "",
    "until 90 %, /s",
    "until all, /s",
    "CPU s per 1,000",
    "resolver CPU s",
    "receivers' CPU s",
    "connections",
    "handshakes",
    "most at one host",
    "p50 s",
    "p90 s",
    "p99 s",
    "longest at slow hosts s",
    "accepted after s",
    "peak MB",
)


@dataclass(slots=True)
class MixedReport:
    """Everything that was measured of mixed mail in one run."""

    parts: list[MixedPart]
    outcomes: list[MixedOutcome] = field(default_factory=list)

    def rounds_of(self, part: MixedPart, peer: str) -> list[MixedOutcome]:
        """What a peer did in a part."""
        return [outcome for outcome in self.outcomes if (outcome.part, outcome.peer) == (part.name, peer)]

    def peers_of(self, part: MixedPart) -> list[str]:
        """Who took part."""
        return list(dict.fromkeys(outcome.peer for outcome in self.outcomes if outcome.part == part.name))


def per_thousand(value: Callable[[MixedOutcome], float]) -> Callable[[MixedOutcome], float]:
    """A cost for 1,000 deliveries."""
    return lambda outcome: value(outcome) * 1000 / max(1, outcome.delivered)


def percentile(percent: int) -> Callable[[MixedOutcome], float]:
    """The time that so many per cent of the deliveries to fast hosts did not exceed, in seconds."""

    def value(outcome: MixedOutcome) -> float:
        found = outcome.latencies
        return found[(len(found) - 1) * percent // 100] if found else float("nan")

    return value


def spread(outcomes: Sequence[MixedOutcome], value: Callable[[MixedOutcome], float]) -> Spread:
    """Of one figure, over the rounds."""
    values = [value(outcome) for outcome in outcomes]
    return Spread(statistics.median(values), min(values), max(values))


def mixed_rows(report: MixedReport, part: MixedPart) -> list[list[str]]:
    """Heading and cells of a part's table."""
    return [list(HEADING), *(_row(peer, report.rounds_of(part, peer)) for peer in report.peers_of(part))]


def _row(peer: str, outcomes: Sequence[MixedOutcome]) -> list[str]:
    def median(value: Callable[[MixedOutcome], float], form: str) -> str:
        return f"{spread(outcomes, value).median:{form}}"

    return [
        peer,
        spread(outcomes, lambda outcome: outcome.rate_to_90).text(",.0f"),
        spread(outcomes, lambda outcome: outcome.rate_to_all).text(",.0f"),
        spread(outcomes, per_thousand(lambda outcome: outcome.cpu_seconds)).text(".2f"),
        median(per_thousand(lambda outcome: outcome.dns_cpu_seconds), ".2f"),
        median(per_thousand(lambda outcome: outcome.sink_cpu_seconds), ".2f"),
        median(lambda outcome: outcome.connections, ",.0f"),
        median(lambda outcome: outcome.handshakes, ",.0f"),
        f"{max(outcome.most_at_one_host for outcome in outcomes)}",
        *(median(percentile(percent), ".2f") for percent in (50, 90, 99)),
        _if_any(outcomes, lambda outcome: outcome.slowest),
        _if_any(outcomes, lambda outcome: outcome.seconds_to_accepted),
        median(lambda outcome: outcome.peak_octets / 1e6, ".0f"),
    ]


def _if_any(outcomes: Sequence[MixedOutcome], value: Callable[[MixedOutcome], float | None]) -> str:
    """The median over the rounds in which there is such a figure."""
    values = [found for outcome in outcomes if (found := value(outcome)) is not None]
    return f"{statistics.median(values):.2f}" if values else "-"


def comparison(report: MixedReport, part: MixedPart) -> str:
    """Ours compared with Postfix at its best, as a sentence; empty where one of them is not there."""
    ours, base = report.rounds_of(part, OURS), report.rounds_of(part, BASE)
    if not ours or not base:
        return ""

    def ratio(value: Callable[[MixedOutcome], float]) -> str:
        below = spread(base, value).median
        return f"{spread(ours, value).median / below:.2f}" if below else "-"

    return (
        f"{OURS} compared with {BASE}: {ratio(lambda outcome: outcome.rate_to_90)} times the rate until 90 %, "
        f"{ratio(lambda outcome: outcome.rate_to_all)} times until all, "
        f"{ratio(per_thousand(lambda outcome: outcome.cpu_seconds))} of the CPU time, "
        f"{ratio(lambda outcome: outcome.peak_octets)} of the memory."
    )


def growth(report: MixedReport) -> float | None:
    """By what share the p99 of the fast hosts grows when others are in trouble; None where that was not measured."""
    by_name = {part.name: report.rounds_of(part, OURS) for part in report.parts}
    if not by_name.get(CALM) or not by_name.get(TROUBLED):
        return None
    calm, troubled = (spread(by_name[name], percentile(99)).median for name in (CALM, TROUBLED))
    return troubled / calm - 1


def mixed_table(report: MixedReport) -> str:
    """All of it in plain text."""
    lines = []
    for part in report.parts:
        cells = mixed_rows(report, part)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines.append(f"\n{part.title}, {part.messages} messages: median (least..most)")
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        lines += [text for text in (comparison(report, part),) if text]
    if (grows := growth(report)) is not None:
        lines.append(f"\nthe p99 of the fast hosts grows by {grows:+.0%} beside slow, dead and tarpitting ones")
    return "\n".join([*lines, *mixed_shortfalls(report)])


def mixed_shortfalls(report: MixedReport) -> list[str]:
    """Rounds in which not everything came in time, and such in which a host had more of our connections than it may."""
    late = [
        f"{outcome.peer}, {outcome.part}: only {outcome.delivered} of {outcome.wanted} deliveries came in time"
        for outcome in report.outcomes
        if outcome.delivered < outcome.wanted
    ]
    return [*late, *crowded(report)]


def crowded(report: MixedReport) -> list[str]:
    """Rounds in which a receiver saw more connections of ours at once than the default of max_connections_per_host."""
    return [
        f"{outcome.peer}, {outcome.part}: {outcome.most_at_one_host} connections at one host, {PER_HOST} are allowed"
        for outcome in report.outcomes
        if outcome.peer == OURS and outcome.most_at_one_host > PER_HOST
    ]
