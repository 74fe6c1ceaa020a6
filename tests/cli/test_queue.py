"""`letterlock queue` against a control server over a store in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.admin.client import CONTROL_SOCKET
from letterlock.admin.requests import PAGE
from letterlock.admin.server import ControlServer
from letterlock.mail.addresses import Mailbox
from letterlock.policy.reasons import Reason
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import OutcomeKind
from letterlock.store.memory import MemoryStore
from tests.cli.running import Ran, letterlock
from tests.deliver.world import HandClock
from tests.queue.messages import ANN, BEN, BODY, CAT, attempt, envelope, outcome

HELD = "STARTTLS was not offered though TLSA records demand it; an attacker on the path may have removed it"


class Queue:
    """What is queued, and the command about it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = MemoryStore()
        self.woken = 0

    async def run(self, *arguments: str) -> Ran:
        return await letterlock("queue", *arguments, "--queue", self.directory)

    async def hold(self, message_id: str, *recipients: Mailbox, text: str = HELD) -> None:
        """Accept a message, and defer it once."""
        await self.store.accept(envelope(message_id, *recipients, expires_at=9e9), BODY, next_attempt_at=0)
        for task in await self.store.lease(0, limit=100, lease_seconds=60):
            made = attempt(task, *(outcome(each, OutcomeKind.DEFERRED, text) for each in task.recipients))
            why = Reason(code="rfc7672-2.2.3-starttls-required", subject="mx.one.test")
            made = replace(made, reasons=(why,), address="192.0.2.1", port=25)
            await self.store.settle(task.lease, settle(task, made, now=10, schedule=RetrySchedule()), made, now=10)


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Queue]:
    queue = Queue(directory)

    def wake() -> None:
        queue.woken += 1

    server = ControlServer(queue.store, directory / CONTROL_SOCKET, clock=HandClock(), wake=wake)
    await server.start()
    try:
        yield queue
    finally:
        await server.stop()


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        yield queue


async def test_an_empty_queue_says_so(queue: Queue) -> None:
    ran = await queue.run("list")
    assert (ran.status, ran.out) == (0, "The queue is empty.\n")
    assert (await queue.run("list", "--json")).data == {"messages": []}


async def test_what_waits_is_listed_with_its_reason(queue: Queue) -> None:
    await queue.hold("M1", ANN, CAT)
    ran = await queue.run("list")
    assert ran.out.splitlines()[1].startswith("M1 ")
    assert "to ann@one.test  queued" in ran.out
    assert f"4.2.0 {HELD}" in ran.out
    assert f"mx.one.test: {HELD}  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)" in ran.out
    assert ran.err == "1 message\n"


async def test_show_tells_the_reasons_of_every_attempt_with_their_sections(queue: Queue) -> None:
    await queue.hold("M1", ANN)
    ran = await queue.run("show", "M1")
    assert "attempt 1" in ran.out
    assert f"mx.one.test: {HELD}  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)" in ran.out
    assert (await queue.run("show", "M1", "--json")).data["attempts_made"][0]["reasons"][0]["section"]
    assert (await queue.run("show", "M2")).status == 1


async def test_filters_pick_by_domain_sender_age_and_reason(queue: Queue) -> None:
    await queue.hold("M1", ANN)
    await queue.hold("M2", CAT, text="greylisted")
    await queue.store.accept(envelope("M3", BEN, sender=None, expires_at=9e9), BODY, next_attempt_at=9e9)

    async def found(*arguments: str) -> list[str]:
        return [each["id"] for each in (await queue.run("list", "--json", *arguments)).data["messages"]]

    assert await found("--domain", "ONE.test") == ["M1", "M3"]
    assert await found("--sender", "from.test") == ["M1", "M2"]
    assert await found("--sender", "<>") == ["M3"]
    assert await found("--reason", "Greylist") == ["M2"]
    assert await found("--reason", "starttls-required") == ["M1", "M2"]
    assert await found("--older", "1") == ["M1", "M2", "M3"]
    assert await found("--older", "900000000") == []
    assert (await queue.run("list", "--domain", "no.test")).out == "No message in the queue is like that.\n"


async def test_many_messages_come_page_by_page(queue: Queue) -> None:
    for number in range(PAGE + 5):
        await queue.store.accept(envelope(f"M{number:05}", ANN), BODY, next_attempt_at=0)
    ran = await queue.run("list")
    assert len([line for line in ran.out.splitlines() if line.startswith("M")]) == PAGE + 5
    assert len(json.loads((await queue.run("list", "--json")).out)["messages"]) == PAGE + 5


async def test_what_a_stranger_wrote_moves_no_cursor(queue: Queue) -> None:
    await queue.hold("M1", ANN, text="\x1b[2J\x1b]0;owned\x07 550 no\u202e")
    for verb in (("list",), ("show", "M1")):
        out = (await queue.run(*verb)).out
        assert not any(bad in out for bad in ("\x1b", "\x07", "\u202e"))


async def test_retry_and_remove(queue: Queue) -> None:
    await queue.hold("M1", ANN)
    assert (await queue.run("retry", "M1")).status == 0
    assert queue.woken == 1
    assert (await queue.run("retry", "M9")).status == 1
    assert (await queue.run("retry")).status == 2
    assert (await queue.run("remove", "M1")).status == 0
    assert (await queue.run("remove", "M1")).status == 1
    assert await queue.store.messages(limit=1) == []


async def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    ran = await letterlock("queue", "list", "--queue", tmp_path)
    assert ran.status == 3
    assert "letterlock serve" in ran.err


async def test_a_request_that_nobody_knows_is_answered_and_not_obeyed(queue: Queue) -> None:
    reader, writer = await asyncio.open_unix_connection(queue.directory / CONTROL_SOCKET)
    for line in (b'{"verb": "shutdown"}\n', b"no json\n", b"[]\n"):
        writer.write(line)
        assert "error" in json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
