"""Reloads under load: certificates and configurations change, some of them wrong, while mail comes in and goes out.

    python -m tests.soak.reloads --reloads 100 --workers 2 --seed 1

Counts what was lost, which sessions ended that should not have, and which handshakes after a reload showed an old
certificate. Each must be none.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.admin.client import Queues
from tests.app.test_supervisor import free_port
from tests.certificates import self_signed
from tests.soak.sink import Sink, digest

NAME = "mx.example"
SESSIONS = 6  # that stay open all the time
CROWD = 4  # clients that come and go
SECONDS = 60.0
RELOADED = "reloaded /"
BODY = b"hello\r\n"


@dataclass
class Tally:
    """What went wrong, and how much was done."""

    accepted: set[str] = field(default_factory=set)
    dropped: list[str] = field(default_factory=list)
    old_certificates: int = 0
    reloads: int = 0
    refused_reloads: int = 0
    lost: set[str] = field(default_factory=set)
    waiting: int = 0  # in the queue at the end, when nothing moved any more
    wrong_answers: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.dropped or self.old_certificates or self.lost or self.wrong_answers)

    def __str__(self) -> str:
        return (
            f"{self.reloads} reloads ({self.refused_reloads} refused for mistakes),"
            f" {len(self.accepted)} messages accepted: {len(self.lost)} lost ({self.waiting} still in the queue),"
            f" {len(self.dropped)} sessions dropped,"
            f" {self.old_certificates} old certificates shown, {len(self.wrong_answers)} wrong answers"
        )


class Client(threading.Thread):
    """Sends mail until it is stopped: by one session all the time, or by a new one for each message."""

    def __init__(self, number: int, port: int, tally: Tally, *, stays: bool) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._port = port
        self._tally = tally
        self._stays = stays
        self.over = threading.Event()

    def run(self) -> None:
        sent = 0
        try:
            while not self.over.is_set():
                with smtplib.SMTP("127.0.0.1", self._port, timeout=SECONDS) as session:
                    while not self.over.wait(0.02):
                        self._send(session, f"{self._number}x{sent}")
                        sent += 1
                        if not self._stays:
                            break
        except (OSError, smtplib.SMTPException) as error:
            self._tally.dropped.append(f"client {self._number}: {error!r}")

    def _send(self, session: smtplib.SMTP, name: str) -> None:
        text = b"Subject: x\r\nX-Soak: %s\r\nX-Soak-Digest: %s\r\n\r\n%s" % (name.encode(), digest(BODY), BODY)
        session.sendmail("a@b.example", ["to@[127.0.0.1]"], text)
        self._tally.accepted.add(name)


@contextlib.contextmanager
def clients(port: int, tally: Tally) -> Iterator[None]:
    """Load, as long as the block lasts."""
    crowd = [Client(number, port, tally, stays=number < SESSIONS) for number in range(SESSIONS + CROWD)]
    for each in crowd:
        each.start()
    try:
        yield
    finally:
        for each in crowd:
            each.over.set()
        for each in crowd:
            each.join(SECONDS)


class Operator:
    """Changes files and reloads, now rightly and now wrongly."""

    def __init__(self, directory: Path, port: int, target: int, workers: int, seed: int) -> None:
        self._directory = directory
        self._values = port, target, workers
        self._chance = random.Random(seed)
        self.path = directory / "letterlock.toml"
        self.shown = b""
        self.renew()
        self.write()

    def write(self, more: str = "") -> None:
        """A configuration with other limits each time."""
        port, target, workers = self._values
        self.path.write_text(
            f'hostname = "{NAME}"\nworkers = {workers}\n[smtp]\nlisten = ["127.0.0.1:{port}"]\n'
            f'certificate = "server.pem"\nkey = "server.key"\nmax_recipients = {self._chance.randint(100, 200)}\n'
            f'[queue]\ndirectory = "queue"\nretry_first_seconds = 1\n[resolver]\nupstream = ["127.0.0.1:9"]\n'
            f"[delivery]\nloopback_hosts = true\nport = {target}\nmta_sts = false\n"
            f"max_concurrent = {self._chance.randint(5, 50)}\n"
            f'[route."x{self._chance.randint(0, 9)}.example"]\nnext_hop = "relay.example"\n{more}'
        )

    def renew(self) -> None:
        """Another certificate: each file is replaced whole, but the two are not replaced at once."""
        credential = self_signed(NAME)
        new = self._directory / "new"
        new.mkdir(exist_ok=True)
        for made in credential.write(new):
            made.replace(self._directory / made.name)
        self.shown = credential.certificate.public_bytes(Encoding.DER)

    def spoil(self) -> None:
        """A configuration that cannot be used."""
        kind = self._chance.randrange(3)
        if kind == 0:
            self.write("max_concurrrent = 3\n")
        elif kind == 1:
            self.path.write_text("[smtp\n")
        else:
            self.write('[domain."example"]\ntls = "verfy"\n')


class Server:
    """`letterlock serve`, which logs into a file: nobody has to read it for the server to go on."""

    def __init__(self, config: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            command = sys.executable, "-m", "letterlock", "serve", "--config", str(config)
            self._process = subprocess.Popen(command, stderr=file, start_new_session=True)

    def count(self, words: str) -> int:
        """How often the log says so."""
        return self._log.read_text(errors="replace").count(words)

    async def until(self, words: str, times: int = 1) -> None:
        """Wait until the log says so, as often."""
        async with asyncio.timeout(SECONDS):
            while self.count(words) < times:
                if self._process.poll() is not None:
                    raise RuntimeError(self._log.read_text()[-2000:])
                await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, SECONDS)

    def kill(self) -> None:
        """Whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def unused_port(*, shared: bool) -> Iterator[int]:
    """A port for a server; with workers it stays held beside theirs."""
    if shared:
        with free_port() as port:
            yield port
        return
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    yield port


