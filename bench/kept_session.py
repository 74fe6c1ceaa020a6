"""What a message costs that goes over a kept session: calls into the package, and CPU time.

    .venv/bin/python -m bench.kept_session [--messages 2000] [--rounds 5]

The world is in memory and the clock by hand. The server is a test's, and its time counts too: compare figures of one
machine only.
"""

import argparse
import asyncio
import statistics
import sys
import time
from types import FrameType

from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    make_ports,
    make_task,
)

from bench.passage import HOME
from letterlock.deliver.attempt import attempt
from letterlock.deliver.pool import SessionPool
from letterlock.queue.tasks import OutcomeKind

WARM_UP = 200  # messages: the session is opened, and caches are filled


class Calls:
    """Counts calls into the package while it is `sys.setprofile`'s function."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG002  # the interpreter's form
        self.count += event == "call" and frame.f_code.co_filename.startswith(HOME)


class World:
    """Messages over one kept session."""

    def __init__(self) -> None:
        self.dialer = MemoryDialer()
        self.dialer.handlers[ADDRESS] = Server()
        self.clock = HandClock()
        self.ports = make_ports(self.dialer, HandDiscoverer(), self.clock)
        self.pool = SessionPool(self.clock, OPTIONS)
        self.task = make_task()

    async def send(self, count: int) -> None:
        """Send so many."""
        for _ in range(count):
            made = await attempt(self.task, BODY, ports=self.ports, options=OPTIONS, pool=self.pool)
            if made.outcomes[0].kind is not OutcomeKind.DELIVERED:
                raise RuntimeError(made.outcomes[0].text)

    async def close(self) -> None:
        """End the session."""
        await self.pool.close()
        await self.dialer.aclose()


async def measure(messages: int, rounds: int) -> tuple[float, list[float]]:
    """Calls into the package per message, and microseconds of CPU per message in each round."""
    world = World()
    await world.send(WARM_UP)
    calls = Calls()
    sys.setprofile(calls)
    await world.send(WARM_UP)
    sys.setprofile(None)
    microseconds = []
    for _ in range(rounds):
        began = time.process_time()
        await world.send(messages)
        microseconds.append((time.process_time() - began) / messages * 1e6)
    await world.close()
    return calls.count / WARM_UP, microseconds


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    calls, microseconds = asyncio.run(measure(given.messages, given.rounds))
    middle, least = statistics.median(microseconds), min(microseconds)
    print(
        f"{calls:.1f} calls into the package per message; CPU per message: median {middle:.0f} µs, least {least:.0f} µs"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
