"""The receivers of `bench.relay --part mixed`: all hosts in one program, each reply late as over a long line.

`python -m bench.mixed_sink PEMS BEHAVIOURS` listens on port 25 of every address. What it has to send, a TLS handshake's
part included, it sends the host's delay after what it answers. BEHAVIOURS: a file with `NUMBER BEHAVIOUR` of the hosts
that are not fast. Stamps (relay_stamps) on standard output: connections, handshakes and their hosts, and deliveries.
"""

import os
import re
import selectors
import socket
import ssl
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from bench.mixed_load import REPLY_SECONDS, SLOW_REPLY_SECONDS, Behaviour, Host, host_number
from bench.mixed_names import CREDENTIALS
from bench.relay_stamps import CLOSED, CONNECTED, DELIVERED, HANDSHAKEN, delivery, number_of, tell

PORT = 25
PROCESSES = 2
BACKLOG = 4096
READ_OCTETS = 1 << 16
END = b"\r\n.\r\n"
TARPIT_SECONDS = 1.0
DELAYS = {Behaviour.SLOW: SLOW_REPLY_SECONDS, Behaviour.TARPIT: TARPIT_SECONDS}
KNOCKERS = 4  # connections that fill a backlog of none, with one to spare
_RECIPIENT = re.compile(rb"@d(\d+)\.test>", re.IGNORECASE)


class Later:
    """What is to be sent when its time has come: a line for each delay is always in order."""

    def __init__(self) -> None:
        self._lines: dict[float, deque[tuple[float, Receiver, bytes]]] = {}

    def add(self, delay: float, receiver: "Receiver", data: bytes) -> None:
        """Send this then; nothing: close."""
        self._lines.setdefault(delay, deque()).append((time.monotonic() + delay, receiver, data))

    def run(self) -> float | None:
        """Send what is due; return the seconds until more is due."""
        now = time.monotonic()
        for line in self._lines.values():
            while line and line[0][0] <= now:
                _, receiver, data = line.popleft()
                receiver.send(data)
        return min((line[0][0] - now for line in self._lines.values() if line), default=None)


