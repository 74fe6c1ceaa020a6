"""`letterlock queue` against a control server over a store in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.admin.requests import PAGE
from letterlock.mail.addresses import Mailbox
from letterlock.queue.folders import CONTROL_SOCKET
from letterlock.queue.orders import OrderKind
from tests.cli.queue_server import DEMANDED, Queue, serving
from tests.cli.running import letterlock
from tests.queue.messages import ANN, BEN, BODY, CAT, envelope
from tests.queue.orders import obey


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        yield queue


async def test_an_empty_queue_says_so(queue: Queue) -> None:
    ran = await queue.run("list")
    assert (ran.status, ran.out) == (0, "The queue is empty.\n")
    assert (await queue.run("list", "--json")).data == {"messages": [], "problems": {}}


async def test_what_waits_is_listed_with_its_reason(queue: Queue) -> None:
    await queue.defer("M1", ANN, CAT)
    ran = await queue.run("list")
    assert ran.out.splitlines()[1].startswith("M1 ")
    assert "to ann@one.test  queued" in ran.out
    assert f"4.2.0 {DEMANDED}" in ran.out
    assert "mx.one.test  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)" in ran.out
    assert ran.err == "1 message\n"


async def test_each_reason_is_listed_once_and_below_the_recipients_that_wait_for_it(queue: Queue) -> None:
    away = Mailbox("dan", "two.test")
    await queue.defer("M1", ANN, CAT, BEN, away)
    lines = [line.strip() for line in (await queue.run("list")).out.splitlines()[2:]]
    why = [f"4.2.0 {DEMANDED}", "mx.one.test  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)"]
    ours = ["to ann@one.test  queued", "to ben@one.test  queued"]
    theirs = ["to cat@two.test  queued", "to dan@two.test  queued"]
    assert lines == [*ours, *why, *theirs, *why]


async def test_what_the_attempt_found_is_listed_beside_what_the_recipient_was_told(queue: Queue) -> None:
    await queue.defer("M1", ANN, text="450 4.2.1 greylisted")
    await queue.store.accept(envelope("M2", CAT, expires_at=9e9), BODY, next_attempt_at=8e9)
    lines = [line.strip() for line in (await queue.run("list")).out.splitlines()]
    assert lines[2:5] == [
        "to ann@one.test  queued",
        "4.2.0 450 4.2.1 greylisted",
        f"mx.one.test: {DEMANDED}  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)",
    ]
    assert lines[5].startswith("M2 ")
    assert lines[6:] == ["to cat@two.test  queued"]


async def test_show_tells_the_reasons_of_every_attempt_with_their_sections(queue: Queue) -> None:
    await queue.defer("M1", ANN)
    ran = await queue.run("show", "M1")
    assert "attempt 1" in ran.out
    assert f"mx.one.test: {DEMANDED}  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)" in ran.out
    assert (await queue.run("show", "M1", "--json")).data["attempts_made"][0]["reasons"][0]["section"]
    assert (await queue.run("show", "M2")).status == 1


async def test_filters_pick_by_domain_sender_age_and_reason(queue: Queue) -> None:
    await queue.defer("M1", ANN)
    await queue.defer("M2", CAT, text="greylisted")
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
    assert (await queue.run("list", "--domain", "no.test")).out == "No message in the queue matches.\n"


async def test_many_messages_come_page_by_page(queue: Queue) -> None:
    for number in range(PAGE + 5):
        await queue.store.accept(envelope(f"M{number:05}", ANN), BODY, next_attempt_at=0)
    ran = await queue.run("list")
    assert len([line for line in ran.out.splitlines() if line.startswith("M")]) == PAGE + 5
    assert len(json.loads((await queue.run("list", "--json")).out)["messages"]) == PAGE + 5


async def test_what_a_stranger_wrote_moves_no_cursor(queue: Queue) -> None:
    await queue.defer("M1", ANN, text="\x1b[2J\x1b]0;owned\x07 550 no\u202e")
    for verb in (("list",), ("show", "M1")):
        out = (await queue.run(*verb)).out
        assert not any(bad in out for bad in ("\x1b", "\x07", "\u202e"))


async def test_an_age_is_a_number_with_a_unit_and_a_domain_is_one_in_any_alphabet(queue: Queue) -> None:
    await queue.defer("M1", Mailbox("ann", "xn--bcher-kva.test"))
    for arguments in (("--older", "900s"), ("--older", "15m"), ("--older", "2d"), ("--domain", "Bücher.test")):
        assert [each["id"] for each in (await queue.run("list", "--json", *arguments)).data["messages"]] == ["M1"]
    for arguments in (("--older", "soon"), ("--older", "-1"), ("--domain", "a b"), ("--state", "bounced")):
        assert (await queue.run("list", *arguments)).status == 2


async def test_held_messages_are_listed_with_the_reason_of_the_hold(queue: Queue) -> None:
    await queue.defer("M1", ANN)
    await queue.accept("M2", ANN, CAT)
    await obey(queue.store, OrderKind.HOLD, "M1", at=queue.clock.now(), reason="ask\u202e legal")
    await obey(queue.store, OrderKind.QUARANTINE, "M2", at=queue.clock.now(), next_hop="two.test", reason="a worm")
    out = (await queue.run("list")).out
    assert "to ann@one.test  held for 0s: ask\\u202e legal" in out
    assert "to cat@two.test  quarantined for" in out
    assert "\u202e" not in out
    shown = (await queue.run("show", "M1")).out
    assert "to ann@one.test: held, since 2027-01-15 08:00:00 UTC: ask\\u202e legal, tried once" in shown
    [listed] = (await queue.run("list", "--state", "held", "--json")).data["messages"]
    assert (listed["id"], listed["recipients"][0]["held_at"]) == ("M1", 1_800_000_000)
    assert [each["id"] for each in (await queue.run("list", "--state", "quarantined", "--json")).data["messages"]] == [
        "M2"
    ]


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
