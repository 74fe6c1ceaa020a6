"""Clients behind a load balancer: they count by their own address, and nobody else can claim one."""

import contextlib
import ipaddress

import pytest

from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile
from letterlock.receive.relay import LOOPBACK
from tests.receive.world import Client, world

OPTIONS = ReceiveOptions(hostname="mx.example.org", max_connections_per_client=1)
BEHIND = Profile(proxies=LOOPBACK, relay_networks=(ipaddress.ip_network("192.0.2.0/24"),))


async def rcpt(client: Client) -> bytes:
    await client.reply()
    await client.ask(b"EHLO client.example\r\n")
    await client.ask(b"MAIL FROM:<ann@example.org>\r\n")
    return await client.ask(b"RCPT TO:<bob@example.net>\r\n")


async def test_a_client_relays_by_the_address_that_the_proxy_gives() -> None:
    async with world(OPTIONS, BEHIND) as running:
        async with running.client() as client:
            await client.send(b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 25\r\n")
            assert (await rcpt(client)).startswith(b"250")
            await client.ask(b"DATA\r\n")
            await client.ask(b"Subject: x\r\n\r\nhi\r\n.\r\n")
            assert b"([192.0.2.1])" in running.store.kept[0][1]
        async with running.client() as client:
            await client.send(b"PROXY TCP4 203.0.113.9 198.51.100.25 1000 25\r\n")
            assert (await rcpt(client)).startswith(b"550 5.7.1")


async def test_limits_count_clients_and_not_the_proxy() -> None:
    async with world(OPTIONS, BEHIND) as running, running.client() as one, running.client() as two:
        await one.send(b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 25\r\n")
        await two.send(b"PROXY TCP4 192.0.2.2 198.51.100.25 1000 25\r\n")
        assert (await one.reply()).startswith(b"220")
        assert (await two.reply()).startswith(b"220")
        async with running.client() as again:
            await again.send(b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 25\r\n")
            assert (await again.reply()).startswith(b"421 4.7.0")


async def test_a_proxy_without_a_header_is_turned_away(caplog: pytest.LogCaptureFixture) -> None:
    async with world(OPTIONS, BEHIND) as running, running.client() as client:
        await client.send(b"EHLO client.example\r\nQUIT\r\n")
        with contextlib.suppress(ConnectionResetError):  # what was sent meanwhile is not read any more
            assert await client.rest() == b""
    assert "a connection from a proxy was closed: no header" in caplog.text


async def test_who_is_no_proxy_cannot_claim_another_address() -> None:
    profile = Profile(proxies=(ipaddress.ip_network("198.51.100.0/24"),), relay_networks=())
    async with world(OPTIONS, profile) as running, running.client() as client:
        assert (await client.reply()).startswith(b"220")
        assert (await client.ask(b"PROXY TCP4 192.0.2.1 198.51.100.25 1000 25\r\n")).startswith(b"500")


async def test_a_stop_does_not_wait_for_proxies() -> None:
    async with world(OPTIONS, BEHIND) as running, running.client():
        await running.listener.stop(0)
