"""An SMTP server that records what arrives, and misbehaves when it is told to: the far end of the soak."""

import contextlib
import hashlib
import os
import re
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tests.soak.arrivals import Arrival, Visit
from tests.soak.faults import Kind, Mischief, Step

MAX_LINE_OCTETS = 4096
MAX_MESSAGE_OCTETS = 1 << 20
IDLE_SECONDS = 60.0
STALL_SECONDS = 3.0  # longer than a hurried client waits
# In one group with the reply to the content before (RFC 2920 section 3.1), they let that be in doubt.
_OUT_OF_STEP = (Kind.GARBAGE, Kind.WRONG)
_ADDRESS = re.compile(rb"<(?:([rs])-([^@>]+)@[^>]*)?>")  # to and from the soak's own numbers


class Sink:
    """Listens on addresses, on one port, and remembers each message by its `X-Soak` header.

    Mail to `s-NUMBER` is a notification: `bounced` counts those. `refused`: to which messages it has said 5yz.
    """

    def __init__(self, *addresses: str, mischief: Mischief | None = None) -> None:
        self.mischief = mischief or Mischief(0, 0.0)
        self.arrived: Counter[str] = Counter()
        self.arrivals: list[Arrival] = []
        self.bounced: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.damaged: list[str] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        first = _Server((addresses[0], 0), self)
        self._servers = [first, *(_Server((each, first.server_address[1]), self) for each in addresses[1:])]
        self._threads = [
            threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            for each in self._servers
        ]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._servers[0].server_address[1])

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()

    def record(self, message: bytes, visit: Visit, *, begun: float, answered: bool) -> Arrival:
        """Count a message, and check that its content is what was sent."""
        header, _, payload = message.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in header.split(b"\r\n") if line.startswith(b"X-Soak"))
        number = fields[b"X-Soak"].decode()
        with self._lock:
            self.arrived[number] += 1
            self.arrivals.append(arrival := Arrival(number, begun, time.monotonic(), visit, answered))
            if fields[b"X-Soak-Digest"] != digest(payload):
                self.damaged.append(number)
        return arrival

    def record_notification(self, number: str) -> None:
        """Count a notification for the sender of a message."""
        with self._lock:
            self.bounced[number] += 1

    def refuse(self, number: str) -> None:
        """Remember that this message was refused for good."""
        with self._lock:
            self.refused.add(number)


def digest(payload: bytes) -> bytes:
    """What the `X-Soak-Digest` header says of a payload."""
    return hashlib.sha256(payload).hexdigest().encode()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, place: tuple[str, int], sink: Sink) -> None:
        self.sink = sink
        super().__init__(place, _Session)


class _Over(Exception):
    """The sink has had enough of this session."""