class Receiver:
    """One connection, from greeting to its end."""

    def __init__(self, connection: socket.socket, host: int, behaviour: Behaviour, later: Later, pems: Path) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.open = True
        self._host = host
        self._delay = DELAYS.get(behaviour, REPLY_SECONDS)
        self._tarpit = behaviour is Behaviour.TARPIT
        self._later = later
        self._pems = pems
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._handshaking = False
        self._in_content = False
        self._recipients: list[int] = []
        self._buffer = bytearray()
        tell(sys.stdout.fileno(), CONNECTED, host)
        self._say(b"220-wait\r\n" if self._tarpit else b"220 sink.test ESMTP\r\n")

    def send(self, data: bytes) -> None:
        """Send at once what was to be sent later. The replies are too short to fill the socket's buffer."""
        if not self.open:
            return
        try:
            if not data:
                self.socket.shutdown(socket.SHUT_WR)
            else:
                self.socket.send(data)
        except OSError:
            return  # the client is gone, which is seen by reading
        if self._tarpit:
            self._say(b"220-wait\r\n")

    def readable(self) -> bool:
        """Read and answer what has come; False when the connection is over."""
        try:
            data = self.socket.recv(READ_OCTETS)
            if self._tls is not None and data:
                self._incoming.write(data)
                data = self._decrypt(self._tls)
                if not data:
                    return True
        except BlockingIOError:
            return True
        except OSError:  # ssl.SSLError too
            return False
        self._buffer += data
        if data:
            self._answer()
        return bool(data)

    def close(self) -> None:
        """It is over."""
        self.open = False
        self.socket.close()
        tell(sys.stdout.fileno(), CLOSED, self._host)

    def _decrypt(self, tls: ssl.SSLObject) -> bytes:
        """Go on with the handshake, or with what is inside. Nothing where all that has come is not enough."""
        data = b""
        with suppress(ssl.SSLWantReadError):
            if self._handshaking:
                tls.do_handshake()
                self._handshaking = False
                tell(sys.stdout.fileno(), HANDSHAKEN, self._host)
            while more := tls.read(READ_OCTETS):
                data += more
        self._flush()
        return data

    def _say(self, data: bytes) -> None:
        if self._tls is None:
            self._later.add(self._delay, self, data)
        else:
            self._tls.write(data)
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._later.add(self._delay, self, self._outgoing.read())

    def _answer(self) -> None:
        replies = bytearray()
        while self._take(replies) if self._in_content else b"\r\n" in self._buffer:
            if not self._in_content and (end := self._buffer.find(b"\r\n")) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                if not self._obey(line, replies):
                    break
        if replies:
            self._say(bytes(replies))
        if self._handshaking and self._tls is None:
            context = _context(self._pems / f"{self._host % CREDENTIALS}.pem")
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def _obey(self, line: bytes, replies: bytearray) -> bool:
        """Answer one command; False: nothing more is read in this state."""
        verb = line[:4].upper()
        if verb == b"EHLO":
            start_tls = b"" if self._tls else b"250-STARTTLS\r\n"
            replies += b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n" + start_tls
            replies += b"250 ENHANCEDSTATUSCODES\r\n"
        elif verb == b"STAR":
            replies += b"220 2.0.0 go ahead\r\n"
            self._handshaking = True
            return False
        elif verb == b"DATA":
            replies += b"354 go ahead\r\n"
            self._in_content = True
        elif verb == b"QUIT":
            self._say(b"221 2.0.0 bye\r\n")
            self._later.add(self._delay, self, b"")
            return False
        else:
            if verb == b"RCPT" and (found := _RECIPIENT.search(line)):
                self._recipients.append(int(found[1]))
            replies += b"250 2.0.0 ok\r\n"
        return True

    def _take(self, replies: bytearray) -> bool:
        """Take a message off the buffer when it is there to its end."""
        end = self._buffer.find(END)
        if end < 0:
            return False
        number = number_of(bytes(self._buffer[:end]))
        del self._buffer[: end + len(END)]
        for domain in self._recipients:
            tell(sys.stdout.fileno(), DELIVERED, delivery(number, domain))
        self._recipients.clear()
        self._in_content = False
        replies += b"250 2.0.0 taken\r\n"
        return True


@cache
def _context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def die(host: int, stack: ExitStack) -> None:
    """Be a host that answers no SYN: a listener whose backlog is full (a room may have no other device than lo)."""
    address = Host(host, "").address
    listener = stack.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((address, PORT))
    listener.listen(0)
    for _ in range(KNOCKERS):
        knocker = stack.enter_context(socket.socket())
        knocker.setblocking(False)
        knocker.connect_ex((address, PORT))


def serve(listener: socket.socket, behaviours: dict[int, Behaviour], pems: Path) -> None:
    """Take connections for ever."""
    listener.setblocking(False)
    later = Later()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(later.run()):
                if key.data is None:
                    with suppress(BlockingIOError):
                        while True:  # a crowd comes at once
                            connection = listener.accept()[0]
                            host = host_number(connection.getsockname()[0])
                            behaviour = behaviours.get(host, Behaviour.FAST)
                            receiver = Receiver(connection, host, behaviour, later, pems)
                            selector.register(connection, selectors.EVENT_READ, receiver)
                elif not key.data.readable():
                    selector.unregister(key.fd)
                    key.data.close()


def main() -> None:
    """The command."""
    pems, lines = Path(sys.argv[1]), Path(sys.argv[2]).read_text().splitlines()
    behaviours = {int(number): Behaviour(kind) for number, kind in (line.split() for line in lines)}
    for number in range(CREDENTIALS):
        _context(pems / f"{number}.pem")
    with ExitStack() as stack:
        for host, behaviour in behaviours.items():
            if behaviour is Behaviour.DEAD:
                die(host, stack)
        for _ in range(PROCESSES - 1):
            if os.fork() == 0:
                break
        listener = stack.enter_context(socket.create_server(("", PORT), backlog=BACKLOG, reuse_port=True))
        serve(listener, behaviours, pems)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
