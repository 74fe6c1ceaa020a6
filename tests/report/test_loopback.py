"""From a client's NOTIFY to the notification at its sender: listener, store on disk, deliverer, reporter, sockets."""

import asyncio
import email
import email.policy
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from email.message import EmailMessage, Message
from pathlib import Path
from typing import cast

import pytest

from letterlock.deliver.route_settings import SettingsByRoute
from letterlock.net.dial import TcpDialer
from letterlock.net.streams import TcpStream
from letterlock.queue.ids import IdMaker
from letterlock.receive.listener import Listener
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.report.worker import Reporter
from letterlock.routing.rules import Rules
from letterlock.schedule.deliverer import Deliverer
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.deliver.world import OPTIONS, HandClock, HandDiscoverer, Server
from tests.queue.orders import retry
from tests.receive.world import Client

BY_ONE = ("8BITMIME",)  # nothing is sent ahead, so a refused recipient gets no message
DSN = ("PIPELINING", "8BITMIME", "DSN")
MESSAGE = b"Subject: hello\r\n\r\nthe secret\r\n.\r\n"


@asynccontextmanager
async def sink(server: Server) -> AsyncIterator[int]:
    """The server on a loopback port: the MX host of every domain."""

    async def serve(connection: socket.socket) -> None:
        stream = TcpStream(connection)
        with suppress(OSError):  # a kept session is dropped when the deliverer stops
            await server(stream)
        await stream.close()

    async def accept(listener: socket.socket) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                group.create_task(serve(connection))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = asyncio.create_task(accept(listener))
        try:
            yield listener.getsockname()[1]
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)


class Post:
    """A whole server over a queue on disk; its clock is moved by hand."""

    def __init__(self, store: SqliteStore, port: int) -> None:
        self.clock = HandClock()
        self.store = store
        new_id = IdMaker(self.clock.now, secrets.randbits)
        self.reporter = Reporter(
            store,
            clock=self.clock,
            hostname="mx.example.net",
            new_id=new_id,
            lifetime_seconds=432_000,
            delay_notice_seconds=14_400,
            wake_deliverer=self._wake_deliverer,
            rules=Rules({}),
        )
        self.deliverer = Deliverer(
            replace(OPTIONS, port=port),
            store=store,
            discoverer=HandDiscoverer(hosts={"mx.example.org": ("127.0.0.1",)}),
            dialer_from=TcpDialer,
            clock=self.clock,
            route_settings=SettingsByRoute(),
            chance=random.Random(1),
            failed=self.reporter.wake,
        )
        self.listener = Listener(
            ReceiveOptions(hostname="mx.example.net"),
            store=store,
            clock=self.clock,
            new_id=new_id,
            handover=self.deliverer,
        )

    def _wake_deliverer(self) -> None:
        self.deliverer.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[str, int]]:
        """From start to stop; where it listens."""
        with socket.create_server(("127.0.0.1", 0)) as bound:
            await self.listener.start([bound], Profile())
            tasks = [asyncio.create_task(self.deliverer.run()), asyncio.create_task(self.reporter.run())]
            try:
                yield bound.getsockname()[:2]
            finally:
                await self.listener.stop(0)
                await self.deliverer.stop(5)
                self.reporter.stop()
                await asyncio.gather(*tasks)


