"""The sender of `bench.relay` where smtp-source will not do: STARTTLS, a fixed rate, and a time stamp for each message.

`python -m bench.relay_source ADDRESS PORT --messages N --octets N [--tls] [--rate N]` speaks as `smtp-source -d` does:
each of 20 connections sends one message after the other and waits for every reply. With a rate, message i is due i/rate
seconds after the start, whatever became of those before. Stamps (relay_stamps) go to standard output.
"""

import argparse
import functools
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.relay_stamps import ACCEPTED, FAILED, FIRST_BYTE, MARK, tell

REPLY_SECONDS = 60.0
FIRST_OCTETS = 1 << 14  # sent with the header; what is behind them is not copied
SENDER = b"ann@source.test"
RECIPIENT = b"bob@sink.test"


class Refused(Exception):
    """The server's answer was not the one that lets a message through."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and where to."""

    address: str
    port: int
    octets: int
    tls: bool
    messages_per_second: float  # 0: as fast as the server takes them
    recipients: Sequence[Sequence[bytes]] = ()  # of each message, from the first one; none: RECIPIENT

    def recipients_of(self, number: int) -> Sequence[bytes]:
        """To whom a message goes."""
        return self.recipients[number - 1] if self.recipients else (RECIPIENT,)


def content(number: int, octets: int) -> bytes:
    """A message of about that size, with its end."""
    return b"".join(parts(number, octets))


def parts(number: int, octets: int) -> tuple[bytes, bytes]:
    """The same: its header, and the rest of it with its end."""
    header = b"From: <" + SENDER + b">\r\nTo: <" + RECIPIENT + b">\r\n" + MARK + b"%d\r\n\r\n" % number
    return header, body(max(1, (octets - len(header)) // 78))


@functools.cache  # one or two sizes: to make 1 MB anew for each message takes longer than to send it
def body(lines: int) -> bytes:
    """So many lines, and the end of the content."""
    return (b"x" * 76 + b"\r\n") * lines + b".\r\n"


class Sender:
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._socket = socket.create_connection((load.address, load.port), timeout=REPLY_SECONDS)
        self._socket.settimeout(None)  # the kernel keeps the time instead, and saves a poll() before each read
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", int(REPLY_SECONDS), 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def open(self) -> None:
        """Greeting, EHLO, and STARTTLS where it is wanted."""
        self._expect(b"220")
        self.ask(b"EHLO source.test\r\n", b"250")
        if self._load.tls:
            self.ask(b"STARTTLS\r\n", b"220")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # it makes load; who is there is not its question
            self._socket = context.wrap_socket(self._socket)
            self.ask(b"EHLO source.test\r\n", b"250")

    def send(self, number: int) -> None:
        """One message. Raises Refused, OSError."""
        self.ask(b"MAIL FROM:<" + SENDER + b">\r\n", b"250")
        for recipient in self._load.recipients_of(number):
            self.ask(b"RCPT TO:<" + recipient + b">\r\n", b"250")
        self.ask(b"DATA\r\n", b"354")
        header, rest = parts(number, self._load.octets)
        if len(rest) > FIRST_OCTETS:
            self._socket.sendall(header + rest[:FIRST_OCTETS])
            self.ask(memoryview(rest)[FIRST_OCTETS:], b"250")
        else:
            self.ask(header + rest, b"250")

    def close(self) -> None:
        """Say so and go."""
        with suppress(OSError, Refused):
            self.ask(b"QUIT\r\n", b"221")
        self._socket.close()

    def ask(self, data: bytes | memoryview, code: bytes) -> None:
        """Say something, and take the reply that is hoped for. Raises Refused, OSError."""
        self._socket.sendall(data)
        self._expect(code)

    def _expect(self, code: bytes) -> None:
        reply = b""
        while not (reply.endswith(b"\r\n") and reply[reply.rfind(b"\n", 0, -1) + 4 :].startswith(b" ")):
            data = self._socket.recv(4096)
            if not data:
                raise Refused("the connection was closed")
            reply += data
        if not reply.startswith(code):
            raise Refused(reply.decode("ascii", "replace").strip())


def run(load: Load, numbers: Sequence[int], start: float) -> None:
    """One connection's share. A message that is not taken is told of, and the connection made anew."""
    sender: Sender | None = None
    for number in numbers:
        if load.messages_per_second:
            time.sleep(max(0.0, start + number / load.messages_per_second - time.monotonic()))
        try:
            if sender is None:
                sender = Sender(load)
                sender.open()
            sender.send(number)
            tell(sys.stdout.fileno(), ACCEPTED, number)
        except (OSError, Refused) as refused:
            print(f"message {number}: {refused}", file=sys.stderr)
            tell(sys.stdout.fileno(), FAILED, number)
            sender = None
    if sender is not None:
        sender.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.0, metavar="MESSAGES_PER_SECOND")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--recipients", type=Path, help="a line for each message, with commas")
    given = parser.parse_args()
    lines = given.recipients.read_bytes().splitlines() if given.recipients else ()
    recipients = tuple(line.split(b",") for line in lines)
    load = Load(given.address, given.port, given.octets, given.tls, given.rate, recipients)
    tell(sys.stdout.fileno(), FIRST_BYTE, 0)
    start = time.monotonic()
    child = next((i for i in range(1, given.processes) if os.fork() == 0), 0)
    threads = [
        threading.Thread(target=run, args=(load, range(i + 1, given.messages + 1, given.connections), start))
        for i in range(child, given.connections, given.processes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if child == 0:
        for _ in range(1, given.processes):
            os.wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
