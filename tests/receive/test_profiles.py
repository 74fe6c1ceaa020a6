"""Listeners with roles: relay, mx, submission, submissions."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from letterlock.net.tls import ServerContext
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.profiles import Profile, Role, profile_of_local_users
from tests.certificates import authority
from tests.receive.world import ENVELOPE, PATIENCE_SECONDS, World, world

NAME = "mx.example.org"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ServerContext:
    directory: Path = tmp_path_factory.mktemp("certificate")
    return ServerContext.load(*authority().leaf(NAME).write(directory))


async def test_rfc5321_3_6_an_mx_takes_mail_for_its_domains_and_relays_for_nobody() -> None:
    profile = Profile(role=Role.MX, relay_networks=(), domains=frozenset({"example.net"}))
    async with world(profile=profile) as server, server.client() as client:
        await client.reply()
        await client.ask(b"EHLO client.example\r\n")
        await client.send(ENVELOPE.replace(b"DATA", b"RCPT TO:<b@example.com>\r\nRCPT TO:<postmaster>\r\nDATA"))
        assert [(await client.reply())[:3] for _ in range(5)] == [b"250", b"250", b"550", b"250", b"354"]
        assert (await client.ask(b"x\r\n.\r\n")).startswith(b"250 ")
        body = server.store.kept[0][1]
        assert body.endswith(b"+0000\r\nx\r\n"), "an mx adds its Received field, and nothing else"


async def test_rfc3207_4_a_submission_listener_takes_no_mail_in_clear(context: ServerContext) -> None:
    async with world(profile=Profile(role=Role.SUBMISSION, tls=context)) as server, server.client() as client:
        await client.reply()
        assert b"STARTTLS" in await client.ask(b"EHLO client.example\r\n")
        assert await client.ask(b"MAIL FROM:<a@b.test>\r\n") == b"530 5.7.0 Must issue a STARTTLS command first\r\n"
        assert (await client.ask(b"NOOP\r\n")).startswith(b"250 ")


def _talk(server: World, *, implicit: bool) -> list[bytes]:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as plain:
        said = []
        if not implicit:
            said = [plain.recv(4096)]
            for line in (b"EHLO c.example\r\n", b"STARTTLS\r\n"):
                plain.sendall(line)
                said.append(plain.recv(4096))
        with trusting.wrap_socket(plain, server_hostname=NAME) as secure:
            lines = [b"EHLO c.example\r\n", *ENVELOPE.splitlines(keepends=True), b"Bcc: z@y.test\r\n\r\nx\r\n.\r\n"]
            said += [secure.recv(4096)] if implicit else []
            for line in lines:
                secure.sendall(line)
                said.append(secure.recv(4096))
    return said


@pytest.mark.parametrize("role", [Role.SUBMISSION, Role.SUBMISSIONS])
async def test_rfc6409_3_inside_tls_new_mail_is_completed(context: ServerContext, role: Role) -> None:
    async with world(profile=Profile(role=role, tls=context)) as server:
        said = await asyncio.to_thread(_talk, server, implicit=role is Role.SUBMISSIONS)
        await server.empty()
    assert said[-1].startswith(b"250 2.0.0 Ok: queued as ID1")
    body = server.store.kept[0][1]
    assert b"with ESMTPS id ID1\r\n" in body
    assert b"From: <ann@example.org>\r\n" in body
    assert b"Message-ID: <ID1@mx.example.org>\r\n" in body
    assert b"Bcc" not in body


async def test_rfc8314_3_3_implicit_tls_comes_before_the_greeting(context: ServerContext) -> None:
    async with world(profile=Profile(role=Role.SUBMISSIONS, tls=context)) as server:
        said = await asyncio.to_thread(_talk, server, implicit=True)
    assert said[0].startswith(b"220 ")
    assert b"STARTTLS" not in said[1]
    assert b"REQUIRETLS" in said[1]


async def test_a_client_in_clear_gets_nothing_where_tls_comes_first(
    context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    profile = Profile(role=Role.SUBMISSIONS, tls=context)
    async with world(profile=profile) as server, server.client() as client:
        await client.send(b"EHLO client.example\r\n")
        assert b"220" not in await client.rest()
        await server.empty()
    assert "SSL_accept error from unknown[127.0.0.1]" in caplog.text


async def test_an_implicit_handshake_that_stalls_is_left(
    context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options, profile = (
        ReceiveOptions(hostname=NAME, tls_timeout_seconds=0.05),
        Profile(role=Role.SUBMISSIONS, tls=context),
    )
    async with world(options, profile) as server, server.client() as client:
        assert await client.rest() == b""
        await server.empty()
    assert "SSL_accept error from unknown[127.0.0.1]: time-out" in caplog.text


def test_local_users_count_as_clients_on_this_machine() -> None:
    mx, relay = Profile(role=Role.MX, relay_networks=()), Profile()
    assert profile_of_local_users([mx, relay]) is relay
    assert profile_of_local_users([mx]) is None
