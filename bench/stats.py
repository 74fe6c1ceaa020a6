"""What statistics cost, and how fast they answer: `python -m bench.stats [--attempts N] [--destinations N]`

Attempts to many destinations over many days, most of them over a kept session, some by DANE, some held, go through the
observer that the server has, and into the database whenever the server would write (every 15 seconds of its time).
Prints what the observer takes per attempt, what writing takes, the size of the file, and the time of
`letterlock stats`, of the whole and of one destination, as a process of its own. Fails beyond 1 s for any of them.

`--message-us` is what the relay takes per message (`python -m bench.relay`): the share of it is printed then.
"""

import argparse
import asyncio
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.counting import microseconds, usual_case
from letterlock.identity.handshake import Completed
from letterlock.policy.codes import Code
from letterlock.policy.decision import Achieved, Demander, Level
from letterlock.policy.evidence import SessionEvidence, StartTls
from letterlock.policy.reasons import Reason
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.state.statistics_rows import DAY_SECONDS
from letterlock.state.statistics_store import STATISTICS_FILE, StatisticsStore
from letterlock.statistics.statistics_collector import STATISTICS_FLUSH_SECONDS, StatisticsCollector
from letterlock.statistics.statistics_options import StatisticsOptions

GOAL_SECONDS = 1.0
RUNS = 3  # of each command: the median counts
KEPT = StatisticsOptions().kept
GROUPS = ("X25519MLKEM768", "X25519", "secp256r1")
ZIPF = 1.1  # few destinations have most of the mail


class BenchClock:
    """A clock that is set."""

    at = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self.at

    def monotonic(self) -> float:
        """The same."""
        return self.at


def variants() -> list[Attempt]:
    """Attempts of every kind."""
    _, _, _, usual = usual_case()
    session, outcome = usual.sessions[0], usual.outcomes[0]
    found = []
    for number, group in enumerate(GROUPS):
        version, cipher = (
            ("TLSv1.3", "TLS_AES_256_GCM_SHA384") if number < 2 else ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
        )
        tls = Completed(version=version, cipher=cipher, group=group, sni=None, chain=())
        evidence = SessionEvidence(address="192.0.2.1", port=25, starttls=StartTls.OFFERED, handshake=tls)
        found.append(replace(usual, handshake=tls, sessions=(session._replace(evidence=evidence),)))
        dane = replace(session.requirement, demanders=frozenset({Demander.DANE}))
        proven = Achieved(level=Level.AUTHENTICATED, by="dane-ee")
        found.append(
            replace(found[-1], achieved=proven, sessions=(session._replace(evidence=evidence, requirement=dane),))
        )
    found.append(replace(usual, achieved=Achieved(level=Level.CLEAR)))
    held = replace(outcome, kind=OutcomeKind.DEFERRED, status="4.7.5")
    why = Reason(code=Code.RFC7672_3_2_DANE_MISMATCH, subject="mx.example.org")
    found.append(replace(usual, outcomes=(held,), achieved=None, reasons=(why,)))
    return found


def attempts(count: int, destinations: int, days: int, until: float) -> Iterator[Attempt]:
    """Attempts in the order of time, which end now."""
    chance = random.Random(17)  # noqa: S311  # seeded, so that a run can be repeated
    kinds = variants()
    names = [f"d{number}.example" for number in range(destinations)]
    weights = [1 / (rank + 1) ** ZIPF for rank in range(destinations)]
    began = until - days * DAY_SECONDS
    chosen = chance.choices(range(destinations), weights, k=count)
    for number, at in enumerate(chosen):
        kind = kinds[at % len(kinds)] if chance.random() < 0.9 else chance.choice(kinds)
        yield replace(kind, next_hop=names[at], ended_at=began + days * DAY_SECONDS * number / count)


async def fill(directory: Path, count: int, destinations: int, days: int) -> tuple[float, float]:
    """Everything through the observer; the seconds of CPU that observing and writing took."""
    clock = BenchClock()
    store = StatisticsStore.open(directory)
    collector = StatisticsCollector(store, clock, lambda: KEPT)
    _, _, task, _ = usual_case()
    writing, flush_at, began = 0.0, 0.0, time.process_time()
    for attempt in attempts(count, destinations, days, time.time()):
        if attempt.ended_at >= flush_at:
            start = time.process_time()
            clock.at = attempt.ended_at
            await collector.flush()
            writing += time.process_time() - start
            flush_at = attempt.ended_at + max(STATISTICS_FLUSH_SECONDS, days * DAY_SECONDS / MOST_FLUSHES)
        collector.attempted(task, attempt)
    await collector.flush()
    await store.close()
    return time.process_time() - began - writing, writing


MOST_FLUSHES = 2_000  # of a run: each waits for the disk, and a server that has so few attempts has time for them


def timed(arguments: list[str]) -> tuple[float, float]:
    """The median wall and CPU seconds of a command, start of the interpreter included. Raises CalledProcessError."""
    walls, cpus = [], []
    for _ in range(RUNS):
        began, before = time.perf_counter(), _children()
        subprocess.run([sys.executable, "-m", "letterlock", *arguments], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        cpus.append(_children() - before)
    return sorted(walls)[RUNS // 2], sorted(cpus)[RUNS // 2]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure and print; 1 beyond the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--destinations", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--message-us", type=float, help="what the relay takes per message, in microseconds")
    given = parser.parse_args()
    _, _, task, usual = usual_case()
    collector = StatisticsCollector(StatisticsStore.__new__(StatisticsStore), BenchClock(), lambda: KEPT)
    each = microseconds(lambda: collector.attempted(task, usual), 20_000)
    share = f", {100 * each / given.message_us:.2f} % of the relay" if given.message_us else ""
    print(f"observing an attempt        {each:8.2f} us{share}")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        _, writing = asyncio.run(fill(directory, given.attempts, given.destinations, given.days))
        size = (directory / STATISTICS_FILE).stat().st_size
        print(f"writing, per attempt        {1e6 * writing / given.attempts:8.2f} us of CPU ({writing:.1f} s in all)")
        print(f"the file                    {size / 1e6:8.1f} MB for {given.attempts:,} attempts")
        config = directory / "letterlock.toml"
        config.write_text(f'[queue]\ndirectory = "{directory}"\n')
        worst = 0.0
        for words in (
            [],
            ["--since", "2d"],
            ["--since", "60d"],
            ["--since", "400d"],
            ["d0.example"],
            ["--since", "60d", "--json"],
            ["--since", "60d", "--csv"],
        ):
            seconds, cpu = timed(["stats", "--config", str(config), *words])
            worst = max(worst, seconds)
            print(f"{'letterlock stats ' + ' '.join(words):<44} {seconds:6.2f} s ({cpu:.2f} s of CPU)")
    return 1 if worst > GOAL_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
