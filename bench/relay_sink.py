"""The receiver of `bench.relay` where smtp-sink will not do: STARTTLS, and a time stamp for each message.

`python -m bench.relay_sink ADDRESS PORT [--pem FILE] [--processes N]` takes everything, keeps nothing, and writes a
stamp (relay_stamps) on its standard output for each message, when its last octet has come. Several processes on one
listener, each with one thread that waits for all its connections: it must cost less than what it measures.
"""

import argparse
import os
import selectors
import socket
import ssl
import sys
from contextlib import suppress

from bench.relay_stamps import DELIVERED, number_of, tell

END = b"\r\n.\r\n"
KEEP_OCTETS = 2048  # of a message: its header is in there
READ_OCTETS = 1 << 18
EXTENSIONS = b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"


class Receiver:
    """One connection, from greeting to its end. The socket never blocks; replies are too short to fill its buffer."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._context = context
        self._handshaking = False
        self._in_content = False
        self._head = b""
        self._buffer = bytearray()
        connection.send(b"220 sink.test ESMTP\r\n")

    def readable(self) -> bool:
        """Read and answer what has come; False when the connection is over."""
        try:
            if self._handshaking and isinstance(self.socket, ssl.SSLSocket):
                self.socket.do_handshake()
                self._handshaking = False
            data = self.socket.recv(READ_OCTETS)
            while data and isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
                data += self.socket.recv(READ_OCTETS)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        self._buffer += data
        return bool(data) and self._answer()

    def _answer(self) -> bool:
        replies = bytearray()
        going_on = True
        while going_on and (self._take(replies) if self._in_content else b"\r\n" in self._buffer):
            if not self._in_content and (end := self._buffer.find(b"\r\n")) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                going_on = self._obey(line[:4].upper(), replies)
        try:
            if replies:
                self.socket.send(replies)
            if self._handshaking:
                self._secure()
        except OSError:
            return False
        return going_on

    def _obey(self, verb: bytes, replies: bytearray) -> bool:
        """Answer one command; False ends the connection."""
        if verb == b"EHLO":
            replies += EXTENSIONS + (b"250-STARTTLS\r\n" if self._context else b"") + b"250 ENHANCEDSTATUSCODES\r\n"
        elif verb == b"STAR" and self._context:
            replies += b"220 2.0.0 go ahead\r\n"
            self._handshaking = True
        elif verb == b"DATA":
            replies += b"354 go ahead\r\n"
            self._in_content = True
        elif verb == b"QUIT":
            replies += b"221 2.0.0 bye\r\n"
            return False
        else:
            replies += b"250 2.0.0 ok\r\n"
        return True

    def _secure(self) -> None:
        if self._context is not None:
            self.socket = self._context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self._context = None

    def _take(self, replies: bytearray) -> bool:
        """Take a message off the buffer when it is there to its end."""
        end = self._buffer.find(END)
        if end < 0:
            if len(self._buffer) > READ_OCTETS:
                self._head = self._head or bytes(self._buffer[:KEEP_OCTETS])
                del self._buffer[: -len(END)]
            return False
        number = number_of(self._head or bytes(self._buffer[:KEEP_OCTETS]))
        del self._buffer[: end + len(END)]
        self._head = b""
        self._in_content = False
        tell(sys.stdout.fileno(), DELIVERED, number)
        replies += b"250 2.0.0 taken\r\n"
        return True


def serve(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Take connections for ever."""
    listener.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    with suppress(BlockingIOError):  # another process was quicker
                        receiver = Receiver(listener.accept()[0], context)
                        selector.register(receiver.socket, selectors.EVENT_READ, receiver)
                elif not key.data.readable():
                    selector.unregister(key.fd)
                    key.data.socket.close()


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
