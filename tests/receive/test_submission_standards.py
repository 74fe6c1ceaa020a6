"""What the standards of submission ask beyond logins, section by section, over real TLS."""

import asyncio
import re
import socket
import ssl
import warnings
from pathlib import Path

import pytest

from letterlock.net.tls import ServerContext
from letterlock.receive.profiles import Role
from letterlock.sasl.client_login import Credentials, LoginFailed, ScramLogin
from letterlock.sasl.scram import BadCredential, ScramCredential
from letterlock.smtp.server_events import ServerLimits
from tests.receive.test_auth import PLAIN, Talk, context, no_delay, options, profile, talk, users_path
from tests.receive.world import PATIENCE_SECONDS, world
from tests.smtp.server_driver import Driver, ready

__all__ = ["context", "no_delay", "users_path"]  # fixtures
# RFC 9422 section 3: `LIMITS` and words of `name=value`, each name in capitals, digits and hyphens.
LIMITS_LINE = re.compile(rb"250[- ]LIMITS(?: [A-Z][A-Z0-9-]*=[!-:<-~]+)+\r\n")


async def said(context: ServerContext, users: Path, *lines: bytes) -> list[bytes]:
    async with world(options(users), profile(context)) as server:

        def say(client: Talk) -> list[bytes]:
            assert client.auth(b"PLAIN", PLAIN).startswith(b"235")
            return [client.ask(line) for line in lines]

        return await talk(server, say)


@pytest.mark.parametrize(
    "line", [b"RCPT TO:<bob>", b"RCPT TO:<bob@>", b"RCPT TO:<bob@.>", b"RCPT TO:<@example.net>", b"RCPT TO:<>"]
)
async def test_rfc6409_4_2_an_address_without_a_whole_domain_is_refused(
    context: ServerContext, users_path: Path, line: bytes
) -> None:
    """A submission server may complete names; guessing a domain is not ours, so that the user is told."""
    replies = await said(context, users_path, b"MAIL FROM:<ann@example.org>", line)
    assert replies[0].startswith(b"250")
    assert replies[1].startswith(b"501 5.")


async def test_rfc6409_4_3_mail_before_a_login_is_refused(context: ServerContext, users_path: Path) -> None:
    async with world(options(users_path), profile(context)) as server:
        reply = await talk(server, lambda client: client.ask(b"MAIL FROM:<ann@example.org>"))
    assert reply == b"530 5.7.0 Authentication required\r\n"


async def test_rfc6409_6_4_users_reach_the_postmaster(context: ServerContext, users_path: Path) -> None:
    replies = await said(context, users_path, b"MAIL FROM:<ann@example.org>", b"RCPT TO:<postmaster>")
    assert [each[:3] for each in replies] == [b"250", b"250"]


async def test_rfc6409_7_the_extensions_of_its_table_are_offered(context: ServerContext, users_path: Path) -> None:
    async with world(options(users_path), profile(context)) as server:
        offers = await talk(server, lambda client: client.offers)
    words = {line[4:].split()[0] for line in offers.splitlines()[1:]}
    wanted = b"PIPELINING ENHANCEDSTATUSCODES SIZE 8BITMIME CHUNKING SMTPUTF8 DSN AUTH REQUIRETLS LIMITS".split()
    assert words >= set(wanted)
    assert b"STARTTLS" not in words  # it is inside TLS
    assert b"BINARYMIME" not in words


async def test_rfc8314_3_3_nothing_is_accepted_in_clear(context: ServerContext, users_path: Path) -> None:
    async with world(options(users_path), profile(context, Role.SUBMISSION)) as server, server.client() as client:
        await client.reply()
        offers = await client.ask(b"EHLO client.example\r\n")
        assert b"STARTTLS" in offers
        assert b"AUTH" not in offers
        assert (await client.ask(b"MAIL FROM:<ann@example.org>\r\n")).startswith(b"530 5.7.0 ")


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2], ids=["1.1", "1.2"])
async def test_rfc8314_4_1_nothing_older_than_tls_1_2_is_spoken(
    context: ServerContext, users_path: Path, most: ssl.TLSVersion
) -> None:
    """By a client that does speak the older version: with 1.2 it gets through."""

    def greeting(address: tuple[str, int]) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the old version is the point
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
            client.set_ciphers("ALL:@SECLEVEL=0")
            client.minimum_version, client.maximum_version = ssl.TLSVersion.TLSv1, most
        with socket.create_connection(address, timeout=PATIENCE_SECONDS) as plain, client.wrap_socket(plain) as secure:
            return secure.recv(3)

    async with world(options(users_path), profile(context)) as server:
        if most >= ssl.TLSVersion.TLSv1_2:
            assert await asyncio.to_thread(greeting, server.address) == b"220"
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
                await asyncio.to_thread(greeting, server.address)
        await server.empty()


def test_rfc9422_3_the_keyword_has_the_form_of_the_standard() -> None:
    [line] = [each + b"\r\n" for each in ready_offers().split(b"\r\n") if b"LIMITS" in each]
    assert LIMITS_LINE.fullmatch(line)


def ready_offers() -> bytes:
    return Driver().send(b"EHLO client.example\r\n")


def test_rfc9422_4_2_more_recipients_than_were_offered_are_put_off_and_the_others_stay() -> None:
    driver = ready(limits=ServerLimits(max_message_octets=10_000, max_recipients=100))
    assert b"RCPTMAX=100" in driver.send(b"EHLO client.example\r\n")
    driver.send(b"MAIL FROM:<ann@example.org>\r\n")
    replies = [driver.send(b"RCPT TO:<u%d@example.net>\r\n" % number)[:9] for number in range(102)]
    assert replies == [b"250 2.1.5"] * 100 + [b"452 4.5.3"] * 2
    assert len(driver.server.recipients) == 100


def test_rfc9422_3_what_is_offered_in_clear_is_forgotten_and_offered_again_inside_tls() -> None:
    driver = ready(starttls=True)
    driver.send(b"STARTTLS\r\n")
    driver.server.tls_established()
    assert b"LIMITS RCPTMAX=" in driver.send(b"EHLO client.example\r\n")


def test_rfc7677_4_fewer_iterations_than_4096_are_refused_on_both_sides() -> None:
    stored = str(ScramCredential.of_password("p", b"salt", 4096)).replace("$4096:", "$4095:")
    with pytest.raises(BadCredential):
        ScramCredential.parse(stored)
    login = ScramLogin(Credentials("ann", "p"), b"nonce", binding=None)
    with pytest.raises(LoginFailed, match="4095 iterations"):
        login.answer(b"r=nonceours,s=c2FsdA==,i=4095")
