"""Servers that are none, refuse, stall or vanish at each step: how the command ends, and where the message is."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.sendmail import session
from letterlock.sendmail.exits import Failure
from tests.sendmail.running import Ran, run, write_config

OFFER = "250-s.example\r\n250 8BITMIME"
ACCEPTING = ["220 s.example", OFFER, "250 ok", "250 ok", "354 go", "250 ok", "221 bye"]


@contextlib.asynccontextmanager
async def scripted(replies: list[str]) -> AsyncIterator[tuple[str, int]]:
    """A server that says these, one for each command, whatever the command; then it hangs up."""

    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        talks.add(me)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            for number, reply in enumerate(replies):
                if number:
                    await reader.readuntil(b"\r\n.\r\n" if replies[number - 1].startswith("354") else b"\r\n")
                writer.write(reply.encode() + b"\r\n")
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield host, port
        await asyncio.gather(*talks)


async def send_to(replies: list[str], tmp_path: Path, *arguments: str) -> tuple[Ran, int]:
    """How the command ends, and how many messages it kept."""
    async with scripted(replies) as address:
        config = write_config(tmp_path, address)
        ran = await run(
            "command", *arguments, "bob@example.net", stdin=b"Subject: s\n\nhi\n", home=tmp_path, config=config
        )
    return ran, len(list((tmp_path / ".local" / "state" / "letterlock-unsent").glob("*")))


async def test_an_accepting_server_takes_it(tmp_path: Path) -> None:
    ran, kept = await send_to(ACCEPTING, tmp_path)
    assert (ran.status, ran.err, kept) == (0, "", 0)


@pytest.mark.parametrize("step", range(6))
async def test_a_server_that_vanishes_is_ex_tempfail_and_the_message_is_kept(tmp_path: Path, step: int) -> None:
    ran, kept = await send_to(ACCEPTING[:step], tmp_path)
    assert (ran.status, kept) == (75, 1)
    assert ("may have been accepted" in ran.err) == (step == 5)


async def test_a_server_that_vanishes_after_its_250_has_the_message(tmp_path: Path) -> None:
    ran, kept = await send_to(ACCEPTING[:6], tmp_path)
    assert (ran.status, kept) == (0, 0)


@pytest.mark.parametrize("step", range(6))
async def test_a_refusal_for_now_at_any_step_keeps_the_message(tmp_path: Path, step: int) -> None:
    ran, kept = await send_to([*ACCEPTING[:step], "451 4.3.0 later\x1b[2J", "250 ok"], tmp_path)
    assert (ran.status, kept) == (75, 1)
    assert "451 4.3.0 later?[2J" in ran.err


@pytest.mark.parametrize(
    ("step", "reply", "status"),
    [
        (0, "554 no", 69),
        (2, "550 5.1.8 bad sender", 67),
        (2, "552 too large", 65),
        (3, "550 no such user", 67),
        (3, "550 5.7.1 relaying denied", 77),
        (4, "554 no", 69),
        (5, "554 5.6.0 bad content", 65),
        (5, "550 5.7.1 policy", 77),
    ],
)
async def test_a_refusal_for_good_says_what_kind_and_keeps_nothing(
    tmp_path: Path, step: int, reply: str, status: int
) -> None:
    ran, kept = await send_to([*ACCEPTING[:step], reply, "250 ok", "250 ok"], tmp_path)
    assert (ran.status, kept, reply in ran.err) == (status, 0, True)


@pytest.mark.parametrize(
    "nonsense", ["SSH-2.0-x", "", "999 what", "2²0 hi", "250-x\r\n" * 200 + "250 x", "220 " + "x" * 9999]
)
async def test_what_is_no_smtp_server_is_ex_protocol(tmp_path: Path, nonsense: str) -> None:
    ran, kept = await send_to([nonsense, "250 x", "250 x"], tmp_path)
    assert (ran.status, kept) == (76, 1)
    assert "no SMTP server" in ran.err


async def test_dsn_and_8bit_need_their_offers(tmp_path: Path) -> None:
    ran, kept = await send_to(ACCEPTING, tmp_path, "-N", "never")
    assert (ran.status, kept) == (69, 0)
    assert "offers DSN" in ran.err


async def test_rfc6531_an_address_that_is_not_ascii_goes_where_smtputf8_is_offered(tmp_path: Path) -> None:
    replies = [ACCEPTING[0], "250-s\r\n250-SMTPUTF8\r\n250 8BITMIME", *ACCEPTING[2:]]
    ran, _ = await send_to(replies, tmp_path, "-f", "änn@example.org", "-v")
    assert ran.status == 0
    assert "SMTPUTF8\n" in ran.err


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECT_SECONDS", "REPLY_SECONDS", "FINAL_REPLY_SECONDS"):
        monkeypatch.setattr(session, name, 0.2)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("trickled", [b"", b"2", b"250-a\r\n"])
def test_a_server_that_hangs_or_trickles_is_waited_for_a_bounded_time(trickled: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()[:2]
        talk = session.SubmissionSession((f"{host}:{port}",))
        accepted, _ = server.accept()
        stop = threading.Event()

        def trickle() -> None:
            while trickled and not stop.wait(0.02):
                with contextlib.suppress(OSError):
                    accepted.send(trickled)

        thread = threading.Thread(target=trickle)
        thread.start()
        with accepted, contextlib.ExitStack() as at_last:
            at_last.callback(talk.close)
            at_last.callback(thread.join)
            at_last.callback(stop.set)
            with pytest.raises((session.Lost, Failure)):
                talk.greet("host.example")
