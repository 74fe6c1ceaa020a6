"""The listener over real loopback sockets: from octets to the store, limits, time-outs, the orderly end."""

import asyncio
import ipaddress
import logging
from contextlib import AsyncExitStack

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType
from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.receive import listener
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from tests.receive.world import ENVELOPE, NOW, Client, World, world

HOSTNAME = "mx.example.org"


async def test_a_message_is_stored_and_then_answered() -> None:
    async with world() as server, server.client() as client:
        assert await client.reply() == b"220 mx.example.org ESMTP Letterlock\r\n"
        assert b"250-PIPELINING\r\n" in await client.ask(b"EHLO client.example\r\n")
        await client.send(ENVELOPE)
        assert [(await client.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        assert await client.ask(b"Subject: x\r\n\r\nhello\r\n.\r\n") == b"250 2.0.0 Ok: queued as ID1\r\n"
        [(envelope, body, next_attempt_at)] = server.store.kept
        assert envelope.id == "ID1"
        assert envelope.reverse_path == Mailbox("ann", "example.org")
        assert envelope.recipients == (Mailbox("bob", "example.net"),)
        assert (envelope.accepted_at, envelope.expires_at, next_attempt_at) == (NOW, NOW + 5 * 86400, NOW)
        assert envelope.size == len(body)
        assert envelope.client == "unknown[127.0.0.1]"
        assert body == (
            b"Received: from client.example ([127.0.0.1])\r\n\tby mx.example.org (Letterlock) with ESMTP id ID1\r\n"
            b"\tfor <bob@example.net>;\r\n\tMon, 21 Sep 2026 14:13:20 +0000\r\nSubject: x\r\n\r\nhello\r\n"
        )
        [(handed_over, content, leases)] = server.delivery.taken
        assert (handed_over, content) == (server.store.kept[0][0], server.store.kept[0][1])
        assert [lease.next_hop for lease in leases] == ["example.net"]
        assert server.store.leases == list(leases), "it is on disk with the lease that delivery holds"
        assert await client.ask(b"QUIT\r\n") == b"221 2.0.0 Bye\r\n"
        assert await client.rest() == b""


async def test_rfc5321_4_2_5_no_250_before_the_store_has_it() -> None:
    async with world() as server, server.client() as client:
        server.store.gate = asyncio.Event()
        await client.start_mail()
        answer = asyncio.create_task(client.ask(b"x\r\n.\r\n"))
        await server.store.entered.wait()
        assert not answer.done()
        server.store.gate.set()
        assert (await answer).startswith(b"250 2.0.0 Ok: queued as ")


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (StoreFailed("disk I/O error"), b"451 4.3.0 The message could not be stored, try again later\r\n"),
        (StoreFull("no space left on device"), b"452 4.3.1 Insufficient system storage\r\n"),
    ],
)
async def test_what_cannot_be_stored_stays_with_the_client(
    fault: Exception, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as server, server.client() as client:
        server.store.fault = fault
        await client.start_mail()
        assert await client.ask(b"x\r\n.\r\n") == answer
        assert server.delivery.taken == []
        assert f"ID1: not accepted from unknown[127.0.0.1]: {fault}" in caplog.text
        server.store.fault = None
        await client.send(ENVELOPE)
        for _ in range(3):
            await client.reply()
        assert (await client.ask(b"x\r\n.\r\n")).startswith(b"250 ")


async def test_octets_above_127_make_the_message_8bitmime() -> None:
    async with world() as server, server.client() as client:
        await client.start_mail()
        await client.ask("grüße\r\n.\r\n".encode())
        assert server.store.kept[0][0].body_type is BodyType.EIGHT_BIT_MIME


async def test_over_ipv6() -> None:
    async with world(host="::1") as server, server.client() as client:
        await client.start_mail()
        await client.ask(b"x\r\n.\r\n")
        envelope, body, _ = server.store.kept[0]
        assert envelope.client == "unknown[::1]"
        assert body.startswith(b"Received: from client.example ([IPv6:::1])\r\n")


async def test_relaying_is_denied_to_strangers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    profile = Profile(relay_networks=(ipaddress.ip_network("192.0.2.0/24"),))
    async with world(profile=profile) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.net>\r\nRCPT TO:<b@[127.0.0.1]>\r\nDATA\r\n")
        answers = [await client.reply() for _ in range(4)]
        assert answers[1] == answers[2] == b"550 5.7.1 Relay access denied\r\n"
        assert answers[3] == b"554 5.5.1 No valid recipients\r\n"
    assert (
        "NOQUEUE: reject: RCPT from unknown[127.0.0.1]: 550 5.7.1 <bob@example.net>: Relay access denied; "
        "from=<> to=<bob@example.net> proto=ESMTP helo=<client.example>"
    ) in caplog.text


async def test_rfc5321_4_5_1_anybody_may_write_to_our_postmaster() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, postmaster=Mailbox("ops", "example.com"))
    async with world(options, Profile(relay_networks=())) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<PostMaster>\r\nDATA\r\n")
        assert [(await client.reply())[:3] for _ in range(4)] == [b"250", b"550", b"250", b"354"]
        assert (await client.ask(b"help\r\n.\r\n")).startswith(b"250 ")
        assert server.store.kept[0][0].recipients == (Mailbox("ops", "example.com"),)