@asynccontextmanager
async def posting(server: Server, directory: Path) -> AsyncIterator[tuple[Post, Client]]:
    """A running server whose mail all goes to `server`, and a greeted client."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(sink(server))
        store = await SqliteStore.open(directory)
        stack.push_async_callback(store.close)
        post = Post(store, port)
        address = await stack.enter_async_context(post.running())
        reader, writer = await asyncio.open_connection(*address)
        stack.callback(writer.close)
        client = Client(reader, writer)
        await client.reply()
        assert b"DSN" in await client.ask(b"EHLO client.example\r\n")
        yield post, client


async def send(client: Client, wishes: bytes, of_recipient: bytes) -> None:
    for line in (
        b"MAIL FROM:<ann@from.example>" + wishes,
        b"RCPT TO:<bob@to.example>" + of_recipient,
        b"DATA",
    ):
        assert (await client.ask(line + b"\r\n"))[:1] in (b"2", b"3")
    assert (await client.ask(MESSAGE)).startswith(b"250")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def notification(server: Server) -> tuple[EmailMessage, list[Message]]:
    """The last message that arrived, and its groups of fields."""
    message = email.message_from_bytes(server.messages[-1], policy=email.policy.default)
    return message, cast("list[Message]", list(message.iter_parts())[1].get_payload())


async def test_rfc3461_5_2_2_the_sender_hears_that_his_message_was_relayed(tmp_path: Path) -> None:
    server = Server()
    async with posting(server, tmp_path) as (post, client):
        await send(client, b" ENVID=QQ+20314159", b" NOTIFY=SUCCESS ORCPT=rfc822;Bob@to.example")
        await until(lambda: len(server.messages) == 2)
        message, (about, bob) = notification(server)
        assert message["To"] == "ann@from.example"
        assert about["Original-Envelope-Id"] == "QQ 314159"
        assert (bob["Action"], bob["Original-Recipient"]) == ("relayed", "rfc822; Bob@to.example")
        assert "MAIL FROM:<> BODY=8BITMIME" not in server.clear
        assert any(line.startswith("MAIL FROM:<>") for line in server.clear)
        assert not any("NOTIFY" in line for line in server.clear)
        assert not await post.reporter.report_due(), "and that is all"


async def test_rfc3461_5_2_1_a_next_host_that_knows_dsn_is_told_and_we_say_nothing(tmp_path: Path) -> None:
    server = Server(extensions=DSN)
    async with posting(server, tmp_path) as (post, client):
        await send(client, b" RET=HDRS ENVID=A", b" NOTIFY=SUCCESS,FAILURE")
        await until(lambda: server.messages)
        assert "MAIL FROM:<ann@from.example> RET=HDRS ENVID=A" in server.clear
        assert "RCPT TO:<bob@to.example> NOTIFY=SUCCESS,FAILURE" in server.clear
        assert not await post.reporter.report_due()


@pytest.mark.parametrize(("ret", "whole"), [(b" RET=FULL", True), (b" RET=HDRS", False)])
async def test_rfc3461_4_3_a_failure_comes_back_as_was_asked_for(tmp_path: Path, ret: bytes, whole: bool) -> None:
    server = Server(extensions=BY_ONE, answers={"RCPT": [b"550 5.1.1 Who is bob?\r\n", b"250 2.1.5 Ok\r\n"]})
    async with posting(server, tmp_path) as (_, client):
        await send(client, ret, b"")
        await until(lambda: server.messages)
        message, (_, bob) = notification(server)
        assert (bob["Action"], bob["Status"]) == ("failed", "5.1.1")
        assert bob["Diagnostic-Code"] == "smtp; 550 5.1.1 Who is bob?"
        assert (b"the secret" in message.as_bytes()) is whole


async def test_rfc3464_2_3_3_a_delay_is_told_once_after_four_hours(tmp_path: Path) -> None:
    server = Server(extensions=BY_ONE, answers={"RCPT": [b"451 4.7.1 Greylisted\r\n", b"250 2.1.5 Ok\r\n"]})
    async with posting(server, tmp_path) as (post, client):
        await send(client, b"", b"")
        await until(lambda: any(line == "RCPT TO:<bob@to.example>" for line in server.clear))
        async with asyncio.timeout(10):
            while not await post.store.due_delays(post.clock.now(), limit=1):  # each is a turn of the store's thread
                pass
        post.clock.time += 14_400
        waiting = [message.id for message in await post.store.messages(limit=10)]
        await retry(post.store, *waiting, now=post.clock.now() + 86_400)
        assert await post.reporter.report_due()
        await until(lambda: server.messages)
        _, (_, bob) = notification(server)
        assert (bob["Action"], bob["Status"]) == ("delayed", "4.7.1")
        assert not await post.reporter.report_due()
