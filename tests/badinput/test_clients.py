"""Clients that speak badly: each gets a clear answer, the server goes on, and what it took it keeps."""

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.letterlock import Letterlock, serving
from tests.interop.nameservers import Place
from tests.interop.programs import loopback_prefix

CONFIG = """\
hostname = "mx.example.org"
[smtp]
listen = ["@LISTEN@"]
max_message_octets = 100_000
command_timeout_seconds = 1.5
message_timeout_seconds = 3
[queue]
directory = "@QUEUE@"
retry_first_seconds = 600
[resolver]
upstream = ["127.0.0.1:9"]
timeout_seconds = 0.5
"""
ENVELOPE = (b"MAIL FROM:<ann@example.org>\r\n", b"RCPT TO:<bob@example.net>\r\n")


@pytest.fixture(name="server", scope="module")
def server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Letterlock]:
    """One server for all these clients: it must outlive them all."""
    directory = tmp_path_factory.mktemp("badinput")
    with serving(directory, Place.free(f"{loopback_prefix()}.1"), CONFIG) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Client:
    """A connection that sends whatever octets it is told to."""

    connection: socket.socket

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.connection.sendall(octets)

    def reply(self) -> str:
        """One whole reply; "" when the server closed."""
        text = b""
        while not text.endswith(b"\n") or text[text.rfind(b"\n", 0, -1) + 1 :][3:4] == b"-":
            piece = self.connection.recv(1)
            if not piece:
                return text.decode()
            text += piece
        return text.decode()

    def ask(self, octets: bytes) -> str:
        """Send a command and read its reply."""
        self.send(octets)
        return self.reply()

    def transaction(self) -> None:
        """Come to the point where the message is sent."""
        for command in ENVELOPE:
            assert self.ask(command).startswith("250")
        assert self.ask(b"DATA\r\n").startswith("354")

    def closed(self) -> bool:
        """Whether the server has closed."""
        try:
            return self.connection.recv(4096) == b""
        except ConnectionResetError:
            return True


@pytest.fixture(name="client")
def client_fixture(server: Letterlock) -> Iterator[Client]:
    """A client that said EHLO, from loopback."""
    with connected(server) as client:
        assert client.ask(b"EHLO client.example.org\r\n").startswith("250")
        yield client


@contextlib.contextmanager
def connected(server: Letterlock) -> Iterator[Client]:
    """A fresh connection, greeting read."""
    with socket.create_connection((server.place.address, server.place.port), timeout=10) as connection:
        client = Client(connection)
        assert client.reply().startswith("220")
        yield client


def test_rfc5321_2_3_8_a_bare_lf_in_the_message_is_refused_from_loopback_too(
    client: Client, server: Letterlock
) -> None:
    client.transaction()
    client.send(
        b"Subject: smuggled\r\n\r\nfirst\n.\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<victim@example.net>\r\n.\r\n"
    )
    assert client.reply().startswith("554 5.6.0 Bare CR or LF")
    assert "eve@example.org" not in server.senders()


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n"])
def test_no_other_end_of_data_than_crlf_dot_crlf(client: Client, server: Letterlock, end: bytes) -> None:
    client.transaction()
    client.send(b"Subject: x\r\n\r\nfirst" + end + b"MAIL FROM:<smuggler@example.org>\r\nfirst\r\n.\r\n")
    assert client.reply().startswith("554 5.6.0 Bare CR or LF")
    assert "smuggler@example.org" not in server.senders()


def test_bare_cr_in_the_message_is_refused(client: Client) -> None:
    client.transaction()
    assert client.ask(b"Subject: x\r\n\r\na\rb\r\n.\r\n").startswith("554 5.6.0 Bare CR or LF")