async def test_rfc5321_4_5_3_1_6_longer_lines_pass_unchanged_where_they_are_allowed() -> None:
    line = b"x" * 5_000 + b"\r\n"
    async with (
        world(ReceiveOptions(hostname=HOSTNAME, max_text_line_octets=8_000)) as server,
        server.client() as client,
    ):
        await client.start_mail()
        assert (await client.ask(line + b".\r\n")).startswith(b"250 ")
        assert server.store.kept[0][1].endswith(b"\r\n" + line)


async def test_many_messages_over_many_connections() -> None:
    async with world(ReceiveOptions(hostname=HOSTNAME, max_connections_per_client=200)) as server:

        async def send(number: int) -> None:
            async with server.client() as client:
                await client.start_mail()
                for turn in range(5):
                    content = b"%d/%d\r\n" % (number, turn) * 500
                    more = ENVELOPE if turn < 4 else b"QUIT\r\n"
                    await client.send(content + b".\r\n" + more)
                    replies = [(await client.reply())[:3] for _ in range(4 if turn < 4 else 2)]
                    assert replies[0] == b"250"

        await asyncio.gather(*(send(number) for number in range(150)))
        await server.empty()
        assert len({body for _, body, _ in server.store.kept}) == 750
        assert len({envelope.id for envelope, _, _ in server.store.kept}) == 750


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_connections_beyond_the_cap_are_told_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with world(ReceiveOptions(hostname=HOSTNAME, max_connections=2)) as server:
        async with server.client() as first, server.client() as second:
            assert (await first.reply())[:3] == (await second.reply())[:3] == b"220"
            async with server.client() as third:
                assert await third.rest() == b"421 4.3.2 Too many connections, try again later\r\n"
        await server.empty()
        async with server.client() as fourth:
            assert (await fourth.reply()).startswith(b"220 ")
    assert "NOQUEUE: reject: CONNECT from unknown[127.0.0.1]: 421 4.3.2" in caplog.text


async def test_one_client_cannot_take_all_connections() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, max_connections_per_client=1)
    async with world(options) as server, server.client() as first:
        await first.reply()
        async with server.client() as second:
            assert (await second.rest()).startswith(b"421 4.7.0 Too many connections from your address")


async def test_content_in_memory_is_bounded_over_all_sessions() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, max_inflight_octets=1, max_message_octets=600_000)
    large = b"y\r\n" * 145_000 + b".\r\n"
    async with world(options) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.client()) for _ in range(4)]
        server.store.gate = asyncio.Event()
        for client in clients:
            await client.start_mail()
        answers = []
        for client in clients[:2]:
            server.store.entered.clear()
            answers.append(asyncio.create_task(client.ask(large)))
            await server.store.entered.wait()
        assert (await clients[2].ask(large)).startswith(b"452 4.3.1 ")
        assert (await clients[2].ask(b"MAIL FROM:<> SIZE=400000\r\n")).startswith(b"452 4.3.1 ")
        server.store.gate.set()
        assert [(await answer)[:3] for answer in answers] == [b"250", b"250"]
        assert (await clients[2].ask(b"MAIL FROM:<> SIZE=400000\r\n")).startswith(b"250 ")
        assert (await clients[3].ask(large)).startswith(b"250 ")


async def test_recipients_are_bounded_over_all_sessions_and_given_back() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, max_inflight_octets=1, max_message_octets=10_000)
    recipient = b"RCPT TO:<%d@example.net> ORCPT=rfc822;" + b"o" * 400 + b"\r\n"
    async with world(options) as server, server.client() as one, server.client() as other:
        for client in (one, other):
            await client.reply()
            await client.ask(b"EHLO client.example\r\n")
            await client.ask(b"MAIL FROM:<>\r\n")
        answers = [await one.ask(recipient % number) for number in range(330)]
        assert answers[0].startswith(b"250 ")
        assert answers[-1].startswith(b"452 4.3.1 ")
        assert (await other.ask(recipient % 0)).startswith(b"452 4.3.1 ")
        await one.ask(b"RSET\r\n")
        assert (await other.ask(recipient % 0)).startswith(b"250 ")


async def test_a_message_too_large_is_read_and_refused() -> None:
    async with world(ReceiveOptions(hostname=HOSTNAME, max_message_octets=1024)) as server, server.client() as client:
        await client.start_mail()
        assert await client.ask(b"y\r\n" * 500_000 + b".\r\n") == b"552 5.3.4 Message too large\r\n"
        assert (await client.ask(b"NOOP\r\n")).startswith(b"250 ")


