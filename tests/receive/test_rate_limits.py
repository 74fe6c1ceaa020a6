"""Limits on what may be sent in a time: whose mail counts together, what is said, and the tarpit."""

import asyncio
from pathlib import Path

import pytest

from letterlock.mail.checked_content import PIECE_OCTETS
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Facts
from letterlock.receive.rate_limits import LimitRates, Per, RateLimit
from letterlock.receive.relay import LOOPBACK
from letterlock.smtp.server_events import SenderOffered
from letterlock.state.rate_file import RateFile
from tests.receive.world import ENVELOPE, World, world

HOUR = 3600.0


def limited(limit: RateLimit) -> ReceiveOptions:
    return ReceiveOptions(hostname="mx.example.org", rate_limits=(limit,))


async def send(running: World, *recipients: bytes, messages: int = 1) -> list[bytes]:
    """The replies that count: of MAIL or, if it was accepted, of each RCPT and of the message."""
    replies = []
    async with running.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        for _ in range(messages):
            reply = await client.ask(b"MAIL FROM:<ann@example.org>\r\n")
            if not reply.startswith(b"250"):
                replies.append(reply)
                if reply.startswith(b"421"):
                    break
                continue
            said = [await client.ask(b"RCPT TO:<" + each + b">\r\n") for each in recipients or (b"bob@example.net",)]
            replies += said
            if any(each.startswith(b"250") for each in said):
                await client.ask(b"DATA\r\n")
                replies.append(await client.ask(b"Subject: x\r\n\r\n" + b"x" * 900 + b"\r\n.\r\n"))
            else:
                await client.ask(b"RSET\r\n")
    return replies


@pytest.mark.parametrize(
    ("limit", "messages", "recipients", "last"),
    [
        ({"messages": 2}, 3, (b"bob@example.net",), b"450 4.7.1 Too many messages"),
        ({"recipients": 2}, 1, (b"a@b.test", b"b@b.test", b"c@b.test"), b"450 4.7.1 Too many recipients"),
        ({"octets": 2000}, 3, (b"bob@example.net",), b"450 4.7.1 Too much mail"),
    ],
)
async def test_each_limit_has_a_reply_a_log_line_and_a_counter(
    limit: dict[str, int],
    messages: int,
    recipients: tuple[bytes, ...],
    last: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = limited(RateLimit(name="few", per=Per.CLIENT, window_seconds=HOUR, **limit))  # type: ignore[arg-type]
    with caplog.at_level("INFO"):
        async with world(options, rates=RateFile(None, "")) as running:
            replies = await send(running, *recipients, messages=messages)
            assert [each for each in replies if each.startswith(b"450")] == [replies[-2 if recipients[1:] else -1]]
            assert any(each.startswith(last) for each in replies)
            assert sum(running.listener.counts.limits.values()) == 1
    assert "limit few: " in caplog.text
    assert "of 127.0.0.1/32: too much for" in caplog.text


async def test_connections_are_counted_when_they_bring_mail() -> None:
    options = limited(RateLimit(name="few", per=Per.CLIENT, window_seconds=HOUR, connections=2))
    async with world(options, rates=RateFile(None, "")) as running:
        assert (await send(running, messages=5))[-1].startswith(b"250")
        assert (await send(running))[-1].startswith(b"250")
        assert (await send(running))[-1].startswith(b"421 4.7.0")


async def test_two_listeners_with_one_file_count_together(tmp_path: Path) -> None:
    options = limited(RateLimit(name="few", per=Per.CLIENT, window_seconds=HOUR, messages=2))
    files = [RateFile(tmp_path / "rates", "boot") for _ in range(2)]
    async with world(options, rates=files[0]) as one, world(options, rates=files[1]) as two:
        assert (await send(one))[-1].startswith(b"250")
        assert (await send(two))[-1].startswith(b"250")
        assert (await send(one))[-1].startswith(b"450")
        assert (await send(two))[-1].startswith(b"450")


async def test_a_tarpit_waits_and_then_accepts() -> None:
    limit = RateLimit(name="slow", per=Per.CLIENT, window_seconds=0.2, messages=1, delay_seconds=1.0)
    async with world(limited(limit), rates=RateFile(None, ""), moving=True) as running:
        started = asyncio.get_running_loop().time()
        replies = await send(running, messages=2)
        assert all(each.startswith(b"250") for each in replies)
        assert asyncio.get_running_loop().time() - started >= 0.15


async def test_exempt_clients_are_not_counted() -> None:
    options = limited(RateLimit(name="few", per=Per.CLIENT, window_seconds=HOUR, messages=1, exempt=LOOPBACK))
    async with world(options, rates=RateFile(None, "")) as running:
        assert all(each.startswith(b"250") for each in await send(running, messages=5))


def facts(client: str, user: str | None = None) -> Facts:
    return Facts(client=client, client_label=client, user=user)


@pytest.mark.parametrize(
    ("per", "one", "other", "together"),
    [
        (Per.CLIENT, facts("192.0.2.1"), facts("192.0.2.2"), False),
        (Per.NETWORK, facts("192.0.2.1"), facts("192.0.2.2"), True),
        (Per.CLIENT, facts("2001:db8::1"), facts("2001:db8::ffff"), True),
        (Per.CLIENT, facts("2001:db8::1"), facts("2001:db8:0:1::1"), False),
        (Per.NETWORK, facts("2001:db8::1"), facts("2001:db8:0:1::1"), True),
        (Per.USER, facts("192.0.2.1", "ann"), facts("203.0.113.9", "ann"), True),
        (Per.USER, facts("192.0.2.1", "ann"), facts("192.0.2.1", "bob"), False),
        (Per.USER, facts("192.0.2.1"), facts("192.0.2.1"), False),
    ],
)
async def test_whose_mail_is_counted_together(per: Per, one: Facts, other: Facts, together: bool) -> None:
    limit = RateLimit(name="few", per=per, window_seconds=HOUR, messages=1)
    step = LimitRates((limit,), RateFile(None, ""), lambda: 0.0)
    assert await step.sender(one, SenderOffered(None, None)) is None
    assert (await step.sender(other, SenderOffered(None, None)) is not None) is together


async def test_the_octets_of_a_large_message_count_whole_and_not_only_its_header() -> None:
    options = limited(RateLimit(name="few", per=Per.CLIENT, window_seconds=HOUR, octets=100_000))
    async with world(options, rates=RateFile(None, "")) as running, running.client() as client:
        body = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (2 * PIECE_OCTETS // 72) + b".\r\n"
        await client.start_mail()
        assert (await client.ask(body)).startswith(b"250")  # one that is larger than the limit counts as all of it
        await client.send(ENVELOPE)
        assert [(await client.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        assert (await client.ask(body)).startswith(b"450 4.7.1 Too much mail")
