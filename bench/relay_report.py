"""The results of `bench.relay`: medians and spreads, the machine they are of, and a table for people."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.relay_box import filesystem_of, fsync_milliseconds
from bench.relay_rounds import Outcome, Part

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured, and when."""

    date: str
    cpu: str
    cpus: int
    memory_gigabytes: float
    kernel: str
    disk: str
    fsync_milliseconds: float


@dataclass(slots=True)
class Report:
    """Everything that was measured in one run."""

    parts: list[Part]
    peers: dict[str, str]  # name -> version
    outcomes: list[Outcome] = field(default_factory=list)
    direct: list[Outcome] = field(default_factory=list)  # with nobody between source and sink
    troubles: list[str] = field(default_factory=list)  # rounds that failed, and why
    rounds: int = 0
    machine: Machine | None = None

    def rounds_of(self, part: Part, peer: str) -> list[Outcome]:
        """What a peer did in a part."""
        return [outcome for outcome in self.outcomes if (outcome.part, outcome.peer) == (part.name, peer)]

    def direct_of(self, part: Part) -> Outcome | None:
        """What source and sink can do by themselves."""
        return next((outcome for outcome in self.direct if outcome.part == part.name), None)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of some rounds."""

    median: float
    least: float
    most: float

    def text(self, form: str) -> str:
        """As `median (least..most)`."""
        return f"{self.median:{form}} ({self.least:{form}}..{self.most:{form}})"


def spread(outcomes: Sequence[Outcome], value: Callable[[Outcome], float]) -> Spread:
    """Of one figure, over the rounds."""
    values = [value(outcome) for outcome in outcomes]
    return Spread(statistics.median(values), min(values), max(values))


def percentile(percent: int) -> Callable[[Outcome], float]:
    """The latency that so many per cent of a round's messages did not exceed, in milliseconds."""
    return lambda outcome: outcome.latencies[(len(outcome.latencies) - 1) * percent // 100] * 1000


def cpu_per_thousand(outcome: Outcome) -> float:
    """CPU seconds for 1,000 messages."""
    return outcome.cpu_seconds * 1000 / outcome.delivered


def flushes_per_thousand(outcome: Outcome) -> float:
    """Disk flushes for 1,000 messages."""
    return outcome.flushes * 1000 / outcome.delivered


def megabytes(outcome: Outcome) -> float:
    """Peak memory."""
    return outcome.peak_octets / MEGABYTE


def rows(report: Report, part: Part) -> tuple[list[str], list[list[str]]]:
    """Heading and cells of a part's table."""
    speed = ["p50 ms", "p99 ms"] if part.messages_per_second else ["messages/s", "times Postfix", "accepted/s"]
    heading = ["", *speed, "CPU s per 1,000", "peak MB", "flushes per 1,000", "sink busy"]
    cells = []
    for peer in report.peers:
        outcomes = [outcome for outcome in report.rounds_of(part, peer) if outcome.delivered]
        if not outcomes:
            cells.append([peer, "-", *[""] * (len(heading) - 2)])
            continue
        figures = _latency(outcomes) if part.messages_per_second else _speed(report, part, outcomes)
        costs = [
            f"{spread(outcomes, cpu_per_thousand).median:.2f}",
            f"{spread(outcomes, megabytes).most:.0f}",
            f"{spread(outcomes, flushes_per_thousand).median:.0f}",
            f"{spread(outcomes, lambda outcome: outcome.sink_busy).most:.0%}",
        ]
        cells.append([peer, *figures, *costs])
    return heading, cells


def _latency(outcomes: Sequence[Outcome]) -> list[str]:
    measured = [outcome for outcome in outcomes if outcome.latencies]
    return [spread(measured, percentile(percent)).text(".1f") for percent in (50, 99)] if measured else ["-", "-"]


def _speed(report: Report, part: Part, outcomes: Sequence[Outcome]) -> list[str]:
    rate = spread(outcomes, lambda outcome: outcome.rate)
    accepted = spread(outcomes, lambda outcome: outcome.messages / outcome.accept_seconds)
    base = [outcome for outcome in report.rounds_of(part, "Postfix") if outcome.delivered]
    ratio = f"{rate.median / spread(base, lambda outcome: outcome.rate).median:.1f}" if base else "-"
    return [rate.text(".0f"), ratio, f"{accepted.median:.0f}"]


def shortfalls(report: Report) -> list[str]:
    """Rounds that failed, or in which not every message came in time."""
    return report.troubles + [
        f"{outcome.peer}, {outcome.part}: only {outcome.delivered} of {outcome.messages} messages came in time"
        for outcome in report.outcomes
        if outcome.delivered < outcome.messages
    ]


def table(report: Report) -> str:
    """All of it in plain text."""
    lines = []
    for part in report.parts:
        heading, cells = rows(report, part)
        widths = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
        direct = report.direct_of(part)
        alone = f"; source and sink alone: {direct.rate:.0f} messages/s" if direct else ""
        lines.append(f"\n{part.title}, {part.messages} messages, {report.rounds} rounds: median (least..most){alone}")
        for row in [heading, *cells]:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(line.rstrip())
    return "\n".join([*lines, *shortfalls(report)])


def describe_machine(directory: Path) -> Machine:
    """Where we are; a directory on the disk that is measured."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    kind, device = filesystem_of(directory)
    return Machine(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        cpu=models[0].partition(":")[2].strip() if models else platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        memory_gigabytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        kernel=platform.release(),
        disk=f"{kind} on {device}",
        fsync_milliseconds=fsync_milliseconds(directory),
    )
