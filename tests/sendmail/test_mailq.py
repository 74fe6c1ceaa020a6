"""`mailq` against a control server over a store in memory."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.admin.requests import PAGE
from letterlock.mail.addresses import Mailbox
from letterlock.queue.orders import OrderKind
from letterlock.sendmail.mailq import HELP
from tests.cli.queue_server import DEMANDED, Queue, serving
from tests.queue.messages import ANN, BEN, BODY, CAT, envelope
from tests.queue.orders import obey
from tests.sendmail.running import Ran, run

HEADING = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"


async def mailq(directory: Path, *arguments: str, module: str = "mailq", encoding: str = "utf-8") -> Ran:
    config = directory / "mailq.toml"
    config.write_text(f'[queue]\ndirectory = "{directory}"\n')
    return await run(module, *arguments, "-C", str(config), stdin=b"", home=directory, config=None, encoding=encoding)


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        yield queue


async def test_an_empty_queue_says_so(queue: Queue) -> None:
    assert (await mailq(queue.directory)) == Ran(0, "Mail queue is empty\n", "")
    assert (await mailq(queue.directory, "-bp", module="command")).out == "Mail queue is empty\n"


async def test_what_waits_is_printed_as_postfix_does(queue: Queue) -> None:
    await queue.defer("M1", ANN, BEN, text="no route")
    await queue.defer("M2", CAT)
    await queue.store.accept(envelope("M3", CAT, sender=None, expires_at=9e9), BODY, next_attempt_at=9e8)
    ran = await mailq(queue.directory)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        f"{HEADING}"
        f"M1                {len(BODY):>8} Thu Jan  1 00:00:00 sender@from.test\n"
        f"{'(no route)':>78}\n"
        f"{'':<46} ann@one.test\n"
        f"{'':<46} ben@one.test\n"
        "\n"
        f"M2                {len(BODY):>8} Thu Jan  1 00:00:00 sender@from.test\n"
        f"({DEMANDED})\n"
        f"{'':<46} cat@two.test\n"
        "\n"
        f"M3                {len(BODY):>8} Thu Jan  1 00:00:00 MAILER-DAEMON\n"
        f"{'':<46} cat@two.test\n"
        "\n"
        "-- 0 Kbytes in 3 Requests.\n"
    )


async def test_what_is_held_has_a_mark_and_the_reason_of_the_hold(queue: Queue) -> None:
    await queue.defer("M1", ANN, text="no route")
    await queue.accept("M2", CAT)
    await obey(queue.store, OrderKind.HOLD, "M1", reason="ask legal")
    await obey(queue.store, OrderKind.QUARANTINE, "M2")
    lines = (await mailq(queue.directory)).out.splitlines()
    assert lines[1].startswith("M1!  ")
    assert lines[2].strip() == "(ask legal)"
    assert any(line.startswith("M2!  ") for line in lines)


async def test_what_is_tried_just_now_has_a_star_and_octets_of_others_are_made_harmless(queue: Queue) -> None:
    await queue.store.accept(envelope("M1", CAT, expires_at=9e9), BODY, next_attempt_at=0)
    await queue.defer("M2", ANN, text="451 \x1b[2J")
    await queue.store.lease(1e9, limit=10, lease_seconds=60)
    ran = await mailq(queue.directory)
    assert "\nM1* " in ran.out
    assert "(451 ?[2J)" in ran.out


async def test_a_queue_of_several_pages_and_workers_is_printed_whole(queue: Queue) -> None:
    for number in range(PAGE + 1):
        await queue.store.accept(envelope(f"M{number:04}", CAT, expires_at=9e9), BODY, next_attempt_at=9e8)
    other = queue.directory / "worker-2"
    other.mkdir()
    async with serving(other) as second:
        await second.store.accept(envelope("X1", CAT, expires_at=9e9), BODY, next_attempt_at=9e8)
        ran = await mailq(queue.directory)
    assert ran.out.count("cat@two.test") == PAGE + 2
    assert ran.out.endswith(f"-- {((PAGE + 2) * len(BODY) + 512) // 1024} Kbytes in {PAGE + 2} Requests.\n")


async def test_mail_that_could_not_be_taken_over_is_reported_after_the_list_and_status_1_says_that_it_is_missing(
    queue: Queue,
) -> None:
    await queue.accept("M1", CAT)
    folder = queue.directory / "worker-2"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as left:  # by a worker that was killed
        left.bind(os.fspath(folder / "control.sock"))
    queue.problems = {"worker-2": "database is \x1b[2J locked", "worker-3": "file is not a database"}
    for program, arguments, module in (("mailq", (), "mailq"), ("sendmail", ("-bp",), "command")):
        ran = await mailq(queue.directory, *arguments, module=module)
        assert ran.status == 1
        assert ran.out.endswith("cat@two.test\n\n-- 0 Kbytes in 1 Request.\n")
        assert ran.err == (
            f"letterlock-{program}: the mail in the folder worker-2 is not served: database is ?[2J locked\n"
            "the mail in the folder worker-3 is not served: file is not a database\n"
            "  hint: keep the folder; the server takes its mail over by itself once this is repaired\n"
        )


async def test_a_dead_socket_in_the_folder_of_a_worker_is_no_reason_to_fail(queue: Queue) -> None:
    folder = queue.directory / "worker-1"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(folder / "control.sock"))
    assert (await mailq(queue.directory)) == Ran(0, "Mail queue is empty\n", "")


async def test_without_a_server_it_is_ex_unavailable(tmp_path: Path) -> None:
    ran = await mailq(tmp_path)
    assert (ran.status, ran.out) == (69, "")
    assert "no server answers" in ran.err


async def test_help_is_printed(tmp_path: Path) -> None:
    ran = await run("mailq", "--help", stdin=b"", home=tmp_path, config=None)
    assert (ran.status, ran.out, ran.err) == (0, HELP, "")


async def test_an_unknown_option_is_ex_usage(tmp_path: Path) -> None:
    assert (await mailq(tmp_path, "--all")).status == 64


async def test_an_answer_that_is_none_is_ex_protocol(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"nonsense\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_unix_server(talk, os.fspath(tmp_path / "control.sock")):
        assert (await mailq(tmp_path)).status == 76


async def test_what_the_terminal_has_no_character_for_is_shown_as_a_question_mark(queue: Queue) -> None:
    """Input 34."""
    sender = Mailbox("ä", "x.test")
    await queue.store.accept(envelope("M1", CAT, sender=sender, expires_at=9e9), BODY, next_attempt_at=9e8)
    for encoding in ("ascii", "latin-1", "utf-8"):
        ran = await mailq(queue.directory, encoding=encoding)
        assert (ran.status, ran.err) == (0, "")
        assert ("?@x.test" in ran.out) is (encoding == "ascii")
