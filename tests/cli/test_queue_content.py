"""`letterlock queue show --message`: safe for a terminal, exact for a file, and for the queue's owner only."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.admin.transfers import MAX_HEADER_OCTETS, header_of
from letterlock.queue.folders import CONTROL_SOCKET
from tests import warm_start
from tests.cli.queue_server import Queue, serving
from tests.queue.messages import envelope

HEADER = b"Subject: \x1b[2Jhello\xff\r\n\tfolded \xe2\x80\xae\r\nX-Caf\xc3\xa9: \x9b31m\r\n"
HOSTILE = HEADER + b"\r\nsecret\x07 body \xc3\xa4\r\n.\r\n"


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with serving(tmp_path) as queue:
        await queue.store.accept(envelope("M1", expires_at=9e9), HOSTILE, next_attempt_at=8e9)
        yield queue


async def test_the_header_is_shown_and_nothing_in_it_acts_on_a_terminal(queue: Queue) -> None:
    ran = await queue.run("show", "M1", "--message")
    assert ran.status == 0
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == ["Subject", r"\tfolded \u202e", "X-Café"]
    assert "secret" not in ran.out
    assert all(character.isprintable() or character == "\n" for character in ran.out)


async def test_the_whole_message_is_shown_on_request(queue: Queue) -> None:
    ran = await queue.run("show", "M1", "--message", "--full")
    assert ran.out.endswith("\nsecret\\x07 body ä\n.\n")
    _, screen = await queue.on_terminal("", "show", "M1", "--message", "--full")
    assert not any(bad in screen for bad in ("\x1b[2J", "\x9b", "\x07", "\u202e"))


async def test_raw_is_every_byte_and_not_for_a_terminal(queue: Queue) -> None:
    ended = await warm_start.command(*queue.command("show", "M1", "--message", "--full", "--raw"))
    assert ended.out == HOSTILE
    status, screen = await queue.on_terminal("", "show", "M1", "--message", "--raw")
    assert (status, "for a file or a pipe" in screen) == (2, True)


async def test_json_has_the_fields_and_on_request_the_bytes(queue: Queue) -> None:
    found = (await queue.run("show", "M1", "--message", "--json")).data
    assert found["id"] == "M1"
    assert found["header"] == [["Subject", "\x1b[2Jhello\\xff\tfolded \u202e"], ["X-Café", "\\x9b31m"]]
    assert "content" not in found
    found = (await queue.run("show", "M1", "--message", "--full", "--json")).data
    assert base64.b64decode(found["content"]) == HOSTILE


async def test_what_cannot_be_shown_is_an_error(queue: Queue) -> None:
    for arguments in (("--full",), ("--raw",), ("--message", "--raw", "--json")):
        assert (await queue.run("show", "M1", *arguments)).status == 2
    assert (await queue.run("show", "M2", "--message")).status == 1


async def test_only_the_owner_of_the_queue_may_ask(queue: Queue) -> None:
    assert (queue.directory / CONTROL_SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b"", b""),
        (b"A: b\r\n\r\nbody", b"A: b\r\n"),
        (b"\r\nbody\r\n\r\nmore", b""),
        (b"no end", b"no end"),
        (b"A" * 400_000, b"A" * MAX_HEADER_OCTETS),
    ],
)
def test_the_header_ends_with_its_blank_line(content: bytes, header: bytes) -> None:
    assert header_of(content) == header
