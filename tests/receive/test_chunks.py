"""BDAT and SMTPUTF8 through the listener: to the store, within the memory that all sessions share, and in time."""

import asyncio

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.receive.options import ReceiveOptions
from tests.receive.world import Client, World, world

OPENING = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\n"
HOSTNAME = "mx.example.org"


async def greeted(client: Client) -> None:
    await client.reply()
    await client.ask(b"EHLO client.example\r\n")


async def codes(client: Client, count: int) -> list[bytes]:
    return [(await client.reply())[:3] for _ in range(count)]


def body(server: World) -> bytes:
    [(_, content, _)] = server.store.kept
    return content.partition(b"\r\nSubject: ")[2]


async def test_a_group_with_envelope_and_message_is_stored_before_its_250() -> None:
    async with world() as server, server.client() as client:
        await greeted(client)
        server.store.gate = asyncio.Event()
        await client.send(OPENING + b"BDAT 17 LAST\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
        await server.store.entered.wait()
        server.store.gate.set()
        assert await codes(client, 4) == [b"250", b"250", b"250", b"221"]
        assert body(server) == b"x\r\n\r\n.\r\n"


async def test_many_chunks_in_many_reads_are_one_message() -> None:
    async with world() as server, server.client() as client:
        await greeted(client)
        await client.send(OPENING)
        assert await codes(client, 2) == [b"250", b"250"]
        assert (await client.ask(b"BDAT 12\r\nSubject: x\r\n")).startswith(b"250")
        for _ in range(20):
            assert await chunk(client) == b"250"
        assert (await client.ask(b"BDAT 0 LAST\r\n")).startswith(b"250 2.0.0 Ok: queued")
        assert body(server).count(b"x" * 500 + b"\r\n") == 20


async def chunk(client: Client) -> bytes:
    return (await client.ask(b"BDAT 502\r\n" + b"x" * 500 + b"\r\n"))[:3]


async def chunks(client: Client, octets: int) -> list[bytes]:
    """The answers to chunks of this size in all, one after the other up to a refusal."""
    await client.send(OPENING)
    assert await codes(client, 2) == [b"250", b"250"]
    answers = [b"250"]
    while answers[-1] == b"250" and 502 * len(answers) < octets:
        answers.append(await chunk(client))
    return answers


async def test_the_octets_of_small_chunks_count_as_memory_that_all_sessions_share() -> None:
    """Though none of these chunks is still unfinished when it is read."""
    options = ReceiveOptions(hostname=HOSTNAME, max_message_octets=600_000, max_inflight_octets=1)
    async with world(options) as server, server.client() as first, server.client() as other, server.client() as second:
        for client in (first, other, second):
            await greeted(client)
        assert b"452" not in await chunks(first, 520_000)
        assert b"452" not in await chunks(other, 520_000)
        assert (await chunks(second, 520_000))[-1] == b"452"
        assert await chunk(second) == b"503", "the transaction is over"
        await first.ask(b"RSET\r\n")
        assert b"452" not in await chunks(second, 520_000)
        assert (await second.ask(b"BDAT 0 LAST\r\n")).startswith(b"250")
        assert len(server.store.kept) == 1


@pytest.mark.parametrize("before", [b"BDAT 100 LAST\r\nSubj", b"BDAT 4\r\nSubj"])
async def test_a_client_that_leaves_or_sleeps_in_the_middle_leaves_no_message(before: bytes) -> None:
    options = ReceiveOptions(hostname=HOSTNAME, command_timeout_seconds=0.1)
    async with world(options) as server:
        async with server.client() as client:
            await greeted(client)
            await client.send(OPENING + before)
            assert (await client.rest()).endswith(b"421 4.4.2 Time-out; closing\r\n")
        async with server.client() as client:
            await greeted(client)
            await client.send(OPENING + before)
        await server.empty()
        assert server.store.kept == []


async def test_rfc6531_4_3_what_comes_with_smtputf8_is_kept_as_such() -> None:
    async with world() as server, server.client() as client:
        await greeted(client)
        mail = "MAIL FROM:<jörg@bücher.example> SMTPUTF8\r\nRCPT TO:<dömi@example.net>\r\n".encode()
        content = "Subject: grüße\r\n\r\nx\r\n".encode()
        await client.send(mail + b"BDAT %d LAST\r\n" % len(content) + content)
        assert await codes(client, 3) == [b"250"] * 3
        [(envelope, stored, _)] = server.store.kept
        assert envelope.smtputf8
        assert envelope.reverse_path == Mailbox("jörg", "xn--bcher-kva.example")
        assert b"with UTF8SMTP id" in stored
        assert b"for <" not in stored  # our own field stays ASCII
