"""What a message costs that goes over a kept session: calls into the package, and CPU time.

    .venv/bin/python -m bench.kept_session [--messages 2000] [--rounds 5] [--log]

The world is in memory and the clock by hand. The server is a test's, and its time counts too: compare figures of one
machine only. `--log` also writes the log of each delivery, to nowhere: the difference is its cost.
"""

import argparse
import asyncio
import logging
import os
import statistics
import sys
import time
from pathlib import Path
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
from letterlock.app.log_text import PostfixFormatter
from letterlock.app.logs import GatheringHandler, LeanRecord
from letterlock.deliver.attempt import attempt
from letterlock.deliver.log import DeliveryLog
from letterlock.deliver.pool import SessionPool
from letterlock.queue.observing import NOBODY, Observers
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

    def __init__(self, observers: Observers) -> None:
        self.observers = observers
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
            self.observers.attempted(self.task, made)
            if made.outcomes[0].kind is not OutcomeKind.DELIVERED:
                raise RuntimeError(made.outcomes[0].text)

    async def close(self) -> None:
        """End the session."""
        await self.pool.close()
        await self.dialer.aclose()


def log_to_nowhere() -> Observers:
    """The observer that logs, and the handler and formatter that it writes with."""
    logger = logging.getLogger("letterlock")
    handler = GatheringHandler(Path(os.devnull).open("w"))  # noqa: SIM115  # open until the process ends
    handler.setFormatter(PostfixFormatter("mx.example.org"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    logging.setLogRecordFactory(LeanRecord)
    return Observers((DeliveryLog(),))


async def measure(messages: int, rounds: int, observers: Observers) -> tuple[float, list[float]]:
    """Calls into the package per message, and microseconds of CPU per message in each round."""
    world = World(observers)
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
    parser.add_argument("--log", action="store_true")
    given = parser.parse_args()
    observers = log_to_nowhere() if given.log else NOBODY
    calls, microseconds = asyncio.run(measure(given.messages, given.rounds, observers))
    middle, least = statistics.median(microseconds), min(microseconds)
    print(
        f"{calls:.1f} calls into the package per message; CPU per message: median {middle:.0f} µs, least {least:.0f} µs"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
