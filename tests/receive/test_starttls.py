"""STARTTLS on the listener, against the standard library's TLS and against injected octets."""

import asyncio
import ipaddress
import logging
import socket
import ssl
from pathlib import Path

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.net.tls import ServerContext
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role
from tests.certificates import authority
from tests.receive.world import ENVELOPE, PATIENCE_SECONDS, Client, world

NAME = "mx.example.org"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    directory: Path = tmp_path_factory.mktemp("certificate")
    return ServerContext.load(*authority().leaf(NAME).write(directory))


def _lenient() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _reply(connection: socket.socket) -> bytes:
    """One reply, all its lines."""
    data = b""
    while not data.endswith(b"\r\n") or data.splitlines()[-1][3:4] == b"-":
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data


def _ask(connection: socket.socket, line: bytes) -> bytes:
    connection.sendall(line)
    return _reply(connection)


def _secure_talk(address: tuple[str, int]) -> list[bytes]:
    """A blocking client: EHLO, STARTTLS, and a message inside TLS; the replies."""
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as plain:
        said = [_reply(plain), _ask(plain, b"EHLO client.example\r\n"), _ask(plain, b"STARTTLS\r\n")]
        with _lenient().wrap_socket(plain, server_hostname=NAME) as connection:
            lines = [b"MAIL FROM:<>\r\n", b"EHLO client.example\r\n", *ENVELOPE.splitlines(keepends=True)]
            lines += [b"x\r\n.\r\n", b"QUIT\r\n"]
            return said + [_ask(connection, line) for line in lines]


