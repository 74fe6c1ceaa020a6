"""What the log costs per message: python -m bench.logging_cost [--json | --journal] [--rounds N]

The observers that write the log are shown messages and attempts as the relay shows them, and what they gather is
written in blocks, as after each wait of the handler. Printed are the calls of functions per message, Python's and C's,
which do not depend on what else the machine does, and the microseconds of CPU, the median of the rounds.
`python -m bench.observing` measures the same within a relay.
"""

import argparse
import asyncio
import logging
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

from letterlock.app.journald import JournalHandler
from letterlock.app.log_text import JsonFormatter, PostfixFormatter
from letterlock.app.logs import GatheringHandler
from letterlock.deliver.log import DeliveryLog
from letterlock.events import LineHandler
from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.policy.decision import Achieved, Level
from letterlock.queue.observing import Arrival, Observers
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, OutcomeKind, RecipientOutcome
from letterlock.receive.receipt_log import ReceiptLog

BLOCK = 400  # messages: some 100 ms of a relay that takes 4,000 a second
BLOCKS = 10  # so that no message is still in the processor's cache when its turn comes again

Message = tuple[Envelope, Arrival, DeliveryTask, Attempt]


def message(number: int) -> Message:
    """A message that came by TLS, and its delivery over a kept session, with addresses and replies of its own."""
    name = f"{number:08X}A1B2C3"
    sender, recipient = Mailbox(f"user{number % 100}", "example.net"), Mailbox(f"r{number}", f"d{number % 50}.example")
    handshake = SESSIONS[number % len(SESSIONS)]
    now = 1_800_000_000.0 + number / 4000
    envelope = Envelope(
        id=name, reverse_path=sender, recipients=(recipient,), size=4096, accepted_at=now, expires_at=now + 400_000
    )
    arrival = Arrival(
        client="unknown[192.0.2.7]", protocol="ESMTPS", hello="client.example", handshake=handshake,
        message_id=f"<{number}.4711@client.example>",
    )  # fmt: skip
    outcome = RecipientOutcome(
        recipient=recipient, kind=OutcomeKind.DELIVERED, status="2.0.0", text=f"250 2.0.0 Ok: queued as {number:X}"
    )
    task = DeliveryTask(
        lease=Lease("t", name, recipient.domain, now + 600), envelope=envelope, recipients=(recipient,), attempts=0
    )
    attempt = Attempt(
        message_id=name, next_hop=recipient.domain, started_at=now + 0.021, ended_at=now + 0.34,
        connected_at=now + 0.021, ready_at=now + 0.021, outcomes=(outcome,), host=f"mx.d{number % 50}.example",
        address=f"192.0.2.{number % 50}", port=25, achieved=ENCRYPTED, handshake=handshake,
    )  # fmt: skip
    return envelope, arrival, task, attempt


ENCRYPTED = Achieved(level=Level.ENCRYPTED)
SESSIONS = [
    Completed(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", group="x25519", sni=None, chain=()) for _ in range(20)
]


class Calls:
    """Counts calls of functions while it is `sys.setprofile`'s function."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG002  # the interpreter's form
        self.count += event in ("call", "c_call")


def log_to(stream: TextIO, *, as_json: bool) -> GatheringHandler:
    """The server's log, on a stream."""
    handler = GatheringHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else PostfixFormatter("mx.example.org"))
    rooms = logging.getLogger("letterlock")
    rooms.handlers, rooms.propagate = [handler], False
    rooms.setLevel(logging.INFO)
    return handler


def log_to_journal(path: Path) -> JournalHandler:
    """The same, to what stands for systemd's journal: a process that reads datagrams and keeps none."""
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader.bind(os.fspath(path))
    parent = os.getpid()
    if os.fork() == 0:
        reader.settimeout(1.0)
        while os.getppid() == parent:
            with suppress(TimeoutError):
                reader.recv(1 << 16)
        os._exit(0)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.connect(os.fspath(path))
    handler = JournalHandler(journal, logging.NullHandler())
    rooms = logging.getLogger("letterlock")
    rooms.handlers, rooms.propagate = [handler], False
    rooms.setLevel(logging.INFO)
    return handler


def show(observers: Observers, messages: list[Message]) -> None:
    """Show messages as the relay does."""
    for envelope, arrival, task, attempt in messages:
        observers.received(envelope, arrival)
        observers.attempted(task, attempt)


def microseconds(work: Callable[[], object]) -> float:
    """CPU time of a piece of work, per message of a block."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / BLOCK * 1e6


async def measure(handler: LineHandler, rounds: int) -> None:
    """Measure and print."""
    observers = Observers((ReceiptLog(), DeliveryLog()), later=handler.later)
    nobody = Observers(())
    blocks = [[message(block * BLOCK + number) for number in range(BLOCK)] for block in range(BLOCKS)]
    show(observers, blocks[0])
    handler.flush()
    calls = Calls()
    sys.setprofile(calls)
    show(observers, blocks[0])
    handler.flush()
    sys.setprofile(None)
    print(f"{calls.count / BLOCK:.1f} calls of functions per message")
    takes, writes = [], []
    for _ in range(rounds):
        for block in blocks:
            unseen = microseconds(lambda block=block: show(nobody, block))  # type: ignore[misc]
            takes.append(microseconds(lambda block=block: show(observers, block)) - unseen)  # type: ignore[misc]
            writes.append(microseconds(handler.flush))
    take, write = statistics.median(takes), statistics.median(writes)
    print(f"taking {take:.2f} us, writing {write:.2f} us, together {take + write:.2f} us of CPU per message")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--journal", action="store_true", help="as systemd's journal takes them")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Path(directory, "log").open("w") as stream:
        to_journal = given.journal
        handler = log_to_journal(Path(directory, "socket")) if to_journal else log_to(stream, as_json=given.json)
        asyncio.run(measure(handler, given.rounds))


if __name__ == "__main__":
    main()
