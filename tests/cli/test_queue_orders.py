"""`letterlock queue hold`, `quarantine`, `release`, `retry`, `remove` and `flush`, as their user runs them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.queue.orders import OrderKind
from tests.cli.queue_server import Queue, serving
from tests.queue.messages import ANN, CAT
from tests.queue.orders import obey


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        yield queue


async def test_one_message_is_held_released_retried_and_removed(queue: Queue) -> None:
    await queue.defer("M1", ANN)
    for verb, done in (("hold", "held"), ("release", "released"), ("quarantine", "quarantined"), ("release", "")):
        ran = await queue.run(verb, "M1")
        assert (ran.status, ran.out) == (0, "")
        assert ran.err.startswith(f"1 message {done}")
    assert (await queue.run("retry", "M1", "--json")).data == {"changed": 1, "ids": ["M1"]}
    assert queue.woken == 5
    assert [each["order"] for each in (await queue.run("show", "M1", "--json")).data["orders"]] == [
        "hold",
        "release",
        "quarantine",
        "release",
    ]
    assert (await queue.run("remove", "M1")).err == "1 message removed\n"
    assert await queue.states() == {}


async def test_what_cannot_be_changed_is_named(queue: Queue) -> None:
    await queue.accept("M1", ANN)
    ran = await queue.run("release", "M1", "M2")
    assert ran.status == 1
    assert "0 messages released\n" in ran.err
    assert "not released: M1, M2: no such message, or nothing to change\n  hint: " in ran.err
    ran = await queue.run("hold", "M1", "M2", "--json")
    assert (ran.status, ran.data) == (1, {"changed": 1, "ids": ["M1"]})


async def test_the_reason_of_a_hold_is_kept(queue: Queue) -> None:
    await queue.accept("M1", ANN, CAT)
    assert (await queue.run("hold", "M1", "--domain", "two.test", "--because", "ask legal")).status == 0
    [ann, cat] = (await queue.run("show", "M1", "--json")).data["recipients"]
    assert (ann["state"], cat["state"], cat["held_because"]) == ("queued", "held", "ask legal")
    for reason in ("", "a\nb", "\x1b[2J", "x" * 201):
        assert (await queue.run("hold", "M1", "--because", reason)).status == 2


async def test_filters_say_which_ones_are_meant(queue: Queue) -> None:
    await queue.accept("M1", ANN)
    await queue.accept("M2", CAT)
    await queue.accept("M3", ANN, CAT)
    assert (await queue.run("hold", "--domain", "one.test", "--json")).data == {"changed": 2, "ids": ["M1", "M3"]}
    assert await queue.states() == {"M1": ["held"], "M2": ["queued"], "M3": ["held", "queued"]}
    assert (await queue.run("hold", "M1", "M2", "--sender", "from.test", "--state", "waiting")).status == 1
    assert await queue.states() == {"M1": ["held"], "M2": ["held"], "M3": ["held", "queued"]}
    assert (await queue.run("release", "--all")).err == "3 messages released\n"
    assert (await queue.run("retry", "--reason", "no such reason")).err == "0 messages due now\n"


async def test_all_that_is_held_is_not_what_is_in_quarantine(queue: Queue) -> None:
    await queue.accept("M1", ANN)
    await queue.accept("M2", ANN, CAT)
    await obey(queue.store, OrderKind.QUARANTINE, "M1")
    await obey(queue.store, OrderKind.QUARANTINE, "M2", next_hop="two.test")
    await obey(queue.store, OrderKind.HOLD, "M2", next_hop="one.test")
    assert (await queue.run("release", "--domain", "one.test")).err == "1 message released\n"
    assert (await queue.run("release", "--all")).err == "0 messages released\n"
    assert await queue.states() == {"M1": ["quarantined"], "M2": ["queued", "quarantined"]}
    assert (await queue.run("release", "--state", "quarantined")).err == "2 messages released\n"
    assert (await queue.run("release", "--state", "waiting")).status == 2


@pytest.mark.parametrize("verb", ["retry", "hold", "quarantine", "release", "remove"])
async def test_nothing_is_changed_when_nothing_was_named(queue: Queue, verb: str) -> None:
    await queue.accept("M1", ANN)
    for arguments in ((), ("--all", "--domain", "one.test"), ("--all", "M1")):
        assert (await queue.run(verb, *arguments)).status == 2
    assert await queue.states() == {"M1": ["queued"]}


async def test_without_a_terminal_many_are_removed_only_with_yes(queue: Queue) -> None:
    await queue.accept("M1", ANN)
    ran = await queue.fed("", "remove", "--all")
    assert (ran.status, "--yes" in ran.err) == (2, True)
    assert await queue.states() == {"M1": ["queued"]}
    assert (await queue.fed("", "remove", "--all", "--yes")).err == "1 message removed\n"


async def test_on_a_terminal_it_asks_with_the_count(queue: Queue) -> None:
    await queue.accept("M1", ANN)
    await queue.accept("M2", ANN)
    status, screen = await queue.on_terminal("n\n", "hold", "--all")
    assert (status, "Hold 2 messages? [y/N]" in screen) == (1, True)
    assert await queue.states() == {"M1": ["queued"], "M2": ["queued"]}
    status, screen = await queue.on_terminal("y\n", "remove", "--domain", "one.test")
    assert (status, "Without notice, remove 2 messages?" in screen) == (0, True)
    assert await queue.states() == {}
    status, screen = await queue.on_terminal("", "hold", "--all")
    assert (status, "0 messages held" in screen) == (0, True), "there is nothing to ask"


async def test_long_work_has_a_bar_on_a_terminal_and_not_in_a_pipe(queue: Queue) -> None:
    names = [f"M{number:04}" for number in range(2_100)]
    for name in names:
        await queue.accept(name, ANN)
    status, screen = await queue.on_terminal("", "hold", "--all", "--yes")
    assert (status, "100%" in screen, "2,100 messages held" in screen) == (0, True, True)
    ran = await queue.run("release", "--all", "--json")
    assert ran.err == ""
    assert ran.data == {"changed": 2_100, "ids": names}


async def test_removed_messages_can_be_returned_to_their_senders(queue: Queue) -> None:
    await queue.accept("M1", ANN, CAT)
    ran = await queue.run("remove", "M1", "--bounce", "--domain", "two.test", "--because", "twice")
    assert ran.err == "1 message returned to their senders\n"
    [notice] = await queue.store.due_notices(limit=10)
    assert [(each.recipient, each.status, each.text) for each in notice.outcomes] == [
        (CAT, "5.0.0", "removed by the operator: twice")
    ]
    assert await queue.states() == {"M1": ["queued", "failed"]}


async def test_flush_makes_what_waits_due_and_forgives(queue: Queue) -> None:
    await queue.defer("M1", ANN)
    await queue.defer("M2", CAT)
    await queue.accept("M3", CAT)
    await obey(queue.store, OrderKind.HOLD, "M3")
    assert (await queue.run("flush", "--domain", "TWO.test")).err == "1 message due now\n"
    assert (await queue.run("flush", "--json")).data == {"changed": 2, "ids": ["M1", "M2"]}
    assert queue.forgiven == ["two.test", None]
    due = await queue.store.lease(queue.clock.now(), limit=10, lease_seconds=60)
    assert sorted(each.lease.message_id for each in due) == ["M1", "M2"], "what is held stays held"


async def test_ids_that_are_none_move_no_cursor_and_change_nothing(queue: Queue) -> None:
    await queue.accept("M1", ANN)
    ran = await queue.run("remove", "\x1b[2J\x07", "M1\u202e", "M" * 5_000, "' OR '1'='1", "*")
    assert ran.status == 1
    assert not any(bad in ran.err for bad in ("\x1b", "\x07", "\u202e"))
    assert await queue.states() == {"M1": ["queued"]}
    for verb in ("show", "trace"):
        assert (await queue.run(verb, "\x1b[2J")).status == 1
    for arguments in (("--sender", "\x1b"), ("--reason", "\n"), ("--reason", "x" * 2_000)):
        assert (await queue.run("hold", *arguments)).status == 1


async def test_ten_thousand_ids_come_on_standard_input(queue: Queue) -> None:
    names = [f"M{number:05}" for number in range(10_000)]
    for name in names[::100]:
        await queue.accept(name, ANN)
    ran = await queue.fed("\n".join([*names, *names, ""]), "hold", "-")
    assert ran.status == 1
    assert "100 messages held\n" in ran.err
    assert "not held: M00001, M00002" in ran.err
    assert "and 9,890 more" in ran.err
    assert (await queue.fed("", "hold", "-")).err == "0 messages held\n"
