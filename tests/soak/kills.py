"""Kill the server again and again while mail comes in, and count: nothing answered 250 may be lost.

    python -m tests.soak.kills --kills 100 --connections 20 --seed 1

Twenty connections send without end; SIGKILL hits `letterlock serve` at random moments, during start-up too; it is
started again on the same queue. At the end every message that was answered 250 must have arrived, unchanged. A message
may arrive twice (the kill came between the receiver's 250 and our note of it): such duplicates are counted. With
`--workers` the server has several processes, and one of them is hit.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.interop.letterlock import write_config
from tests.interop.nameservers import Place
from tests.interop.programs import find, greets, loopback_prefix
from tests.soak.senders import Ledger, Sender
from tests.soak.sink import Sink

START_SECONDS = 30.0
DRAIN_SECONDS = 120.0
MAX_BACKLOG = 1000
WORKER_SHARE = 0.8  # of the kills, where there are workers: the rest hits their supervisor
CONFIG = """\
hostname = "soak.test"
workers = @WORKERS@
[smtp]
listen = ["@LISTEN@"]
[queue]
directory = "@QUEUE@"
retry_first_seconds = 1
retry_max_seconds = 2
[resolver]
upstream = ["127.0.0.1:9"]
[delivery]
port = @PORT@
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run showed. `lost` and `damaged` must be empty, and so must `surprises`."""

    kills: int
    begun: int
    accepted: int
    arrived: int
    duplicates: int
    lost: tuple[str, ...]
    damaged: tuple[str, ...]
    surprises: tuple[str, ...]
    tracebacks: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the server kept its word."""
        return not (self.lost or self.damaged or self.surprises or self.tracebacks) and self.accepted > 0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.begun} messages begun, {self.accepted} answered 250, "
            f"{self.arrived} arrived, {self.duplicates} duplicates, {len(self.lost)} lost, "
            f"{len(self.damaged)} damaged, {self.tracebacks} tracebacks, {self.seconds:.0f} s"
        )


class Victim:
    """The server that is killed: starts on the same queue every time. With workers, one of its processes is killed."""

    def __init__(self, directory: Path, place: Place, sink_port: int, workers: int) -> None:
        self._place = place
        self._workers = workers
        self.log = directory / "letterlock.log"
        config = write_config(
            directory, place, CONFIG.replace("@PORT@", str(sink_port)).replace("@WORKERS@", str(workers))
        )
        serve = [sys.executable, "-m", "letterlock", "serve", "--config", str(config)]
        self._command = [find("setpriv"), "--pdeathsig", "KILL", *serve]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def await_ready(self) -> None:
        """Wait until it greets. Raises AssertionError when it does not come up."""
        deadline = time.monotonic() + START_SECONDS
        while not greets(self._place.address, self._place.port):
            up = self._process.poll() is None and time.monotonic() < deadline
            assert up, f"the server did not come up:\n{self.text()[-4000:]}"
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, now."""
        self._process.kill()
        self._process.wait()

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL for one process, now; what the supervisor does not start again is started here.

        A supervisor is waited for until its workers have ended by themselves, for they hold the queue until then.
        """
        workers = self._children()
        if workers and chance.random() < WORKER_SHARE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
            return
        self.kill()
        deadline = time.monotonic() + START_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline, f"workers outlive their supervisor:\n{self.text()[-4000:]}"
            time.sleep(0.02)
        self.restart()

    def _children(self) -> list[int]:
        if self._workers == 1:
            return []
        with contextlib.suppress(FileNotFoundError):
            pid = self._process.pid
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def restart(self) -> None:
        """Start again on the same queue."""
        self._process = self._start()

    def text(self) -> str:
        """What all its lives logged."""
        return self.log.read_text(errors="replace")


def soak(
    directory: Path, *, kills: int, connections: int, seed: int, pause_seconds: float, workers: int = 1
) -> Outcome:
    """One run. Raises AssertionError when the server does not come up again."""
    started = time.monotonic()
    chance = random.Random(seed)
    prefix = loopback_prefix()
    place = Place.free(f"{prefix}.1")
    ledger = Ledger()
    with Sink(f"{prefix}.2") as sink:
        recipient = f"box@[{prefix}.2]"
        victim = Victim(directory, place, sink.port, workers)
        senders = [Sender(n, place, recipient, ledger, seed, pause_seconds) for n in range(connections)]
        try:
            for sender in senders:
                sender.start()
            _kill_often(victim, chance, kills, senders, ledger, sink)
            _finish(senders)
            _drain(sink, ledger)
        finally:
            _finish(senders)
            victim.kill()
    return Outcome(
        kills=kills,
        begun=ledger.begun,
        accepted=len(ledger.accepted),
        arrived=len(sink.arrived),
        duplicates=sink.arrived.total() - len(sink.arrived),
        lost=tuple(sorted(ledger.accepted - sink.arrived.keys())),
        damaged=tuple(sink.damaged),
        surprises=tuple(ledger.surprises),
        tracebacks=victim.text().count("Traceback"),
        seconds=time.monotonic() - started,
    )


def _kill_often(
    victim: Victim, chance: random.Random, kills: int, senders: list[Sender], ledger: Ledger, sink: Sink
) -> None:
    for _ in range(kills):
        if chance.random() < 0.8:
            victim.await_ready()
        time.sleep(chance.uniform(0.0, 0.8))
        victim.kill_one(chance)
        _throttle(senders, len(ledger.accepted) - len(sink.arrived))
    victim.await_ready()


def _throttle(senders: list[Sender], backlog: int) -> None:
    """Hold the senders back while the queue is long, so that the end of the run is not all waiting."""
    for sender in senders:
        if backlog > MAX_BACKLOG:
            sender.hold.set()
        else:
            sender.hold.clear()


def _finish(senders: list[Sender]) -> None:
    for sender in senders:
        sender.stop()
    for sender in senders:
        if sender.is_alive():
            sender.join(START_SECONDS)


def _drain(sink: Sink, ledger: Ledger) -> None:
    """Wait until all is there, or nothing has come for a while."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while ledger.accepted - sink.arrived.keys() and time.monotonic() < deadline:
        time.sleep(0.1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.kills", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how often to kill (default 100)")
    parser.add_argument("--connections", type=int, default=20, help="senders at once (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed kills after the same waits")
    parser.add_argument("--pause", type=float, default=0.05, help="mean pause of a sender between messages, in seconds")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server (default 1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="letterlock-soak-") as directory:
        outcome = soak(
            Path(directory),
            kills=given.kills,
            connections=given.connections,
            seed=given.seed,
            pause_seconds=given.pause,
            workers=given.workers,
        )
    sys.stdout.write(f"{outcome}\n")
    for problem in (*outcome.lost, *outcome.damaged, *outcome.surprises):
        sys.stderr.write(f"{problem}\n")
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
