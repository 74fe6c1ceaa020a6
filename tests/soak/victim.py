"""The server that all this is done to: killed, started again, and looked after."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.interop.letterlock import write_config
from tests.interop.nameservers import Place
from tests.interop.programs import find, greets

START_SECONDS = 30.0
WORKER_SHARE = 0.8  # of the kills, where there are workers: the rest hits their supervisor
CONFIG = """\
hostname = "soak.test"
workers = @WORKERS@
[smtp]
listen = ["@LISTEN@"]
[queue]
directory = "@QUEUE@"
retry_first_seconds = 1
retry_max_seconds = 2
delay_notice_seconds = 0
[resolver]
upstream = ["@UPSTREAM@"]
timeout_seconds = 1
[delivery]
loopback_hosts = true
port = @PORT@
mta_sts = false
connect_timeout_seconds = 2
"""


class Victim:
    """Starts on the same queue every time. With workers, one of its processes is killed.

    `stops`: when it ended by itself (monotonic seconds), and its last words.
    """

    def __init__(
        self,
        directory: Path,
        place: Place,
        sink_port: int,
        workers: int,
        environment: Mapping[str, str] | None = None,
        *,
        upstream: str = "127.0.0.1:9",  # nobody
        rules: str = "",
    ) -> None:
        self._place = place
        self._workers = workers
        self._environment = {**os.environ, **(environment or {})}
        self.log = directory / "letterlock.log"
        self.stops: list[tuple[float, str]] = []
        self.config = write_config(
            directory,
            place,
            CONFIG.replace("@PORT@", str(sink_port)).replace("@WORKERS@", str(workers)).replace("@UPSTREAM@", upstream)
            + rules,
        )
        serve = [sys.executable, "-m", "tests.soak.hurried", "serve", "--config", str(self.config)]
        self._command = [find("setpriv"), "--pdeathsig", "KILL", *serve]
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )

    def await_ready(self) -> None:
        """Wait until it greets; start it again if it ends by itself. Raises AssertionError when it does not come up."""
        deadline = time.monotonic() + START_SECONDS
        while not greets(self._place.address, self._place.port):
            assert time.monotonic() < deadline, f"the server did not come up:\n{self.text()[-4000:]}"
            self.look_after()
            time.sleep(0.02)

    def look_after(self) -> None:
        """Start it again if it has ended by itself, as a service manager does."""
        if self._process.poll() is not None:
            words = self.text()[-400:].strip().rpartition("\n")[2]
            self.stops.append((time.monotonic(), f"exit status {self._process.returncode}: {words}"))
            time.sleep(0.2)
            self._process = self._start()

    def kill(self) -> float:
        """SIGKILL, now, and when that was. With workers it hits their supervisor; they end by themselves then."""
        workers = self._children()
        self._process.kill()
        self._process.wait()
        killed = time.monotonic()
        self._await_end(workers)
        return killed

    def kill_one(self, chance: random.Random) -> float:
        """SIGKILL for one process, now, and when that was; what the supervisor does not start again is started here."""
        self.look_after()
        workers = self._children()
        if workers and chance.random() < WORKER_SHARE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
            return time.monotonic()
        return self.kill_whole()

    def kill_whole(self) -> float:
        """SIGKILL for the server, which is started again, and when that was. Its workers hold the queue until then."""
        killed = self.kill()
        self._process = self._start()
        return killed

    def _await_end(self, pids: list[int]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < deadline, f"workers outlive their supervisor:\n{self.text()[-4000:]}"
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """Its processes."""
        return [self._process.pid, *self._children()]

    def _children(self) -> list[int]:
        if self._workers == 1:
            return []
        with contextlib.suppress(FileNotFoundError):
            pid = self._process.pid
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def text(self) -> str:
        """What all its lives logged."""
        return self.log.read_text(errors="replace")
