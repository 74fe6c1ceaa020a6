"""An SMTP server whose answer to RCPT stands in the recipient's local part: `later` waits, `never` fails."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.interop.nameservers import Place

_ANSWERS = {b"later": b"450 4.2.0 come back tomorrow", b"never": b"550 5.1.1 no such mailbox"}


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say(b"220 sink.example ESMTP")
        while line := self.rfile.readline(2048):
            command = line.strip().upper()
            if command == b"DATA":
                self._say(b"354 go on")
                while self.rfile.readline(2048) not in (b".\r\n", b""):
                    pass
                self._say(b"250 2.0.0 taken")
            elif command == b"QUIT":
                self._say(b"221 2.0.0 bye")
                return
            else:
                self._say(self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        if line[:4].upper() != b"RCPT":
            return b"250 2.0.0 fine"
        local_part = line.partition(b"<")[2].partition(b"@")[0]
        return _ANSWERS.get(local_part, b"250 2.1.5 fine")

    def _say(self, reply: bytes) -> None:
        self.wfile.write(reply + b"\r\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def scripted_sink() -> Iterator[Place]:
    """The server, on a free port of 127.0.0.1."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Place("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
