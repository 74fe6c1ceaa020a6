"""How a server stands a queue of a million: start to first delivery, memory, and what an operator waits for."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.held_client import send
from bench.held_fill import fill
from bench.held_server import Server, Sink, serving, sinking
from bench.relay_meter import Meter, cpu_seconds, memory_octets

LATER_SECONDS = 30 * 86_400.0
FIRST_SECONDS = 300.0
QUEUE_COMMANDS = (("list",), ("stats",))
Row = tuple[str, str]


def queued(
    directory: Path, *, messages: int, octets: int, prefix: str, hops: int, later: bool, seconds: float
) -> Iterator[Row]:
    """Fill a queue, start a server on it, and watch: rows for the table."""
    when = "later" if later else "now"
    addresses = [f"{prefix}.{number}" for number in range(1, hops + 1)]
    yield from _fill(directory, messages, octets, addresses, later=later, when=when)
    with sinking(prefix, hops) as sink, serving(directory, f"{prefix}.254", sink.port) as server:
        yield from _started(server, sink, addresses, later=later, when=when)
        cpu = cpu_seconds(server.pid)
        with Meter(server.pid, directory) as meter:
            arrived = sink.count(seconds)
        yield f"due {when}: messages/s delivered, over {seconds:.0f} s", f"{arrived / seconds:,.0f}"
        yield f"due {when}: CPU over those", f"{(cpu_seconds(server.pid) - cpu) / seconds:.0%} of one processor"
        yield f"due {when}: peak memory", f"{meter.peak_octets / 1e6:,.0f} MB"
        for command in QUEUE_COMMANDS:
            took, said = server.queue(*command)
            yield f"due {when}: letterlock queue {' '.join(command)} | head -20", f"{took:.2f} s: {said}"
        stopping = time.monotonic()
    yield f"due {when}: orderly stop", f"{time.monotonic() - stopping:.1f} s"


def _fill(
    directory: Path, messages: int, octets: int, addresses: Sequence[str], *, later: bool, when: str
) -> Iterator[Row]:
    queue = directory / "queue"
    queue.mkdir(mode=0o700)
    due_at = time.time() + LATER_SECONDS if later else time.time()
    took = asyncio.run(fill(queue, messages=messages, octets=octets, next_hops=addresses, due_at=due_at))
    size = sum(path.stat().st_size for path in queue.rglob("*") if path.is_file())
    yield (
        f"due {when}: {messages:,} messages accepted",
        f"{took:,.0f} s ({messages / took:,.0f}/s), {size / 1e9:.2f} GB",
    )


def _started(server: Server, sink: Sink, addresses: Sequence[str], *, later: bool, when: str) -> Iterator[Row]:
    if not later:
        at = sink.wait_for(None, FIRST_SECONDS)
        yield f"due {when}: start to first delivery", "none came" if at is None else f"{at - server.started:.2f} s"
        yield f"due {when}: start to greeting (at most)", f"{server.await_greeting():.2f} s"
    else:
        yield f"due {when}: start to greeting", f"{server.await_greeting():.2f} s"
        number = 999_999_999
        send(server, f"bob@[{addresses[0]}]", [number])
        at = sink.wait_for(number, FIRST_SECONDS)
        told = "it did not come" if at is None else f"{at - server.started:.2f} s"
        yield f"due {when}: start to delivery of a new message", told
    yield f"due {when}: memory then", f"{memory_octets(server.pid) / 1e6:,.0f} MB"