class _Session(socketserver.StreamRequestHandler):
    timeout = IDLE_SECONDS
    server: _Server

    def setup(self) -> None:
        """Begin with no transaction."""
        super().setup()
        self._visit = Visit()
        self._sender: str | None = None  # the number in the reverse-path
        self._notified: str | None = None  # whose notification this is
        self._recipients = 0
        self._begun = 0.0  # the transaction; monotonic seconds
        self._kept: Arrival | None = None  # the last one
        self._spoilt = False  # something went wrong in the content: no answer behind it tells the client anything

    def handle(self) -> None:
        """Speak SMTP until the client goes, or is killed, or something goes wrong on purpose."""
        try:
            self._misbehave(Step.CONNECT)
            self._say(Step.GREETING, b"220 sink.test ESMTP\r\n")
            while line := self.rfile.readline(MAX_LINE_OCTETS):
                self._answer(line)
        except (OSError, _Over):
            pass  # the client was killed, or we were meant to break off: that is what this test is about
        self._visit.ended_at = time.monotonic()

    def finish(self) -> None:
        """Close, also when the client is gone already."""
        with contextlib.suppress(OSError):
            super().finish()

    def _answer(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self._say(Step.EHLO, b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        elif verb == b"MAIL":
            self._mail(line)
        elif verb == b"RCPT":
            self._rcpt(line)
        elif verb == b"DATA":
            self._data()
        elif verb == b"QUIT":
            self._visit.polite = True
            self.wfile.write(b"221 bye\r\n")
            raise _Over
        else:
            self.wfile.write(b"250 ok\r\n")

    def _mail(self, line: bytes) -> None:
        found = _ADDRESS.search(line)
        self._sender = found[2].decode() if found and found[2] else None
        self._notified, self._recipients, self._begun = None, 0, time.monotonic()
        self._say(Step.MAIL, b"250 ok\r\n")

    def _rcpt(self, line: bytes) -> None:
        found = _ADDRESS.search(line)
        if self._say(Step.RCPT, b"250 ok\r\n"):
            self._notified = found[2].decode() if found and found[1] == b"s" else None
            self._recipients += 1

    def _data(self) -> None:
        if not self._recipients:
            self.wfile.write(b"503 5.5.1 to whom?\r\n")
        elif self._say(Step.DATA, b"354 go on\r\n"):
            self._message()

    def _message(self) -> None:
        lines: list[bytes] = []
        octets = 0
        while (line := self.rfile.readline(MAX_LINE_OCTETS)) != b".\r\n":
            octets += len(line)
            if not line.endswith(b"\n") or octets > MAX_MESSAGE_OCTETS:
                raise _Over
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            if len(lines) == 1:
                self._spoilt = self._misbehave(Step.CONTENT)
        self._recipients = 0
        self._take(b"".join(lines))

    def _take(self, message: bytes) -> None:
        """Keep the message and say so; or misbehave, and keep it or not. What is not kept is never answered 250."""
        sink, mischief = self.server.sink, self.server.sink.mischief
        kind = mischief.choose(Step.DOT, may_fail=self._sender is not None)
        kept = kind is None or (kind not in (Kind.TEMPORARY, Kind.PERMANENT) and mischief.keeps())
        good = b"250 kept\r\n"
        if kept and self._notified is not None:
            sink.record_notification(self._notified)
        elif kept:
            answered = kind is None and not self._spoilt
            self._kept = sink.record(message, self._visit, begun=self._begun, answered=answered)
            good = f"250 kept {self._kept.number}\r\n".encode()
        if kind is None:
            self.wfile.write(good)
        elif kind is Kind.STALL and not kept:
            sink.closing.wait(STALL_SECONDS)  # a client that stood still for as long (strace, SIGSTOP) is waiting yet
            raise _Over
        else:
            self._commit(Step.DOT, kind, good)

    def _misbehave(self, step: Step) -> bool:
        """Where there is nothing to be said; whether anything was done."""
        kind = self.server.sink.mischief.choose(step, may_fail=False)
        if kind is not None:
            self._commit(step, kind, b"")
        return kind is not None

    def _say(self, step: Step, good: bytes) -> bool:
        """Give a good reply, or another; whether it was the good one."""
        may_fail = self._sender is not None or step in (Step.GREETING, Step.EHLO)  # those two only defer
        kind = self.server.sink.mischief.choose(step, may_fail=may_fail)
        if kind is None:
            self.wfile.write(good)
            return True
        self._commit(step, kind, good)
        return kind is Kind.STALL

    def _commit(self, step: Step, kind: Kind, good: bytes) -> None:
        sink = self.server.sink
        if kind is Kind.RESET:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.request.detach())
        if kind in (Kind.RESET, Kind.CLOSE):
            raise _Over
        if kind is Kind.STALL:
            began = time.monotonic()
            sink.closing.wait(STALL_SECONDS)
            self._visit.deaf = began, time.monotonic()
        if kind in _OUT_OF_STEP and self._kept is not None:
            self._kept.answered = False
        if kind is Kind.PERMANENT and self._sender is not None:
            sink.refuse(self._sender)
        self.wfile.write(sink.mischief.reply(step, kind, good))
        if kind is Kind.HALF:
            raise _Over
