"""What metrics, logs, statistics and memory cost the relay: python -m bench.observing [--messages N] [--only KIND]

Two runs of a relay differ by more than any of them costs, so one run is compared with itself: it takes and delivers
mail, and in each block of messages another set of observers looks on. Blocks come in pairs, one with all observers and
one without a kind, neighbours in time, in an order that chance decides: a fixed order falls into step with the rounds
of the source. Compared is the CPU time of the event loop's thread (the observers and the cycle collector run in it) for
each message received and delivered: a block receives as many as every other, but delivers some that came before it.
A block writes its own lines, and pays for that.

Printed is the mean difference of the pairs without the tenth at each end, and the interval that holds the true one
19 times of 20. What happens from time to time goes on in every block; its cost is printed by itself
(`bench.observing_aside`; `bench.counting` has what happens once a second).
"""

import argparse
import asyncio
import atexit
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

from bench.observing_aside import aside
from bench.relay import furnished
from bench.relay_box import INSIDE, run_inside
from bench.relay_peers import Letterlock, Room
from bench.relay_rounds import Part
from letterlock.app import server
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

WARM_PAIRS = 10  # not counted
BLOCK = 200  # messages, ten rounds of the source's 20 sessions: less than is logged between two writes of the log
METRICS, LOGS, STATISTICS, MEMORY, BOTH = "metrics", "logs", "statistics", "memory", "logs and metrics"
KINDS: tuple[tuple[type[Watcher], str], ...] = (
    (Counting, METRICS),
    (ReceiptLog, LOGS),
    (DeliveryLog, LOGS),
    (StatisticsCollector, STATISTICS),
    (MemoryKeeper, MEMORY),
)
AWAY = {METRICS: {METRICS}, LOGS: {LOGS}, STATISTICS: {STATISTICS}, MEMORY: {MEMORY}, BOTH: {LOGS, METRICS}}
ALL = "all"  # look on
SEED = 1  # of the order of blocks
TRIMMED = 10  # the tenth of the pairs at each end says what else the machine did
CONFIDENT = 1.96  # standard errors: 95 %
ONLY = "LETTERLOCK_BENCH_ONLY"  # the environment variable with the one kind to leave out, if only one is measured
RESULT = "LETTERLOCK_BENCH_OBSERVING"  # the environment variable with the file of the result

Block = tuple[str, float]
"""What looked away, or ALL; seconds of CPU per message."""
Pair = tuple[Block, Block]


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
        self.found: list[Block] = []
        self.attempted = 0
        self._states = states(os.environ.get(ONLY, ""))
        self._received = 0
        self._begin()

    def _begin(self) -> None:
        self._state = next(self._states)
        self.away = AWAY.get(self._state, set())
        self.attempted = 0
        self._began = time.thread_time()

    def count(self) -> None:
        """One message more was received."""
        if self._received == BLOCK:
            flush_log()  # so that each block pays for its own lines, and not for those of the last one
            work = (BLOCK + self.attempted) / 2
            self.found.append((self._state, (time.thread_time() - self._began) / work))
            self._received = 0
            self._begin()
        self._received += 1


class Changing(Watcher):
    """An observer that looks away in some blocks."""

    def __init__(self, observer: Observer, blocks: Blocks) -> None:
        self._observer = observer
        self._blocks = blocks
        self._kind = next((kind for observing, kind in KINDS if isinstance(observer, observing)), "")

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """Pass it on, or not."""
        if self._kind not in self._blocks.away:
            self._observer.received(envelope, arrival)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """The same."""
        if self._kind not in self._blocks.away:
            self._observer.attempted(task, attempt)


class Counted(Observers):
    """The observers of the relay, which count messages into blocks when they happen, not when they are shown."""

    blocks: ClassVar[Blocks]

    def __init__(self, observers: Sequence[Observer] = (), **more: Any) -> None:
        super().__init__([Changing(each, self.blocks) for each in observers], **more)

    def received(self, envelope: Envelope, arrival: Arrival) -> None:
        """Count one more, and show it."""
        self.blocks.count()
        super().received(envelope, arrival)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        """The same."""
        self.blocks.attempted += 1
        super().attempted(task, attempt)


def serve(arguments: list[str]) -> None:
    """Be the relay."""
    blocks = Counted.blocks = Blocks()
    setattr(server, "Observers", Counted)  # noqa: B010  # what is measured is made deep inside the server
    atexit.register(lambda: Path(os.environ[RESULT]).write_text(json.dumps(blocks.found)))
    letterlock(arguments)


def states(only: str) -> Iterator[str]:
    """Of the blocks, without end: of each kind in turn a pair with everything and without the kind, in any order."""
    chance = random.Random(SEED)  # noqa: S311  # nothing secret
    for left_out in cycle([only] if only else AWAY):
        yield from chance.sample([ALL, left_out], 2)


def pairs_of(blocks: Sequence[Block]) -> list[Pair]:
    """The pairs of one relay; in each, the block with everything stands first."""
    pairs = zip(blocks[::2], blocks[1::2], strict=False)  # the last block may be alone
    return [(one, other) if one[0] == ALL else (other, one) for one, other in pairs][WARM_PAIRS:]


def compare(pairs: Sequence[Pair]) -> str:
    """What each kind costs: what the blocks of its pairs differ by."""
    whole = statistics.median(with_all for (_, with_all), _ in pairs)
    lines = [f"{whole * 1e6:.0f} us of CPU per message with all observers"]
    for kind in AWAY:
        costs = sorted(with_all - without for (_, with_all), (left_out, without) in pairs if left_out == kind)
        if costs:
            lines.append(cost(kind, costs, whole))
    return "\n".join(lines)


def cost(kind: str, costs: list[float], whole: float) -> str:
    """The line about a kind, from the differences of its pairs in ascending order."""
    count, cut = len(costs), len(costs) // TRIMMED
    middle = statistics.fmean(costs[cut : count - cut])
    drawn_in = [min(max(each, costs[cut]), costs[-1 - cut]) for each in costs]
    error = statistics.stdev(drawn_in) / (1 - 2 * cut / count) / count**0.5  # of a trimmed mean (Tukey, McLaughlin)
    share, either_way = 100 * middle / whole, 100 * CONFIDENT * error / whole
    between = f"between {share - either_way:.1f} and {share + either_way:.1f} %, 19 times of 20"
    return f"{kind:16} {middle * 1e6:6.1f} us, {share:5.1f} %, {between}, {count} pairs"


def main() -> None:
    """Measure and print, or be the relay."""
    if sys.argv[1:2] == ["--as-relay"]:
        serve(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000, help="of each round")
    parser.add_argument("--rounds", type=int, default=2, help="relays, one after the other; each is a minute at most")
    parser.add_argument("--only", choices=AWAY, help="measure one kind, in more blocks: a narrower interval")
    given = parser.parse_args()
    os.environ[ONLY] = given.only or ""
    if (room := os.environ.get(INSIDE)) is None:
        sys.exit(run_inside(sys.argv[1:], Path("/var/tmp"), "bench.observing"))  # noqa: S108  # a real disk
    part = Part(name="clear", title="4 KB in cleartext", octets=4096, messages=given.messages)
    result = os.environ[RESULT] = f"{room}/blocks"
    pairs: list[Pair] = []
    with furnished(Path(room), [Observed()]) as (bench, (relay,), _):
        for _ in range(given.rounds):
            bench.relay(part, relay)
            pairs += pairs_of(json.loads(Path(result).read_text()))
    print(compare(pairs))
    print("\n".join(asyncio.run(aside(Path(room)))))


if __name__ == "__main__":
    main()
