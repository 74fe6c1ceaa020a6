"""Questions to a socketmap server: answers, failures, and connections that end between two questions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.lookups import socketmap_link
from letterlock.lookups.queries import LookupFailed
from letterlock.lookups.socketmap_link import SocketmapLink
from letterlock.mail.addresses import Mailbox
from letterlock.net.service_address import ServiceAddress
from letterlock.recipients.directory import TableFailed
from letterlock.recipients.targets import Name
from letterlock.socketmap.netstrings import NetstringReader, netstring
from letterlock.socketmap.questions import BadReply, TemporaryReply, read_reply
from letterlock.tables.socketmap_table import SocketmapTable


@dataclass
class FakeMap:
    """Answers questions with octets; `each` questions are answered by a connection, then it ends."""

    answer: Callable[[bytes], bytes]
    each: int = 1000
    connections: int = 0
    asked: list[bytes] = field(default_factory=list)
    serving: set[asyncio.Task[Any]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        self.connections += 1
        questions = NetstringReader()
        left = self.each
        while left and (data := await reader.read(4096)):
            for question in questions.feed(data):
                self.asked.append(question)
                writer.write(self.answer(question))
                left -= 1
        writer.close()


@contextlib.asynccontextmanager
async def served(tmp_path: Path, fake: FakeMap) -> AsyncIterator[SocketmapLink]:
    path = tmp_path / "map"
    server = await asyncio.start_unix_server(fake.serve, path)
    link = SocketmapLink(ServiceAddress(str(path)).connect, f"unix:{path}", "virtual")
    try:
        yield link
    finally:
        link.close()
        server.close()
        await server.wait_closed()
        if fake.serving:
            await asyncio.wait(fake.serving)


def virtual(question: bytes) -> bytes:
    found = {b"virtual info@example.org": b"OK ann, bob@example.net", b"virtual ann@example.org": b"OK "}
    return netstring(found.get(question, b"NOTFOUND "))


async def test_a_map_is_a_table(tmp_path: Path) -> None:
    fake = FakeMap(virtual)
    async with served(tmp_path, fake) as link:
        table = SocketmapTable("map", link)
        assert await table.find("info@example.org") == (Name("ann"), Mailbox("bob", "example.net"))
        assert await table.find("ann@example.org") == ()
        assert await table.find("eve@example.org") is None
        assert await table.find("x" * 20_000) is None
    assert fake.connections == 1
    assert len(fake.asked) == 3


async def test_a_connection_that_ended_meanwhile_is_made_again(tmp_path: Path) -> None:
    fake = FakeMap(virtual, each=1)
    async with served(tmp_path, fake) as link:
        assert [await link.find("ann@example.org") for _ in range(3)] == ["", "", ""]
    assert fake.connections == 3


async def test_many_at_once_get_their_own_answers(tmp_path: Path) -> None:
    fake = FakeMap(lambda question: netstring(b"OK " + question))
    async with served(tmp_path, fake) as link:
        found = await asyncio.gather(*(link.find(str(number)) for number in range(20)))
    assert found == [f"virtual {number}" for number in range(20)]
    assert fake.connections == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (netstring(b"TEMP the database is away"), "the database is away"),
        (netstring(b"TIMEOUT "), "TIMEOUT"),
        (netstring(b"PERM bad\nmap"), r"bad\?map"),
        (netstring(b"WHAT"), "a reply that is neither"),
        (netstring(b"OK \xff"), "not UTF-8"),
        (netstring(b"OK a") + netstring(b"OK b"), "more than it was asked"),
        (b"rubbish", "no length in digits"),
        (b"9999999:", "no length|longer than"),
        (b"", "closed the connection"),
        (b"5:OK", "closed the connection"),
    ],
)
async def test_a_map_that_fails_is_no_empty_table(tmp_path: Path, answer: bytes, why: str) -> None:
    async with served(tmp_path, FakeMap(lambda question: answer, each=1)) as link:
        with pytest.raises(TableFailed, match=f"table map: unix:.*{why}"):
            await SocketmapTable("map", link).find("ann@example.org")


async def test_a_server_that_is_away_or_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = SocketmapLink(ServiceAddress(str(tmp_path / "none")).connect, "unix:none", "virtual")
    with pytest.raises(LookupFailed, match="unix:none: No such file"):
        await away.find("x")
    monkeypatch.setattr(socketmap_link, "MAX_SECONDS", 0.02)
    async with served(tmp_path, FakeMap(lambda question: b"")) as link:
        with pytest.raises(LookupFailed, match="no answer within"):
            await link.find("x")


async def test_a_connection_that_nobody_needs_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketmap_link, "IDLE_SECONDS", 0.0)
    fake = FakeMap(virtual)
    async with served(tmp_path, fake) as link:
        await link.find("x")
        await asyncio.wait(fake.serving)
        assert await link.find("ann@example.org") == ""
    assert fake.connections == 2


@given(st.binary(max_size=60))
def test_whatever_comes_is_a_reply_or_none(frame: bytes) -> None:
    for each in (frame, b"OK " + frame, b"TEMP " + frame):
        try:
            found = read_reply(each)
        except (BadReply, TemporaryReply):
            continue
        assert found is None or isinstance(found, str)
