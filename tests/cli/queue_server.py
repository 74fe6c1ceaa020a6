"""A control server over a store in memory, and `letterlock queue` about it: with pipes, or on a terminal."""

import asyncio
import os
import pty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from letterlock.admin.server import ControlServer
from letterlock.mail.addresses import Mailbox
from letterlock.policy.codes import Code
from letterlock.policy.reasons import Reason
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import OutcomeKind
from tests import warm_start
from tests.cli.running import SECONDS, Ran, letterlock
from tests.deliver.world import HandClock
from tests.memory_store import MemoryStore
from tests.queue.messages import BODY, attempt, envelope, outcome

DEMANDED = "STARTTLS was not offered although TLSA records demand it; an attacker on the path may have removed it"


class Queue:
    """What is queued, and the command about it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = MemoryStore()
        self.clock = HandClock()
        self.woken = 0
        self.forgiven: list[str | None] = []
        self.problems: dict[str, str] = {}

    def wake(self) -> None:
        """Something became due."""
        self.woken += 1

    async def run(self, *arguments: str) -> Ran:
        """Run the command."""
        return await letterlock(*self.command(*arguments))

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The words of the command line after `letterlock`."""
        return "queue", *arguments, "--queue", str(self.directory)

    async def accept(self, message_id: str, *recipients: Mailbox) -> None:
        """Accept a message that is due in a while."""
        await self.store.accept(envelope(message_id, *recipients, expires_at=9e9), BODY, next_attempt_at=8e9)

    async def defer(self, message_id: str, *recipients: Mailbox, text: str = DEMANDED) -> None:
        """Accept a message, and defer it once."""
        await self.store.accept(envelope(message_id, *recipients, expires_at=9e9), BODY, next_attempt_at=0)
        for task in await self.store.lease(0, limit=100, lease_seconds=60):
            made = attempt(task, *(outcome(each, OutcomeKind.DEFERRED, text) for each in task.recipients))
            why = Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject="mx.one.test")
            made = replace(made, reasons=(why,), address="192.0.2.1", port=25)
            await self.store.settle(task.lease, settle(task, made, now=10, schedule=RetrySchedule()), made, now=10)

    async def fed(self, given: str, *arguments: str) -> Ran:
        """Run the command with something on its standard input."""
        return await letterlock(*self.command(*arguments), given=given)

    async def on_terminal(self, answers: str, *arguments: str) -> tuple[int, str]:
        """Run the command on a terminal where these answers are typed; its exit status, and what is on the screen."""
        ours, its = pty.openpty()
        started = warm_start.start(self.command(*arguments), (its, its, its))
        os.close(its)
        os.write(ours, answers.encode())
        try:
            async with asyncio.timeout(SECONDS):
                screen = await asyncio.to_thread(_read_all, ours)
                return await started.wait(), screen.decode()
        finally:
            os.close(ours)

    async def states(self) -> dict[str, list[str]]:
        """The states of all recipients, by message."""
        return {each.id: [one.state for one in each.recipients] for each in await self.store.messages(limit=10_000)}


def _read_all(terminal: int) -> bytes:
    read = bytearray()
    with suppress(OSError):  # EIO: the other side is closed
        while octets := os.read(terminal, 65_536):
            read += octets
    return bytes(read)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Queue]:
    """A queue and its control server."""
    queue = Queue(directory)
    server = ControlServer(
        queue.store,
        directory / CONTROL_SOCKET,
        clock=queue.clock,
        wake=queue.wake,
        forgive=queue.forgiven.append,
        problems=lambda: queue.problems,
    )
    await server.start()
    try:
        yield queue
    finally:
        await server.stop()
