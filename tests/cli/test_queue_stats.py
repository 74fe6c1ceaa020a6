"""`letterlock queue stats` and `trace`, as their user runs them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.queue.orders import OrderKind
from tests.cli.queue_server import DEMANDED, Queue, serving
from tests.queue.messages import ANN, BEN, BODY, CAT, envelope
from tests.queue.orders import obey


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        yield queue


async def fill(queue: Queue) -> None:
    """Three messages, five deliveries: two are deferred, one is held, one in quarantine, one waits."""
    now = queue.clock.now()
    await queue.defer("M1", ANN, CAT)
    for message_id, age, recipients in (("M2", 200, (ANN, CAT)), ("M3", 4_000, (BEN,))):
        kept = replace(envelope(message_id, *recipients, expires_at=9e9), accepted_at=now - age)
        await queue.store.accept(kept, BODY, next_attempt_at=9e9)
    await obey(queue.store, OrderKind.HOLD, "M2", at=now, next_hop="one.test", reason="ask\x1b legal")
    await obey(queue.store, OrderKind.QUARANTINE, "M3", at=now)


async def test_an_empty_queue_has_no_table(queue: Queue) -> None:
    assert (await queue.run("stats")).out == "The queue is empty.\n"
    data = (await queue.run("stats", "--json")).data
    assert (data["total"]["total"], data["groups"]) == (0, [])


async def test_what_waits_is_counted_by_next_hop_state_and_age(queue: Queue) -> None:
    await fill(queue)
    lines = (await queue.run("stats")).out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["NEXT", "HOP", "ALL", "WAIT", "TRY", "DEFER", "HELD", "QUAR", "SIZE", "OLDEST"]
    assert [line.split()[:7] for line in lines[1:4]] == [
        ["TOTAL", "5", "1", ".", "2", "1", "1"],
        ["one.test", "3", ".", ".", "1", "1", "1"],
        ["two.test", "2", "1", ".", "1", ".", "."],
    ]
    assert lines[5].split() == ["NEXT", "HOP", "ALL", "5m", "15m", "1h", "4h", "1d", "older"]
    assert lines[7].split() == ["one.test", "3", "1", ".", ".", "1", ".", "1"]


async def test_the_rows_are_the_largest_ones(queue: Queue) -> None:
    await fill(queue)
    ran = await queue.run("stats", "--top", "1")
    assert "one.test" in ran.out
    assert "two.test" not in ran.out
    assert ran.err == "and 1 more: --top shows them\n"
    data = (await queue.run("stats", "--top", "1", "--json")).data
    assert [each["key"] for each in data["groups"]] == ["one.test"]
    assert data["total"]["total"] == 5
    assert data["groups"][0]["ages"] == {"5m": 1, "15m": 0, "1h": 0, "4h": 1, "1d": 0, "older": 1}


async def test_it_counts_by_sender_reason_and_age(queue: Queue) -> None:
    await fill(queue)

    async def counted(by: str) -> dict[str, int]:
        return {each["key"]: each["total"] for each in (await queue.run("stats", "--by", by, "--json")).data["groups"]}

    assert await counted("sender") == {"sender@from.test": 5}
    assert await counted("reason") == {
        "rfc7672-2.2.3-starttls-required": 2,
        "not tried yet": 2,
        "held: ask\x1b legal": 1,
    }
    assert list(await counted("age")) == ["5m", "4h", "older"]
    out = (await queue.run("stats", "--by", "reason")).out
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines())


async def test_a_trace_tells_the_story_in_order_of_time(queue: Queue) -> None:
    await queue.store.accept(
        replace(envelope("M0", ANN, expires_at=9e9), tls_demand=TlsDemand.REQUIRETLS), BODY, next_attempt_at=9e9
    )
    await queue.defer("M1", ANN, CAT)
    await obey(queue.store, OrderKind.HOLD, "M1", at=20, next_hop="two.test", reason="ask legal")
    lines = (await queue.run("trace", "M1")).out.splitlines()
    assert lines[0] == "M1  25 B, from sender@from.test"
    assert lines[1] == "1970-01-01 00:00:00 UTC  accepted from client.test[127.0.0.1], 7BIT"
    assert lines[2].startswith("1970-01-01 00:00:09 UTC  attempt 1 at one.test: mx.one.test[192.0.2.1]:25, not sent")
    assert "    mx.one.test  (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)" in lines
    assert f"    ann@one.test: deferred, 4.2.0 {DEMANDED}" in lines
    coming = lines.index("Next:")
    assert lines[coming - 1] == "1970-01-01 00:00:20 UTC  deliveries to two.test: held by the operator: ask legal"
    assert lines[coming + 1].startswith("  ann@one.test: queued; next try 1970-01-01 00:0")
    assert (
        lines[coming + 2]
        == "    notices to the sender: of the delay: if it waits for long; of the failure: if it fails"
    )
    assert lines[coming + 3] == "  cat@two.test: held; waits until you release it; it does not expire"
    assert lines[-1].startswith("  expires in ")
    assert "7BIT, REQUIRETLS" in (await queue.run("trace", "M0")).out


async def test_a_trace_is_json_too(queue: Queue) -> None:
    await queue.defer("M1", ANN)
    await obey(queue.store, OrderKind.RETURN, "M1", at=20)
    story = (await queue.run("trace", "M1", "--json")).data
    assert [event["event"] for event in story["events"]] == ["accepted", "attempt"]
    assert story["events"][1]["reasons"][0]["section"] == "RFC 7672 section 2.2.3"
    [ann] = story["recipients"]
    assert (ann["state"], ann["next"], ann["notices"]) == ("failed", "is not tried again", "of the failure: pending")


async def test_a_story_that_strangers_wrote_moves_no_cursor(queue: Queue) -> None:
    await queue.defer("M1", ANN, text="\x1b[2J\x1b]0;owned\x07 550 no\u202e")
    out = (await queue.run("trace", "M1")).out
    assert not any(bad in out for bad in ("\x1b", "\x07", "\u202e"))
    ran = await queue.run("trace", "M2")
    assert (ran.status, "hint: " in ran.err) == (1, True)