@pytest.mark.parametrize("command", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\r\r\n"])
def test_bare_cr_or_lf_in_a_command_ends_the_session(client: Client, command: bytes) -> None:
    client.send(command + b"NOOP\r\n")
    assert client.reply().startswith("500 5.5.2 Bare CR or LF")
    assert client.closed()


def test_an_over_long_command_line_is_refused_and_the_session_goes_on(client: Client) -> None:
    assert client.ask(b"NOOP " + b"x" * 100_000 + b"\r\n").startswith("500 5.5.2 Line too long")
    assert client.ask(b"NOOP\r\n").startswith("250")


def test_a_command_line_without_end_is_refused_and_bounded_in_time(client: Client) -> None:
    client.send(b"NOOP " + b"x" * 100_000)
    assert client.reply().startswith(("500", "421"))


def test_rfc5321_4_5_3_1_6_an_over_long_line_in_the_message_is_refused(client: Client) -> None:
    client.transaction()
    reply = client.ask(b"Subject: long\r\n\r\n" + b"y" * 90_000 + b"\r\n.\r\n")
    assert reply.startswith("554 5.6.0 A line of the message is too long")
    assert client.ask(b"NOOP\r\n").startswith("250")


@pytest.mark.parametrize("command", [b"FROBNICATE\r\n", b"\r\n", b"\xff\xfe\xfd\r\n", b"NO\0OP\r\n"])
def test_unknown_commands_get_500(client: Client, command: bytes) -> None:
    assert client.ask(command).startswith("500 5.5.2 Command not recognized")
    assert client.ask(b"NOOP\r\n").startswith("250")


def test_a_browser_is_sent_away(client: Client) -> None:
    assert client.ask(b"GET / HTTP/1.1\r\n").startswith("421 4.7.0")
    assert client.closed()


def test_commands_out_of_order_get_503(client: Client) -> None:
    assert client.ask(b"DATA\r\n").startswith("503")
    assert client.ask(b"RCPT TO:<bob@example.net>\r\n").startswith("503")


def test_a_message_larger_than_size_is_refused_at_mail_from(client: Client) -> None:
    assert client.ask(b"MAIL FROM:<ann@example.org> SIZE=100001\r\n").startswith("552")


def test_a_message_that_grows_too_large_is_refused_and_not_queued(client: Client, server: Letterlock) -> None:
    assert client.ask(b"MAIL FROM:<large@example.org>\r\n").startswith("250")
    assert client.ask(b"RCPT TO:<bob@example.net>\r\n").startswith("250")
    assert client.ask(b"DATA\r\n").startswith("354")
    reply = client.ask(b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 10_000 + b".\r\n")
    assert reply.startswith("552")
    assert "large@example.org" not in server.senders()


def test_a_client_that_stalls_between_commands_is_sent_away(client: Client) -> None:
    began = time.monotonic()
    assert client.reply().startswith("421")
    assert client.closed()
    assert time.monotonic() - began < 10


def test_a_client_that_drips_a_message_is_sent_away_and_nothing_is_queued(server: Letterlock) -> None:
    with connected(server) as client:
        assert client.ask(b"EHLO drip.example.org\r\n").startswith("250")
        assert client.ask(b"MAIL FROM:<drip@example.org>\r\n").startswith("250")
        assert client.ask(b"RCPT TO:<bob@example.net>\r\n").startswith("250")
        assert client.ask(b"DATA\r\n").startswith("354")
        deadline = time.monotonic() + 15
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                client.send(b"x\r\n")
                client.connection.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    assert client.connection.recv(4096)[:3] in (b"421", b"")
                    break
        assert time.monotonic() < deadline
    assert "drip@example.org" not in server.senders()


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(server: Letterlock) -> None:
    with connected(server) as client:
        assert client.ask(b"EHLO gone.example.org\r\n").startswith("250")
        assert client.ask(b"MAIL FROM:<gone@example.org>\r\n").startswith("250")
        assert client.ask(b"RCPT TO:<bob@example.net>\r\n").startswith("250")
        assert client.ask(b"DATA\r\n").startswith("354")
        client.send(b"Subject: half\r\n\r\nhalf")
    assert "gone@example.org" not in server.senders()


def test_after_all_that_the_server_still_takes_mail_and_keeps_it(client: Client, server: Letterlock) -> None:
    assert client.ask(b"MAIL FROM:<last@example.org>\r\n").startswith("250")
    assert client.ask(b"RCPT TO:<bob@example.net>\r\n").startswith("250")
    assert client.ask(b"DATA\r\n").startswith("354")
    assert client.ask(b"Subject: still here\r\n\r\nwell\r\n.\r\n").startswith("250")
    assert "last@example.org" in server.senders()
    assert "Traceback" not in server.log()


def test_control_characters_of_a_client_do_not_reach_the_log(server: Letterlock) -> None:
    with connected(server) as client:
        client.send(b"EHLO evil\x1b[31m.example.org\r\n")
        client.reply()
    assert "\x1b" not in server.log()
