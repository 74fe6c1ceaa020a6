"""Connections that send one message after another, and remember which of them were answered 250.

A message from `s-NUMBER` goes to `r-NUMBER`, at one of the sink's addresses.
"""

import contextlib
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.interop.nameservers import Place
from tests.soak.sink import digest

REPLY_SECONDS = 30.0
RECONNECT_SECONDS = 0.05
_REFUSALS = (b"451", b"452")  # for now; whether there was a reason to is looked at in the end


class Unexpected(Exception):
    """The server said something that a healthy server does not say here."""


@dataclass
class Ledger:
    """What was answered 250, what was begun, and what went wrong otherwise than by a kill."""

    accepted: set[str] = field(default_factory=set)
    refused: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)  # of what was accepted
    begun: int = 0
    surprises: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """A message is about to be sent."""
        with self._lock:
            self.begun += 1

    def accept(self, number: str, reply: bytes) -> None:
        """The server answered 250: from now on it may not lose it."""
        with self._lock:
            self.accepted.add(number)
            self.ids[number] = reply.split()[-1].decode("ascii", "replace")

    def refuse(self, number: str, reply: bytes) -> None:
        """The server did not take it, and said so."""
        with self._lock:
            self.refused[number] = time.monotonic(), reply

    def surprise(self, what: str) -> None:
        """Something that a kill does not explain."""
        with self._lock:
            self.surprises.append(what)


class Sender(threading.Thread):
    """One client: connects again whenever the server was killed, until it is told to stop."""

    def __init__(
        self, number: int, place: Place, sinks: Sequence[str], ledger: Ledger, seed: int, pause_seconds: float
    ) -> None:
        super().__init__(name=f"sender-{number}", daemon=True)
        self._number = number
        self._place = place
        self._sinks = sinks
        self._ledger = ledger
        self._chance = random.Random(seed * 1000 + number)
        self._pause = pause_seconds
        self._counter = itertools.count()
        self._stop_asked = threading.Event()
        self.hold = threading.Event()

    def stop(self) -> None:
        """Send no new message after the one in hand."""
        self._stop_asked.set()

    def run(self) -> None:
        """Send until told to stop."""
        while not self._stop_asked.is_set():
            try:
                with socket.create_connection((self._place.address, self._place.port), REPLY_SECONDS) as connection:
                    self._session(connection)
            except Unexpected as surprise:
                self._ledger.surprise(str(surprise))
            except OSError:
                self._stop_asked.wait(RECONNECT_SECONDS)  # killed, or not up again yet

    def _session(self, connection: socket.socket) -> None:
        with contextlib.closing(connection.makefile("rb")) as replies:
            expect(replies.readline(1024), b"220")
            connection.sendall(b"EHLO soak.test\r\n")
            while (line := replies.readline(1024))[3:4] == b"-":
                continue
            expect(line, b"250")
            while not self._stop_asked.is_set():
                if not self.hold.is_set():
                    self._send(connection, replies.readline)
                self._stop_asked.wait(self._chance.uniform(0, 2 * self._pause))
            connection.sendall(b"QUIT\r\n")

    def _recipient(self, number: str) -> str:
        return f"r-{number}@[{self._chance.choice(self._sinks)}]"

    def _send(self, connection: socket.socket, readline: Callable[[int], bytes]) -> None:
        number = f"{self._number}-{next(self._counter)}"
        self._ledger.begin()
        back, to = f"s-{number}@[{self._sinks[0]}]", self._recipient(number)
        connection.sendall(f"MAIL FROM:<{back}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode())
        answer = readline(1024)
        if answer.startswith(_REFUSALS) and answer.endswith(b"\n"):  # no room: said before the message is sent
            self._ledger.refuse(number, answer)
            for _ in range(2):
                expect(readline(1024), b"503")
            return
        expect(answer, b"250")
        for code in (b"250", b"354"):
            expect(readline(1024), code)
        payload = b"".join(b"%032x\r\n" % self._chance.getrandbits(128) for _ in range(self._chance.randrange(1, 200)))
        header = f"X-Soak: {number}\r\nX-Soak-Digest: {digest(payload).decode()}\r\nSubject: soak\r\n\r\n".encode()
        connection.sendall(header + payload + b".\r\n")
        reply = readline(1024)
        if reply.startswith(_REFUSALS) and reply.endswith(b"\n"):
            self._ledger.refuse(number, reply)
            return
        expect(reply, b"250")
        self._ledger.accept(number, reply)


def expect(line: bytes, code: bytes) -> None:
    """Raises ConnectionResetError when the server is gone, Unexpected when it answered something else."""
    if not line.endswith(b"\n") or line.startswith(b"421"):  # it may say that it is going, when its supervisor is gone
        raise ConnectionResetError("the server went away")
    if not line.startswith(code):
        raise Unexpected(f"expected {code.decode()}, got {line!r}")
