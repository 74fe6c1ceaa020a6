"""What very many idle connections cost, and whether mail still goes through beside them."""

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.held_client import idling, send
from bench.held_server import Server, Sink, serving, sinking
from bench.relay_meter import cpu_seconds, memory_octets
from bench.relay_stamps import DELIVERED

MESSAGES = 200
WARM_UP = 20
IDLE_SECONDS = 10.0
LAST_SECONDS = 30.0
SOURCES = 20
Row = tuple[str, str]


def connected(directory: Path, *, prefix: str, connections: int) -> Iterator[Row]:
    """Rows for the table."""
    with (
        sinking(prefix, 1) as sink,
        serving(directory, f"{prefix}.254", sink.port, connections=connections + SOURCES) as server,
    ):
        server.await_greeting()
        recipient = f"bob@[{prefix}.1]"
        _latencies(server, sink, recipient, range(1, WARM_UP + 1))
        yield "without: accept to delivery", _told(_latencies(server, sink, recipient, range(1_000, 1_000 + MESSAGES)))
        before, start = memory_octets(server.pid), time.monotonic()
        sources = [f"{prefix}.{number}" for number in range(2, 2 + SOURCES)]
        with idling(server, sources, connections) as greeted:
            took = time.monotonic() - start
            yield f"{connections:,} connections opened", f"{greeted:,} let in, {took:.1f} s"
            memory = memory_octets(server.pid)
            each = (memory - before) / max(1, greeted)
            yield "memory", f"{memory / 1e6:,.0f} MB, {each / 1000:.1f} kB a connection"
            cpu = cpu_seconds(server.pid)
            time.sleep(IDLE_SECONDS)
            yield "CPU while they idle", f"{(cpu_seconds(server.pid) - cpu) / IDLE_SECONDS:.2%} of one processor"
            beside = _latencies(server, sink, recipient, range(2_000, 2_000 + MESSAGES))
            yield "beside them: accept to delivery", _told(beside)
            closing = time.monotonic()
        yield "all closed", f"{time.monotonic() - closing:.1f} s"


def _latencies(server: Server, sink: Sink, recipient: str, numbers: Sequence[int]) -> list[float]:
    """Seconds from our sending a message to its arrival."""
    answered = send(server, recipient, numbers)
    arrived: dict[int, float] = {}
    deadline = time.monotonic() + LAST_SECONDS
    while len(arrived) < len(numbers) and time.monotonic() < deadline:
        arrived |= {stamp.number: stamp.at for stamp in sink.stamps.read() if stamp.kind == DELIVERED}
        time.sleep(0.005)
    return [arrived[number] - at for number, at in answered.items() if number in arrived]


def _told(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return "too few arrived"
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, {len(seconds)} arrived"
