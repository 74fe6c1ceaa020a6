"""Mail for one server beside a queue full of mail for another that is down: `python -m bench.starving [--messages N]`.

A queue is filled with messages for destinations that refuse connections, or that never answer (a listener whose backlog
is full). The server starts on it, and at once takes mail at a fixed rate for a destination that is up. Measured is the
time from `250` to delivery, with and without the dead weight, in turn. The goal: the 99th percentile does not grow by
more than a tenth. Needs no root; everything is on 127.0.0.0/8. The table goes to standard output, progress to standard
error.
"""

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.relay_meter import Meter
from bench.relay_peers import end, wait_until_listening
from bench.relay_rounds import POLL_SECONDS, Part, Source
from bench.relay_stamps import DELIVERED, StampReader
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.store.sqlite.sqlite_store import SqliteStore

SINK_ADDRESS = "127.77.0.2"
MODES = ("alone", "refused", "silent")
GOAL = 0.1
GROUP = 500
OCTETS = 4096
LIMIT_SECONDS = 60.0
BODY = b"Subject: waiting\r\n\r\n" + (b"x" * 76 + b"\r\n") * (OCTETS // 78)
CONFIG = """
hostname = "starving.test"
[smtp]
listen = ["127.0.0.1:{port}"]
[queue]
directory = "{directory}"
[resolver]
upstream = ["127.0.0.1:9"]
[route."sink.test"]
next_hop = "[{sink}]"
port = {sink_port}
[route."*"]
next_hop = "relay.invalid"
"""
DEAD_ROUTE = """
[route."dead{number}.test"]
next_hop = "[{address}]"
port = {port}
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for."""

    messages: int
    destinations: int
    places: int
    rate: float
    seconds: float
    rounds: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round. Latencies in seconds, ascending."""

    mode: str
    latencies: list[float]
    sent: int
    peak_octets: int
    cpu_seconds: float

    def percentile(self, percent: int) -> float:
        """In milliseconds."""
        if not self.latencies:
            return float("nan")
        return self.latencies[min(len(self.latencies) - 1, len(self.latencies) * percent // 100)] * 1000


def dead_address(place: int) -> str:
    """Where nobody is."""
    return f"127.77.{1 + place // 250}.{1 + place % 250}"


async def fill(directory: Path, messages: int, destinations: int) -> None:
    """A queue whose messages are all due, at their next hops in turn."""
    store = await SqliteStore.open(directory)
    now = time.time()
    try:
        for start in range(0, messages, GROUP):
            numbers = range(start, min(start + GROUP, messages))
            await asyncio.gather(*(_accept(store, number, destinations, now) for number in numbers))
    finally:
        await store.close()


async def _accept(store: SqliteStore, number: int, destinations: int, now: float) -> None:
    envelope = Envelope(
        id=f"DEAD{number:07d}",
        reverse_path=Mailbox("ann", "source.test"),
        recipients=(Mailbox("bob", f"dead{number % destinations}.test"),),
        size=len(BODY),
        accepted_at=now,
        expires_at=now + 5 * 86400,
    )
    await store.accept(envelope, BODY, next_attempt_at=now + number / 1e6)


@contextmanager
def sink() -> Iterator[tuple[StampReader, int]]:
    """A receiver that is up, with its port."""
    port = _free_port(SINK_ADDRESS)
    command = [sys.executable, "-m", "bench.relay_sink", SINK_ADDRESS, str(port), "--processes=1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        if process.stdout is None or not wait_until_listening(process, SINK_ADDRESS, port, seconds=10):
            raise OSError("no receiver")
        yield StampReader(process.stdout.fileno()), port
    finally:
        end(process)


@contextmanager
def dead_end(mode: str, places: int) -> Iterator[int]:
    """A port, of so many addresses, that refuses, or one whose backlog is full, so that the kernel answers no SYN."""
    with ExitStack() as stack:
        port = 0
        for number in range(places):
            listener = stack.enter_context(socket.socket())
            listener.bind((dead_address(number), port))
            port = listener.getsockname()[1]
            if mode == "silent":
                listener.listen(0)
                for _ in range(4):
                    knocker = stack.enter_context(socket.socket())
                    knocker.setblocking(False)
                    knocker.connect_ex((dead_address(number), port))
        time.sleep(0.2)
        yield port


@contextmanager
def server(directory: Path, config: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Letterlock, as an operator starts it."""
    path = directory / "letterlock.toml"
    path.write_text(config)
    command = [sys.executable, "-m", "letterlock", "serve", "--config", str(path)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, start_new_session=True)
        try:
            if not wait_until_listening(process, "127.0.0.1", port, seconds=30):
                raise OSError("the server does not start: " + (directory / "log").read_text()[-1000:])
            yield process
        finally:
            end(process)


def measure(mode: str, choice: Choice, queue: Path) -> Outcome:
    """One round, on a copy of the queue."""
    with tempfile.TemporaryDirectory(dir=choice.directory) as name, ExitStack() as stack:
        directory = Path(name)
        if mode == "alone":
            (directory / "queue").mkdir()
        else:
            shutil.copytree(queue, directory / "queue")
        os.sync()  # that the copy goes to the disk now, and not while it is measured
        reader, sink_port = stack.enter_context(sink())
        dead_port = stack.enter_context(dead_end(mode, choice.places))
        port = _free_port("127.0.0.1")
        config = CONFIG.format(port=port, directory=directory / "queue", sink=SINK_ADDRESS, sink_port=sink_port)
        for number in range(choice.destinations):
            config += DEAD_ROUTE.format(number=number, address=dead_address(number % choice.places), port=dead_port)
        process = stack.enter_context(server(directory, config, port))
        messages = round(choice.rate * choice.seconds)
        part = Part(name=mode, title=mode, octets=OCTETS, messages=messages, messages_per_second=choice.rate)
        with Meter(process.pid, directory) as meter:
            latencies = _send(part, port, reader)
        return Outcome(mode, latencies, messages, meter.peak_octets, meter.cpu_seconds)


def _send(part: Part, port: int, reader: StampReader) -> list[float]:
    source, delivered = Source(part, "127.0.0.1", port, part.messages), dict[int, float]()
    until = time.monotonic() + part.messages / part.messages_per_second + LIMIT_SECONDS
    try:
        while (len(delivered) + source.failed < part.messages or source.ended_at is None) and time.monotonic() < until:
            source.poll()
            delivered |= {stamp.number: stamp.at for stamp in reader.read() if stamp.kind == DELIVERED}
            time.sleep(POLL_SECONDS)
    finally:
        end(source.process)
    return sorted(delivered[number] - at for number, at in source.accepted.items() if number in delivered)


def _free_port(address: str) -> int:
    with socket.socket() as trial:
        trial.bind((address, 0))
        port: int = trial.getsockname()[1]
        return port


def table(outcomes: Sequence[Outcome]) -> str:
    """Medians of the rounds, and the best round, which tells most on a machine that others use too."""
    heads = f"{'p50 ms':>8} {'p99 ms':>8} {'grows':>7} {'best p99':>9} {'grows':>7} {'peak MB':>8} {'CPU s':>7}"
    lines = [f"{'beside it':10} {heads}"]
    for mode in dict.fromkeys(each.mode for each in outcomes):
        rounds = [each for each in outcomes if each.mode == mode]
        lost = sum(each.sent - len(each.latencies) for each in rounds)
        row = (
            f"{mode:10} {median(each.percentile(50) for each in rounds):8.2f}"
            f" {_p99(outcomes, mode, median):8.2f} {_growth(outcomes, mode, median):+7.0%}"
            f" {_p99(outcomes, mode, min):9.2f} {_growth(outcomes, mode, min):+7.0%}"
            f" {max(each.peak_octets for each in rounds) / 1e6:8.0f}"
            f" {median(each.cpu_seconds for each in rounds):7.1f}"
        )
        lines.append(row + (f"  {lost} NOT DELIVERED" if lost else ""))
    return "\n".join(lines)


def _p99(outcomes: Sequence[Outcome], mode: str, of: Callable[[list[float]], float]) -> float:
    return of([each.percentile(99) for each in outcomes if each.mode == mode])


def _growth(outcomes: Sequence[Outcome], mode: str, of: Callable[[list[float]], float]) -> float:
    return _p99(outcomes, mode, of) / _p99(outcomes, "alone", of) - 1


def run(choice: Choice) -> list[Outcome]:
    """All rounds, the modes in turn."""
    outcomes = []
    with tempfile.TemporaryDirectory(dir=choice.directory) as name:
        queue = Path(name) / "queue"
        queue.mkdir()
        asyncio.run(fill(queue, choice.messages, choice.destinations))
        print(f"{choice.messages} messages for {choice.destinations} dead destinations queued", file=sys.stderr)
        for number in range(1, choice.rounds + 1):
            for mode in MODES:
                outcomes.append(measure(mode, choice, queue))
                told = f"round {number}, {mode}: p50 {outcomes[-1].percentile(50):.2f} ms"
                print(f"{told}, p99 {outcomes[-1].percentile(99):.2f} ms", file=sys.stderr, flush=True)
    return outcomes


def read_choice(arguments: Sequence[str]) -> Choice:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.starving", description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=100_000, help="that wait for the dead destinations")
    parser.add_argument("--destinations", type=int, default=1, help="that are dead")
    parser.add_argument("--places", type=int, default=1, help="that those destinations are routed to")
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second for the one that is up")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))  # noqa: S108  # a real disk, unlike /tmp
    return Choice(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str]) -> int:
    """The command; 1 when the goal was missed."""
    outcomes = run(read_choice(arguments))
    print(table(outcomes))
    return int(any(_growth(outcomes, mode, median) > GOAL for mode in MODES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