async def test_rfc3207_a_message_inside_tls(context: ServerContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with world(profile=Profile(tls=context)) as server:
        said = await asyncio.to_thread(_secure_talk, server.address)
        await server.empty()
    assert b"250-STARTTLS\r\n" in said[1]
    assert said[2] == b"220 2.0.0 Ready to start TLS\r\n"
    assert said[3].startswith(b"503 "), "the EHLO in cleartext is forgotten"
    assert b"STARTTLS" not in said[4]
    assert [reply[:3] for reply in said[5:]] == [b"250", b"250", b"354", b"250", b"221"]
    body = server.store.kept[0][1]
    assert b"(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 group " in body
    assert b"with ESMTPS id ID1\r\n" in body
    assert "Anonymous TLS connection established from unknown[127.0.0.1]: TLSv1.3 with cipher" in caplog.text


async def test_cve_2011_0411_injected_commands_are_never_obeyed(context: ServerContext) -> None:
    async with world(profile=Profile(tls=context)) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        assert await client.ask(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<>\r\n") == (
            b"421 4.7.0 Data arrived before the TLS handshake; closing\r\n"
        )
        assert await client.rest() == b""


async def test_cve_2011_0411_octets_after_220_break_the_handshake(
    context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world(profile=Profile(tls=context)) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        assert (await client.ask(b"STARTTLS\r\n")).startswith(b"220 ")
        await client.send(b"RSET\r\nMAIL FROM:<>\r\n")
        assert b"250" not in await _rest_or_reset(client)
        await server.empty()
    assert "SSL_accept error from unknown[127.0.0.1]" in caplog.text


async def _rest_or_reset(client: Client) -> bytes:
    try:
        return await client.rest()
    except ConnectionResetError:
        return b""


async def test_a_handshake_that_stalls_is_left(context: ServerContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    options = ReceiveOptions(hostname=NAME, tls_timeout_seconds=0.05)
    async with world(options, Profile(tls=context)) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.ask(b"STARTTLS\r\n")
        await _rest_or_reset(client)
        await server.empty()
    assert "SSL_accept error from unknown[127.0.0.1]: time-out" in caplog.text


async def test_a_stop_inside_tls_says_421(context: ServerContext) -> None:
    async with world(profile=Profile(tls=context)) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        await reader.readline()
        for line in (b"EHLO client.example\r\n", b"STARTTLS\r\n"):
            writer.write(line)
            while (await reader.readline())[3:4] == b"-":
                pass
        await writer.start_tls(_lenient(), server_hostname=NAME)
        await server.listener.stop(0)
        assert (await reader.read()).startswith(b"421 4.3.2 ")
        writer.close()
        await writer.wait_closed()


def _send_with(address: tuple[str, int], parameters: bytes, content: bytes) -> list[bytes]:
    """Send one message inside TLS; the replies to its commands."""
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as plain:
        for line in (b"", b"EHLO client.example\r\n", b"STARTTLS\r\n"):
            _ask(plain, line)
        with _lenient().wrap_socket(plain, server_hostname=NAME) as connection:
            lines = [b"EHLO client.example\r\n", b"MAIL FROM:<ann@example.org>" + parameters + b"\r\n"]
            lines += [b"RCPT TO:<bob@example.net>\r\n", b"DATA\r\n", content + b".\r\n"]
            return [_ask(connection, line) for line in lines]


@pytest.mark.parametrize(
    ("parameters", "content", "demand"),
    [
        (b"", b"Subject: x\r\n\r\nx\r\n", TlsDemand.NONE),
        (b" REQUIRETLS", b"Subject: x\r\n\r\nx\r\n", TlsDemand.REQUIRETLS),
        (b"", b"TLS-Required: No\r\n\r\nx\r\n", TlsDemand.TLS_REQUIRED_NO),
        (b" REQUIRETLS", b"TLS-Required: No\r\n\r\nx\r\n", TlsDemand.REQUIRETLS),
    ],
)
async def test_rfc8689_4_1_what_the_sender_demands_is_kept_and_requiretls_outranks_the_header(
    context: ServerContext, parameters: bytes, content: bytes, demand: TlsDemand
) -> None:
    async with world(profile=Profile(tls=context)) as server:
        replies = await asyncio.to_thread(_send_with, server.address, parameters, content)
        assert replies[-1].startswith(b"250 ")
        [(envelope, _, _)] = server.store.kept
        assert envelope.tls_demand is demand


@pytest.mark.parametrize(
    ("networks", "demand"),
    [
        (None, TlsDemand.TLS_REQUIRED_NO),
        (("127.0.0.0/8", "::1/128"), TlsDemand.TLS_REQUIRED_NO),
        (("192.0.2.0/24",), TlsDemand.NONE),
        ((), TlsDemand.NONE),
    ],
)
async def test_rfc8689_3_the_header_counts_from_the_clients_that_the_operator_names(
    context: ServerContext, networks: tuple[str, ...] | None, demand: TlsDemand
) -> None:
    named = None if networks is None else tuple(ipaddress.ip_network(each) for each in networks)
    async with world(profile=Profile(tls_required_no_networks=named, tls=context)) as server:
        replies = await asyncio.to_thread(_send_with, server.address, b"", b"TLS-Required: No\r\n\r\nx\r\n")
        assert replies[-1].startswith(b"250 ")
        [(envelope, _, _)] = server.store.kept
        assert envelope.tls_demand is demand


async def test_rfc3207_4_mail_without_tls_is_taken_though_tls_is_offered(context: ServerContext) -> None:
    """A public server must not demand STARTTLS for mail to be delivered."""
    async with world(profile=Profile(tls=context)) as server, server.client() as client:
        assert (await client.reply()).startswith(b"220 ")
        assert b"STARTTLS" in await client.ask(b"EHLO client.example\r\n")
        for line in ENVELOPE.splitlines(keepends=True):
            await client.ask(line)
        assert (await client.ask(b"x\r\n.\r\n")).startswith(b"250 ")
    assert len(server.store.kept) == 1


async def test_rfc8689_4_3_a_message_is_not_submitted_in_clear_with_requiretls(context: ServerContext) -> None:
    """Whoever submits learns it at once, and nothing is kept; without the parameter the session goes on."""
    async with world(profile=Profile(tls=context)) as server, server.client() as client:
        await client.reply()
        assert b"REQUIRETLS" not in await client.ask(b"EHLO client.example\r\n")
        assert (await client.ask(b"MAIL FROM:<ann@example.org> REQUIRETLS\r\n")).startswith(b"530 5.7.10 ")
        assert (await client.ask(b"RCPT TO:<bob@example.net>\r\n")).startswith(b"503 ")
        assert (await client.ask(b"MAIL FROM:<ann@example.org>\r\n")).startswith(b"250 ")
    assert server.store.kept == []


async def test_rfc8689_3_the_header_counts_from_nobody_who_may_not_relay(context: ServerContext) -> None:
    """Unless the operator names networks: a stranger must not lift DANE and MTA-STS for what an MX passes on."""
    mx = Profile(role=Role.MX, domains=frozenset({"example.net"}), relay_networks=(), tls=context)
    async with world(profile=mx) as server:
        replies = await asyncio.to_thread(_send_with, server.address, b"", b"TLS-Required: No\r\n\r\nx\r\n")
        assert replies[-1].startswith(b"250 ")
        assert server.store.kept[0][0].tls_demand is TlsDemand.NONE