# --- time-outs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"MAIL FR", b"HELP\r\nNOOP\r\nRCPT"])
async def test_rfc5321_4_5_3_2_7_a_silent_client_is_told_and_left(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = ReceiveOptions(hostname=HOSTNAME, command_timeout_seconds=0.05)
    async with world(options) as server, server.client() as client:
        await client.send(sent)
        assert (await client.rest()).endswith(b"421 4.4.2 Time-out; closing\r\n")
        await server.empty()
    assert "timeout after" in caplog.text
    assert "disconnect from unknown[127.0.0.1]" in caplog.text


async def test_a_client_that_stalls_in_content_is_told_and_left() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, command_timeout_seconds=0.1)
    async with world(options) as server, server.client() as client:
        await client.start_mail()
        await client.send(b"half a message\r\n")
        assert await client.rest() == b"421 4.4.2 Time-out; closing\r\n"
        assert server.store.kept == []


async def _trickle(client: Client, octets: bytes) -> bytes:
    """Send the octets again and again, with never a long silence, until the server has enough."""
    rest = asyncio.create_task(client.rest())
    while not rest.done():
        await client.send(octets)
        await asyncio.wait([rest], timeout=0.02)
    return await rest


async def test_a_client_that_trickles_a_command_gains_no_time() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, command_timeout_seconds=0.3)
    async with world(options) as server, server.client() as client:
        await client.reply()
        assert await _trickle(client, b"x") == b"421 4.4.2 Time-out; closing\r\n"


async def test_a_client_that_trickles_content_is_left_at_the_messages_deadline() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, message_timeout_seconds=0.3)
    async with world(options) as server, server.client() as client:
        await client.start_mail()
        assert await _trickle(client, b"x\r\n") == b"421 4.4.2 Time-out; closing\r\n"


async def test_a_client_that_reads_nothing_is_left() -> None:
    options = ReceiveOptions(hostname=HOSTNAME, command_timeout_seconds=0.2, max_idle_commands=1_000_000)
    async with world(options) as server, server.client() as client:
        await client.reply()
        client.stop_reading()
        client.writer.write(b"HELP\r\n" * 1_000_000)
        await server.empty()


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_a_client_that_goes_away_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with world() as server:
        async with server.client() as client:
            await client.start_mail()
            await client.send(b"half a message")
        await server.empty()
        assert server.store.kept == []
    assert "lost connection after DATA from unknown[127.0.0.1]" in caplog.text


async def test_stop_lets_a_transaction_end_and_says_421_to_the_others() -> None:
    async with world() as server, server.client() as busy, server.client() as idle:
        await busy.start_mail()
        await idle.reply()
        stopping = asyncio.create_task(server.listener.stop(30))
        assert await idle.rest() == b"421 4.3.2 Shutting down; try again later\r\n"
        await busy.send(b"x\r\n.\r\n")
        assert await busy.rest() == (b"250 2.0.0 Ok: queued as ID1\r\n421 4.3.2 Shutting down; try again later\r\n")
        await stopping
        assert len(server.store.kept) == 1
        assert server.listener.connections == 0


async def test_stop_waits_for_nobody_longer_than_the_grace() -> None:
    async with world() as server, server.client() as busy:
        await busy.start_mail()
        await server.listener.stop(0.05)
        assert await busy.rest() == b"421 4.3.2 Shutting down; try again later\r\n"


@pytest.mark.slow
async def test_stop_does_not_wait_for_a_store_that_hangs() -> None:
    async with world() as server, server.client() as client:
        server.store.gate = asyncio.Event()
        await client.start_mail()
        await client.send(b"x\r\n.\r\n")
        await server.store.entered.wait()
        await server.listener.stop(0)
        assert await client.rest() == b"", "no 250 for what is not on disk"


async def test_stop_accepts_no_more_connections() -> None:
    async with AsyncExitStack() as stack:
        server: World = await stack.enter_async_context(world())
        await server.listener.stop(0)
        client = await stack.enter_async_context(server.client())
        client.writer.write(b"QUIT\r\n")
        assert server.listener.connections == 0


async def test_a_fault_of_our_own_ends_one_session_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as server:
        async with server.client() as client:
            server.store.fault = RuntimeError("a bug")
            await client.start_mail()
            await client.send(b"x\r\n.\r\n")
            assert await client.rest() == b""
        await server.empty()
        async with server.client() as client:
            assert (await client.reply()).startswith(b"220 ")
    assert "internal error: a session with" in caplog.text


@pytest.mark.parametrize("introduction", [b"", b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 25\r\n"])
async def test_a_bug_at_the_beginning_of_a_session_keeps_nobody_else_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, introduction: bytes
) -> None:
    """The task that accepts ended with it, and the server was deaf without a word in its log."""
    options = ReceiveOptions(hostname=HOSTNAME, max_connections=1)
    proxies = (ipaddress.ip_network("127.0.0.0/8"),) if introduction else ()
    async with world(options, Profile(proxies=proxies)) as server:
        with monkeypatch.context() as patched:
            patched.setattr(listener, "Session", lambda *_, **__: 1 / 0)
            async with server.client() as client:
                await client.send(introduction)
                assert await client.rest() == b""
        async with server.client() as client:
            await client.send(introduction)
            assert (await client.reply()).startswith(b"220 ")
    assert "internal error: a connection was closed" in caplog.text
