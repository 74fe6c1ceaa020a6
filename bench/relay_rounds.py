"""One round of `bench.relay`: a source, a relay, a sink; how fast, how late, at what cost."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.relay_box import CannotMeasure
from bench.relay_meter import Meter, cpu_seconds
from bench.relay_names import SINK_ADDRESS, Names
from bench.relay_peers import (
    ADDRESS,
    CONNECTIONS,
    PORT,
    Peer,
    Room,
    end,
    is_authenticated,
    running,
    wait_until_listening,
)
from bench.relay_stamps import ACCEPTED, DELIVERED, FAILED, FIRST_BYTE, StampReader

POLL_SECONDS = 0.005
LIMIT_SECONDS = 60.0  # after that a round ends, and tells how many messages had come
WARM_UP_MESSAGES = 500
SINK_PROCESSES = 2
DIRECT_OCTETS = 80_000_000
SMTP_SINK_OCTETS = 100_000  # it looks at each octet, and would be the bottleneck of large messages
SINK_PORT = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is measured."""

    name: str
    title: str
    octets: int
    messages: int
    tls: bool = False
    messages_per_second: float = 0.0  # 0: as fast as they are taken

    @property
    def direct_messages(self) -> int:
        """How many to send with nobody between: as many octets as it takes for more than an instant."""
        return DIRECT_OCTETS // self.octets

    @property
    def stamped(self) -> bool:
        """Whether it needs our own source and sink; smtp-source and smtp-sink know no TLS, time or speed with 1 MB."""
        return self.tls or self.messages_per_second > 0 or self.octets > SMTP_SINK_OCTETS


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came out of a round."""

    part: str
    peer: str
    messages: int
    delivered: int
    seconds: float  # from the first byte in to the last message out
    accept_seconds: float  # from the first byte in to the last `250`
    cpu_seconds: float = 0.0
    peak_octets: int = 0
    flushes: int = 0
    sink_busy: float = 0.0  # of one CPU for each of its processes
    latencies: list[float] = field(default_factory=list)  # seconds from `250` to delivery, ascending

    @property
    def rate(self) -> float:
        """Messages a second, through."""
        return self.delivered / self.seconds


class Sink(Protocol):
    """A receiver that counts."""

    process: subprocess.Popen[bytes]
    delivered: int
    times: dict[int, float]

    def poll(self) -> None:
        """Look at what has come."""


class SmtpSink:
    """Postfix's smtp-sink."""

    def __init__(self) -> None:
        command = ["smtp-sink", "-u", "nobody", "-c", f"{SINK_ADDRESS}:{SINK_PORT}", "1000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, start_new_session=True)
        assert self.process.stdout is not None
        self._output = self.process.stdout
        self._tail = b""
        self.delivered = 0
        self.times: dict[int, float] = {}
        os.set_blocking(self._output.fileno(), False)

    def poll(self) -> None:
        """Read its counters to the newest."""
        while data := self._output.read(1 << 16):
            self._tail = (self._tail + data)[-4096:]
            counts = re.findall(rb"mesg=(\d+)", self._tail)
            if counts:
                self.delivered = int(counts[-1])


class StampSink:
    """Our own."""

    def __init__(self, names: Names, *, tls: bool) -> None:
        command = [sys.executable, "-m", "bench.relay_sink", SINK_ADDRESS, str(SINK_PORT)]
        command += [f"--processes={SINK_PROCESSES}", *(["--pem", str(names.sink_pem)] if tls else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout is not None
        self._reader = StampReader(self.process.stdout.fileno())
        self.delivered = 0
        self.times: dict[int, float] = {}

    def poll(self) -> None:
        """Read what it tells."""
        for stamp in self._reader.read():
            assert stamp.kind == DELIVERED
            self.delivered += 1
            self.times.setdefault(stamp.number, stamp.at)


class Source:
    """Whoever sends: smtp-source, or our own."""

    def __init__(self, part: Part, address: str, port: int, messages: int, *, recipients: Path | None = None) -> None:
        self._reader: StampReader | None = None
        self.started_at = time.monotonic()
        self.ended_at: float | None = None
        self.accepted: dict[int, float] = {}
        self.failed = 0
        if part.stamped:
            command = [sys.executable, "-m", "bench.relay_source", address, str(port), f"--messages={messages}"]
            command += [
                f"--octets={part.octets}",
                f"--rate={part.messages_per_second}",
                *(["--tls"] if part.tls else []),
            ]
            command += [f"--connections={CONNECTIONS}", *(["--recipients", str(recipients)] if recipients else [])]
        else:
            command = ["smtp-source", "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-l", str(part.octets)]
            command += ["-f", "ann@source.test", "-t", "bob@sink.test", f"{address}:{port}"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE if part.stamped else None, start_new_session=True
        )
        if self.process.stdout is not None:
            self._reader = StampReader(self.process.stdout.fileno())

    def poll(self) -> None:
        """Look at what has happened."""
        if self._reader is not None:
            for stamp in self._reader.read():
                if stamp.kind == FIRST_BYTE:
                    self.started_at = stamp.at
                elif stamp.kind == ACCEPTED:
                    self.accepted[stamp.number] = stamp.at
                elif stamp.kind == FAILED:
                    self.failed += 1
        if self.ended_at is None and self.process.poll() is not None:
            self.ended_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Bench:
    """The furnished room."""

    directory: Path
    names: Names

    def relay(self, part: Part, peer: Peer) -> Outcome:
        """A round through a relay. Raises CannotMeasure."""
        room = Room(self.directory / peer.name.lower(), self.names, part.tls)
        with ExitStack() as stack:
            sink = stack.enter_context(self._sink(part))
            root = stack.enter_context(running(peer, room))
            if peer.warms_up:
                self._send(part, sink, ADDRESS, PORT, WARM_UP_MESSAGES)
            with Meter(root, self.directory) as meter:
                outcome = self._send(part, sink, ADDRESS, PORT, part.messages)
            if part.tls and not is_authenticated(peer, room):
                raise CannotMeasure(f"{peer.name} did not authenticate the receiver by DANE; see its log")
            outcome.peer = peer.name
            outcome.cpu_seconds, outcome.peak_octets = meter.cpu_seconds, meter.peak_octets
            outcome.flushes = meter.flushes
            return outcome

    def direct(self, part: Part) -> Outcome:
        """The same with nobody between source and sink: what these two can do by themselves."""
        with self._sink(part) as sink:
            return self._send(part, sink, SINK_ADDRESS, SINK_PORT, max(part.messages, part.direct_messages))

    @contextmanager
    def _sink(self, part: Part) -> Iterator[Sink]:
        sink: Sink = StampSink(self.names, tls=part.tls) if part.stamped else SmtpSink()
        try:
            if not wait_until_listening(sink.process, SINK_ADDRESS, SINK_PORT, seconds=10):
                raise CannotMeasure(f"no receiver on {SINK_ADDRESS} port {SINK_PORT}")
            yield sink
        finally:
            end(sink.process)

    def _send(self, part: Part, sink: Sink, address: str, port: int, messages: int) -> Outcome:
        before, busy = sink.delivered, cpu_seconds(sink.process.pid)
        sink.times.clear()
        source = Source(part, address, port, messages)
        try:
            last = _wait(source, sink, before + messages)
        finally:
            end(source.process)
        seconds = (max(sink.times.values()) if sink.times else last) - source.started_at
        busy = cpu_seconds(sink.process.pid) - busy
        return Outcome(
            part=part.name,
            peer="",
            messages=messages,
            delivered=sink.delivered - before,
            seconds=seconds,
            accept_seconds=(source.ended_at or last) - source.started_at,
            sink_busy=busy / seconds / (SINK_PROCESSES if part.stamped else 1),
            latencies=sorted(sink.times[n] - at for n, at in source.accepted.items() if n in sink.times),
        )


def _wait(source: Source, sink: Sink, delivered: int) -> float:
    """Wait until so many messages have come, or cannot come any more; when the last one came."""
    until = time.monotonic() + LIMIT_SECONDS
    last = time.monotonic()
    while sink.delivered + source.failed < delivered or source.ended_at is None:
        known = sink.delivered
        source.poll()
        sink.poll()
        now = time.monotonic()
        if sink.delivered > known:
            last = now
        if now > until:
            break
        time.sleep(POLL_SECONDS)
    return last
