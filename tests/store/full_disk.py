"""A queue on a disk of 3 MB that is full, with a server of its own: `python -m tests.store.full_disk DIRECTORY STATE`.

Runs in a mount namespace of its own, with the disk at DIRECTORY; whatever room appears there is taken away again before
each step, by a file that stands for everything else that fills a disk. Prints what happened as JSON.
"""

import contextlib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.soak.sink import Sink, digest

SECONDS = 30.0
MAX_MESSAGE_OCTETS = 102_400
TEXT = b"x" * 70 + b"\r\n"


class Server:
    """`letterlock serve` on the small disk, and the commands about it."""

    def __init__(self, queue: Path, state: Path, target: int) -> None:
        self.queue, self.state = queue, state
        self.config = state / "letterlock.toml"
        self.config.write_text(
            'hostname = "mx.example"\n[smtp]\nlisten = ["127.0.0.1:2525"]\n'
            f'max_message_octets = {MAX_MESSAGE_OCTETS}\n[queue]\ndirectory = "{queue}"\nretry_first_seconds = 1\n'
            f'retry_max_seconds = 2\n[resolver]\nupstream = ["127.0.0.1:9"]\n'
            f'[route."x.example"]\nnext_hop = "[127.0.0.1]"\nport = {target}\n'
        )

    def fill(self) -> int:
        """Leave nothing free on the disk; how many octets were."""
        taken = 0
        with (self.queue / "ballast").open("ab") as file:
            while free := os.statvfs(self.queue).f_bavail * os.statvfs(self.queue).f_frsize:
                with contextlib.suppress(OSError):  # the server was quicker
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
                    taken += free
        return taken

    @contextmanager
    def running(self, end: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        """From its start to its end."""
        with (self.state / "log").open("ab") as log:
            command = [sys.executable, "-m", "letterlock", "serve", "--config", str(self.config)]
            process = subprocess.Popen(command, stderr=log)
            try:
                self._await_start(process)
                yield
            finally:
                process.send_signal(end)
                process.wait(SECONDS)

    def _await_start(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 2525), SECONDS) as connection:
                connection.settimeout(SECONDS)
                if connection.recv(3) == b"220":  # it is bound long before it is ready
                    return
            assert process.poll() is None, (self.state / "log").read_text()
            time.sleep(0.05)
        raise AssertionError((self.state / "log").read_text())

    def ask(self, *arguments: str) -> Any:
        """`letterlock queue`, and what it says as JSON."""
        command = [sys.executable, "-m", "letterlock", "queue", *arguments, "--json", "--config", str(self.config)]
        ran = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
        assert ran.returncode == 0, (arguments, ran, (self.state / "log").read_text()[-3000:])
        return json.loads(ran.stdout)

    def ids(self) -> list[str]:
        """What waits."""
        return [each["id"] for each in self.ask("list")["messages"]]

    def send(self, number: int) -> str:
        """A message of 20 KB; the reply, or the one that refused it."""
        body = TEXT * 280
        text = b"Subject: x\r\nX-Soak: %d\r\nX-Soak-Digest: %s\r\n\r\n" % (number, digest(body))
        with smtplib.SMTP("127.0.0.1", 2525, timeout=SECONDS) as client:
            try:
                client.sendmail("a@b.example", ["to@x.example"], text + body)
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                reply = error.smtp_error
                return f"{error.smtp_code} {reply.decode() if isinstance(reply, bytes) else reply}"
        return "250"


def main() -> None:
    """The scenario."""
    queue, state = Path(sys.argv[1]), Path(sys.argv[2])
    did: dict[str, Any] = {}
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # and never listens
        server = Server(queue, state, dead.getsockname()[1])
        with server.running():
            replies = [server.send(number) for number in range(1, 101)]
            did["accepted"], did["refusal"] = replies.count("250"), next(each for each in replies if each != "250")
            server.fill()
            did["listed"] = len(server.ids())
            server.fill()
            did["counted"] = server.ask("stats")["total"]["total"]
            server.fill()
            removed = server.ids()[:2]
            did["removed"] = server.ask("remove", "--yes", *removed)["changed"]
            server.fill()
            server.ask("retry", "--all")
            server.fill()
            time.sleep(2)  # attempts are made, and written
            attempts = [
                each["attempts"] for message in server.ask("list")["messages"] for each in message["recipients"]
            ]
            did["least attempts"] = min(attempts)
            did["refused while full"] = server.send(1000)[:3]
        server.fill()
        for end in (signal.SIGKILL, signal.SIGTERM):
            with server.running(end):
                server.fill()
                did["after a restart"] = len(server.ids())
            server.fill()
    with Sink("127.0.0.1") as sink:
        server = Server(queue, state, sink.port)
        server.fill()
        with server.running():
            server.fill()
            server.ask("retry", "--all")
            deadline = time.monotonic() + SECONDS
            while len(sink.arrived) < did["accepted"] - did["removed"] and time.monotonic() < deadline:
                server.fill()
                time.sleep(0.2)
            did["delivered"], did["twice"] = len(sink.arrived), [k for k, n in sink.arrived.items() if n > 1]
            (queue / "ballast").unlink()
            deadline = time.monotonic() + SECONDS
            while (reply := server.send(2000)) != "250" and time.monotonic() < deadline:
                time.sleep(0.5)
            did["accepted with room"] = reply
            while (left := server.ids()) and time.monotonic() < deadline:
                time.sleep(0.2)
            did["left with room"], did["delivered in all"] = len(left), sum(sink.arrived.values())
    print(json.dumps(did))


if __name__ == "__main__":
    main()