def shown(port: int) -> bytes:
    """The certificate that a new session is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as session:
        session.starttls(context=context)
        if not isinstance(session.sock, ssl.SSLSocket):
            raise TypeError("no TLS")
        return session.sock.getpeercert(binary_form=True) or b""


async def ask_to_reload(path: Path) -> tuple[int, str]:
    """`letterlock reload`: its exit status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "letterlock", "reload", "--config", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def once(operator: Operator, server: Server, port: int, workers: int, tally: Tally, *, wrong: bool) -> None:
    """One reload, and what has to be so afterwards."""
    if wrong:
        operator.spoil()
    else:
        operator.write()
        operator.renew()
    before = server.count(RELOADED)
    status, said = await ask_to_reload(operator.path)
    tally.reloads += 1
    if (status == 0) is wrong or (wrong and "mistake" not in said):
        tally.wrong_answers.append(f"{status}: {said}")
    if wrong:
        tally.refused_reloads += 1
        return
    await server.until(RELOADED, before + workers)
    seen = await asyncio.gather(*(asyncio.to_thread(shown, port) for _ in range(3)))
    tally.old_certificates += sum(each != operator.shown for each in seen)


async def _drained(sink: Sink, tally: Tally) -> None:
    """Wait until all that was accepted has arrived, as long as anything arrives within SECONDS."""
    count = -1
    while not tally.accepted <= set(sink.arrived) and len(sink.arrived) > count:
        count = len(sink.arrived)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while not tally.accepted <= set(sink.arrived):  # noqa: ASYNC110  # the sink is a thread
                    await asyncio.sleep(0.2)


async def run(directory: Path, *, reloads: int, workers: int, seed: int) -> Tally:
    """All of it; the tally."""
    tally, chance = Tally(), random.Random(seed)
    with Sink("127.0.0.1") as sink, unused_port(shared=workers > 1) as port:
        operator = Operator(directory, port, sink.port, workers, seed)
        server = Server(operator.path, directory / "log")
        try:
            await server.until("workers are ready" if workers > 1 else "asking 127")
            with clients(port, tally):
                for number in range(reloads):
                    await once(operator, server, port, workers, tally, wrong=number % 4 == 3 or chance.random() < 0.1)
            await _drained(sink, tally)
            tally.waiting = await asyncio.to_thread(Queues(directory / "queue").size)
            tally.lost = tally.accepted - set(sink.arrived)
            await server.stop()
        finally:
            server.kill()
    return tally


def main() -> int:
    """The whole, by a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        tally = asyncio.run(
            run(Path(directory), reloads=arguments.reloads, workers=arguments.workers, seed=arguments.seed)
        )
    sys.stdout.write(f"seed {arguments.seed}, {arguments.workers} workers: {tally}\n")
    for each in (*tally.dropped, *tally.wrong_answers):
        sys.stdout.write(f"  {each}\n")
    return 0 if tally.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
