"""The receiver of `bench.relay` where smtp-sink will not do: STARTTLS, and a time stamp for each message.

`python -m bench.relay_sink ADDRESS PORT [--pem FILE] [--processes N]` takes everything, keeps nothing, and writes a
stamp (relay_stamps) on its standard output for each message, when its last octet has come. A thread for each
connection, and several processes on one listener.
"""

import argparse
import os
import socket
import ssl
import sys
import threading
from contextlib import suppress

from bench.relay_stamps import DELIVERED, number_of, tell

IDLE_SECONDS = 120.0
END = b"\r\n.\r\n"
KEEP_OCTETS = 2048  # of a message: its header is in there
READ_OCTETS = 1 << 18


class Receiver:
    """One connection, from greeting to its end."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        self._socket = connection
        self._context = context
        self._buffer = bytearray()

    def run(self) -> None:
        """Talk until the other side has had enough."""
        self._socket.settimeout(IDLE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            self._socket.sendall(b"220 sink.test ESMTP\r\n")
            while self._fill():
                replies = bytearray()
                while (end := self._buffer.find(b"\r\n")) >= 0:
                    line = bytes(self._buffer[:end])
                    del self._buffer[: end + 2]
                    if not self._obey(line, replies):
                        return
                if replies:
                    self._socket.sendall(replies)
        self._socket.close()

    def _fill(self) -> bool:
        data = self._socket.recv(READ_OCTETS)
        self._buffer += data
        return bool(data)

    def _obey(self, line: bytes, replies: bytearray) -> bool:
        """Answer one command; False ends the connection."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            replies += b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
            replies += (
                b"250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n" if self._context else b"250 ENHANCEDSTATUSCODES\r\n"
            )
        elif verb == b"STAR" and self._context:
            self._socket.sendall(b"220 2.0.0 go ahead\r\n")
            self._socket = self._context.wrap_socket(self._socket, server_side=True)
            self._context = None
            self._buffer.clear()
        elif verb == b"DATA":
            self._socket.sendall(bytes(replies) + b"354 go ahead\r\n")
            replies.clear()
            if not self._take():
                return False
            replies += b"250 2.0.0 taken\r\n"
        elif verb == b"QUIT":
            self._socket.sendall(bytes(replies) + b"221 2.0.0 bye\r\n")
            self._socket.close()
            return False
        else:
            replies += b"250 2.0.0 ok\r\n"
        return True

    def _take(self) -> bool:
        """Read a message to its end; False when the connection ended first."""
        head = b""
        while (end := self._buffer.find(END)) < 0:
            if len(self._buffer) > READ_OCTETS:
                head = head or bytes(self._buffer[:KEEP_OCTETS])
                del self._buffer[: -len(END)]
            if not self._fill():
                return False
        number = number_of(head or bytes(self._buffer[:KEEP_OCTETS]))
        del self._buffer[: end + len(END)]
        tell(sys.stdout.fileno(), DELIVERED, number)
        return True


def serve(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Take connections for ever."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=Receiver(connection, context).run, daemon=True).start()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--pem", help="certificate and key: offer STARTTLS")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    context = None
    if given.pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.pem)
    with socket.create_server((given.address, given.port), backlog=1024) as listener:
        for _ in range(given.processes - 1):
            if os.fork() == 0:
                break
        serve(listener, context)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
