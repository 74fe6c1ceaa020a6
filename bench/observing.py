"""What metrics, logs, statistics and memory cost the relay: python -m bench.observing [--messages N]

Two runs of a relay differ by more than either costs, so one run is compared with itself: it takes and delivers mail,
and after each block of messages another set of observers looks on: all of them, or all but one kind. The CPU time of
neighbouring blocks is compared, and the median of many comparisons printed. What happens from time to time goes on in
every block; its cost is printed by itself (`bench.observing_aside`; `bench.counting` has what happens once a second).
"""

import argparse
import asyncio
import atexit
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.observing_aside import aside
from bench.relay import furnished
from bench.relay_box import INSIDE, run_inside
from bench.relay_peers import Letterlock, Room
from bench.relay_rounds import Part
from letterlock.app.logs import flush_log
from letterlock.cli.main import main as letterlock
from letterlock.deliver.log import DeliveryLog
from letterlock.deliver.memory_keeper import MemoryKeeper
from letterlock.mail.envelope import Envelope
from letterlock.metrics.counting import Counting
from letterlock.queue.observing import Arrival, Observer, Observers, Watcher
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.receive.receipt_log import ReceiptLog
from letterlock.statistics.statistics_collector import StatisticsCollector

WARM_BLOCKS = 16  # not counted
BLOCK = 250  # messages: some 75 ms, so that what else the machine does is the same for neighbours
LEFT_OUT = {"no counters": "metrics", "no log": "logs", "no statistics": "statistics", "no memory": "memory"}
KINDS: tuple[tuple[type[Watcher], str], ...] = (
    (Counting, "no counters"),
    (ReceiptLog, "no log"),
    (DeliveryLog, "no log"),
    (StatisticsCollector, "no statistics"),
    (MemoryKeeper, "no memory"),
)
CONFIDENT = 1.96  # standard errors: 95 %
ONLY = "LETTERLOCK_BENCH_ONLY"  # the environment variable with the one kind to leave out, if only one is measured
RESULT = "LETTERLOCK_BENCH_OBSERVING"  # the environment variable with the file of the result


@dataclass(frozen=True, slots=True)
class Observed(Letterlock):
    """The relay with changing observers."""

    def command(self, room: Room) -> list[str]:
        """The command that runs it in the foreground."""
        serve = Letterlock.command(self, room)[3:]
        config = Path(serve[-1])
        config.write_text(config.read_text().replace('workers = "auto"', "workers = 1"))
        return [sys.executable, "-m", "bench.observing", "--as-relay", *serve]


class Blocks:
    """Which observers look on now, and the CPU time of each block so far."""

    def __init__(self) -> None:
        self.found: list[tuple[str, float]] = []
        self._states = states(os.environ.get(ONLY, ""))
        self.state = self._states[0]
        self._count = 0
        self._began = 0.0

    def count(self) -> None:
        """One message more."""
        if self._count % BLOCK == 0:
            flush_log()  # so that each block pays for its own lines, and not for those of the last one
            if self._count:
                self.found.append((self.state, (time.process_time() - self._began) / BLOCK))
            self.state = self._states[self._count // BLOCK % len(self._states)]
            self._began = time.process_time()
        self._count += 1


class Changing(Watcher):
    """An observer that looks away in some blocks."""

    def __init__(self, observer: Observer, blocks: Blocks) -> None:
        self._observer = observer
        self._blocks = blocks
        self._away = next((state for kind, state in KINDS if isinstance(observer, kind)), "")

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """Pass it on, or not."""
        if self._blocks.state != self._away:
            self._observer.received(envelope, arrival)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """The same."""
        if self._blocks.state != self._away:
            self._observer.attempted(task, attempt)


class Pace(Watcher):
    """Counts messages into blocks."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    def received(self, _envelope: Envelope, _arrival: Arrival) -> None:
        """One more."""
        self._blocks.count()


def serve(arguments: list[str]) -> None:
    """Be the relay."""
    blocks, made = Blocks(), Observers.__init__

    def changed(self: Observers, observers: Sequence[Observer] = (), **more: Any) -> None:
        wrapped = [Changing(each, blocks) for each in observers]
        made(self, [Pace(blocks), *wrapped] if observers else (), **more)

    Observers.__init__ = changed  # type: ignore[method-assign]  # what is measured is made deep inside the server
    atexit.register(lambda: Path(os.environ[RESULT]).write_text(json.dumps(blocks.found)))
    letterlock(arguments)


def states(only: str) -> tuple[str, ...]:
    """Of the blocks, in turn: each without something is between two with everything, so that a drift cancels out."""
    return tuple(state for left_out in ([only] if only else LEFT_OUT) for state in ("all", left_out))


def compare(blocks: list[tuple[str, float]]) -> str:
    """What each costs: every block without it, compared with the blocks before and after, which have everything."""
    blocks = blocks[WARM_BLOCKS:]
    whole = statistics.median(each for state, each in blocks if state == "all")
    left_out = {state: what for state, what in LEFT_OUT.items() if any(state == each for each, _ in blocks)}
    count = len(blocks) // (2 * len(left_out))
    lines = [f"{count} blocks without each kind, {whole * 1e6:.0f} us of CPU per message with all observers"]
    for state, what in left_out.items():
        without = [at for at, (each, _) in enumerate(blocks[1:-1], 1) if each == state]
        costs = [(blocks[at - 1][1] + blocks[at + 1][1]) / 2 - blocks[at][1] for at in without]
        low, middle, high = statistics.quantiles(costs, n=4)
        error = 0.93 * (high - low) / len(costs) ** 0.5  # of a median, by the spread of the middle half
        share, either_way = 100 * middle / whole, 100 * CONFIDENT * error / whole
        between = f"between {share - either_way:.1f} and {share + either_way:.1f} %, 19 times of 20"
        lines.append(f"{what:10} {middle * 1e6:6.1f} us, {share:5.1f} %, {between}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print, or be the relay."""
    if sys.argv[1:2] == ["--as-relay"]:
        serve(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument(
        "--only", choices=LEFT_OUT.values(), help="measure one kind, in more blocks: a narrower interval"
    )
    given = parser.parse_args()
    messages = given.messages
    os.environ[ONLY] = next((state for state, what in LEFT_OUT.items() if what == given.only), "")
    if (room := os.environ.get(INSIDE)) is None:
        sys.exit(run_inside(sys.argv[1:], Path("/var/tmp"), "bench.observing"))  # noqa: S108  # a real disk
    result = os.environ[RESULT] = f"{room}/blocks"
    part = Part(name="clear", title="4 KB in cleartext", octets=4096, messages=messages)
    with furnished(Path(room), [Observed()]) as (bench, (relay,), _):
        bench.relay(part, relay)
    print(compare(json.loads(Path(result).read_text())))
    print("\n".join(asyncio.run(aside(Path(room)))))


if __name__ == "__main__":
    main()
