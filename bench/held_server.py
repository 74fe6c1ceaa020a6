"""A server under `bench.held`, and the receiver that its mail goes to; both end with the bench."""

import itertools
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.relay_stamps import DELIVERED, StampReader

START_SECONDS = 120.0
STOP_SECONDS = 60.0
HEAD_LINES = 20
SOFT_DESCRIPTORS = 1024  # what a shell usually gives: the server has to ask for more by itself
CONFIG = """\
hostname = "held.test"
[smtp]
listen = ["@LISTEN@"]
max_connections = @CONNECTIONS@
max_connections_per_client = @CONNECTIONS@
command_timeout_seconds = 3600
[queue]
directory = "@QUEUE@"
[resolver]
upstream = ["127.0.0.1:9"]
[delivery]
loopback_hosts = true
port = @PORT@
"""


class NotUp(Exception):
    """A process did not come up; `str()` is what it logged."""


@dataclass(frozen=True, slots=True)
class Sink:
    """The receiver: its port, and what has arrived."""

    port: int
    stamps: StampReader

    def wait_for(self, number: int | None, seconds: float) -> float | None:
        """When a message with that number (None: any) arrived, in monotonic seconds; None when it did not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for stamp in self.stamps.read():
                if stamp.kind == DELIVERED and number in (None, stamp.number):
                    return stamp.at
            time.sleep(0.002)
        return None

    def count(self, seconds: float) -> int:
        """How many arrive in that time."""
        deadline, arrived = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            arrived += sum(stamp.kind == DELIVERED for stamp in self.stamps.read())
            time.sleep(0.02)
        return arrived


@contextmanager
def sinking(prefix: str, addresses: int) -> Iterator[Sink]:
    """A receiver on so many addresses."""
    command = [sys.executable, "-m", "bench.held_sink", prefix, str(addresses)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            descriptor, port = process.stdout.fileno(), b""
            while not port.endswith(b"\n"):
                port += os.read(descriptor, 1)
            yield Sink(int(port), StampReader(descriptor))
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and when it was started (monotonic seconds)."""

    pid: int
    started: float
    address: str
    port: int
    config: Path
    log: Path

    def await_greeting(self) -> float:
        """Seconds from its start until it greets. Raises NotUp."""
        while time.monotonic() < self.started + START_SECONDS:
            with suppress(OSError), socket.create_connection((self.address, self.port), timeout=5) as connection:
                if connection.recv(512).startswith(b"220"):
                    return time.monotonic() - self.started
            time.sleep(0.01)
        raise NotUp(self.log.read_text(errors="replace")[-4000:])

    def queue(self, *arguments: str) -> tuple[float, str]:
        """Seconds until `letterlock queue ... | head -20` ends, and its first line."""
        verb, *rest = arguments
        start = time.monotonic()
        command = [sys.executable, "-m", "letterlock", "queue", verb, "--config", str(self.config), *rest]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            lines = list(itertools.islice(process.stdout, HEAD_LINES))
            process.stdout.close()
            process.terminate()
        return time.monotonic() - start, lines[0].strip()[:100] if lines else "it said nothing"


@contextmanager
def serving(directory: Path, address: str, sink_port: int, *, connections: int = 500) -> Iterator[Server]:
    """`letterlock serve` on `directory`/queue, from its start to its end."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    config = directory / "held.toml"
    marks = {"LISTEN": f"{address}:{port}", "CONNECTIONS": str(connections), "PORT": str(sink_port)}
    text = CONFIG.replace("@QUEUE@", json.dumps(str(directory / "queue"))[1:-1])
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@", value)
    config.write_text(text)
    log = directory / "held.log"
    command = [sys.executable, "-m", "letterlock", "serve", "--config", str(config)]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    prlimit = ["prlimit", f"--nofile={min(SOFT_DESCRIPTORS, hard)}:{hard}"]
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen([*prlimit, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield Server(process.pid, started, address, port, config, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
