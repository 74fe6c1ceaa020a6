"""A small SMTP server that records what arrives: the far end of the kill test."""

import hashlib
import socketserver
import threading
from collections import Counter
from types import TracebackType
from typing import Self

MAX_LINE_OCTETS = 4096
MAX_MESSAGE_OCTETS = 1 << 20
IDLE_SECONDS = 60.0


class Sink:
    """Listens on an address, accepts every message, and remembers each by its `X-Soak` header."""

    def __init__(self, address: str) -> None:
        self.arrived: Counter[str] = Counter()
        self.damaged: list[str] = []
        self._lock = threading.Lock()
        self._server = _Server((address, 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def record(self, message: bytes) -> None:
        """Count a message, and check that its content is what was sent."""
        header, _, payload = message.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in header.split(b"\r\n") if line.startswith(b"X-Soak"))
        number = fields[b"X-Soak"].decode()
        with self._lock:
            self.arrived[number] += 1
            if fields[b"X-Soak-Digest"] != digest(payload):
                self.damaged.append(number)


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


class _Session(socketserver.StreamRequestHandler):
    timeout = IDLE_SECONDS
    server: _Server

    def handle(self) -> None:
        """Speak SMTP until the client goes, or is killed."""
        try:
            self.wfile.write(b"220 sink.test ESMTP\r\n")
            while line := self.rfile.readline(MAX_LINE_OCTETS):
                if not self._answer(line.split(None, 1)[0].upper() if line.strip() else b""):
                    return
        except OSError:
            return  # the client was killed: that is what this test is about

    def finish(self) -> None:
        """Close, also when the client is gone already."""
        try:
            super().finish()
        except OSError:
            return

    def _answer(self, verb: bytes) -> bool:
        if verb == b"EHLO":
            self.wfile.write(b"250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
        elif verb == b"DATA":
            self.wfile.write(b"354 go on\r\n")
            return self._message()
        elif verb == b"QUIT":
            self.wfile.write(b"221 bye\r\n")
            return False
        else:
            self.wfile.write(b"250 ok\r\n")
        return True

    def _message(self) -> bool:
        lines: list[bytes] = []
        octets = 0
        while (line := self.rfile.readline(MAX_LINE_OCTETS)) != b".\r\n":
            octets += len(line)
            if not line.endswith(b"\n") or octets > MAX_MESSAGE_OCTETS:
                return False
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self.server.sink.record(b"".join(lines))
        self.wfile.write(b"250 kept\r\n")
        return True
