"""The client of `bench.submission`: logs in and sends over some connections at once, and prints how long it took.

`python -m bench.submission_load PORT --connections C --sessions N --messages M [--tls] [--login PLAIN|SCRAM-SHA-256]`:
N sessions, each with M messages, one after the other on each connection. Without messages it only logs in.
"""

import argparse
import base64
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from letterlock.sasl.client_login import ClientMechanism, Credentials, PlainLogin, ScramLogin

HOST = "127.0.0.1"
SENDER, RECIPIENT = b"ann@source.test", b"bob@sink.test"
USERS = {"PLAIN": "ann@source.test", "SCRAM-SHA-256": "bea@source.test"}  # each with the one form of its password
PASSWORD = "correct horse battery staple"  # noqa: S105  # of a server that lives for one measurement
REPLY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SubmissionLoad:
    """What each session does."""

    port: int
    messages: int
    octets: int
    tls: bool
    login: str | None


class Refused(Exception):
    """The server's answer was not the one that was hoped for."""


class SubmissionClient:
    """One session."""

    def __init__(self, load: SubmissionLoad, context: ssl.SSLContext) -> None:
        raw = socket.create_connection((HOST, load.port), timeout=REPLY_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(raw) if load.tls else raw
        self._replies = self._socket.makefile("rb")
        self.reply(b"220")
        self.ask(b"EHLO source.test", b"250")

    def ask(self, line: bytes, code: bytes) -> bytes:
        """One command, and the last line of its reply. Raises Refused, OSError."""
        self._socket.sendall(line + b"\r\n")
        return self.reply(code)

    def reply(self, code: bytes) -> bytes:
        """The last line of a reply. Raises Refused, OSError."""
        while (line := self._replies.readline())[3:4] == b"-":
            pass
        if not line.startswith(code):
            raise Refused(line.decode("ascii", "replace").strip() or "the connection was closed")
        return line

    def log_in(self, mechanism: ClientMechanism) -> None:
        """Raises Refused, OSError, LoginFailed."""
        first = mechanism.initial() or b""
        line = self.ask(b"AUTH %b %b" % (mechanism.name.encode(), base64.b64encode(first)), b"")
        while line.startswith(b"334"):
            line = self.ask(base64.b64encode(mechanism.answer(base64.b64decode(line[4:].strip()))), b"")
        if not line.startswith(b"235"):
            raise Refused(line.decode("ascii", "replace").strip())

    def send(self, content: bytes) -> None:
        """One message. Raises Refused, OSError."""
        self.ask(b"MAIL FROM:<%b>" % SENDER, b"250")
        self.ask(b"RCPT TO:<%b>" % RECIPIENT, b"250")
        self.ask(b"DATA", b"354")
        self.ask(content + b".", b"250")

    def close(self) -> None:
        """Say goodbye."""
        self.ask(b"QUIT", b"221")
        self._socket.close()


def mechanism_of(name: str) -> ClientMechanism:
    """A login of the user whose password is kept in the form that it needs."""
    credentials = Credentials(USERS[name], PASSWORD)
    if name == "PLAIN":
        return PlainLogin(credentials)
    nonce = f"{threading.get_ident():x}{time.monotonic_ns():x}".encode()  # unique, which is all that matters here
    return ScramLogin(credentials, nonce, binding=None)


def session(load: SubmissionLoad, context: ssl.SSLContext) -> None:
    """Connect, log in, send, leave."""
    client = SubmissionClient(load, context)
    if load.login is not None:
        client.log_in(mechanism_of(load.login))
    text = b"From: <%b>\r\nTo: <%b>\r\nSubject: bench\r\n\r\n" % (SENDER, RECIPIENT)
    text += (b"x" * 76 + b"\r\n") * max(1, (load.octets - len(text)) // 78)
    for _ in range(load.messages):
        client.send(text)
    client.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--login", choices=list(USERS))
    given = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it makes load; who is there is not its question
    load = SubmissionLoad(given.port, given.messages, given.octets, given.tls, given.login)
    start = time.monotonic()
    with ThreadPoolExecutor(given.connections) as pool:
        for done in [pool.submit(session, load, context) for _ in range(given.sessions)]:
            done.result()
    print(f"{time.monotonic() - start:.3f}")


if __name__ == "__main__":
    main()
