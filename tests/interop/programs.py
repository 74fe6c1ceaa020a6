"""Starting real programs, and ending them whatever happens.

Every program runs in the foreground, in a session of its own, and dies with the test run (setpriv --pdeathsig), so that
nothing is left behind. A program or a privilege that is missing fails the test and says what to install.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {
    "delv": "bind9-dnsutils",
    "dnssec-dsfromkey": "bind9-utils",
    "dnssec-keygen": "bind9-utils",
    "dnssec-signzone": "bind9-utils",
    "fail2ban-regex": "fail2ban",
    "doveadm": "dovecot-core",
    "dovecot": "dovecot-lmtpd",
    "keymgr": "knot",
    "knotd": "knot",
    "ldns-key2ds": "ldnsutils",
    "ldns-keygen": "ldnsutils",
    "groff": "groff-base",
    "ldns-signzone": "ldnsutils",
    "named": "bind9",
    "clamd": "clamav-daemon",
    "nsd": "nsd",
    "opendkim-genkey": "opendkim-tools",
    "postconf": "postfix",
    "postfix": "postfix",
    "smtp-source": "postfix",
    "swaks": "swaks",
    "unbound": "unbound",
}
START_SECONDS = 15.0
STOP_SECONDS = 10.0
TAIL_OCTETS = 8000


class Unusable(AssertionError):
    """A program or privilege that the tests need is not there; `str()` says how to get it."""


class NotReady(AssertionError):
    """A program ended, or was not ready in time; `str()` holds its log."""


def find(program: str) -> str:
    """The path of a program. Raises Unusable."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        package = PACKAGES.get(program, program)
        raise Unusable(f"{program} is not installed: run tools/debian-packages, or 'apt-get install {package}' as root")
    return path


def need_root(program: str) -> None:
    """Raises Unusable when this is not root."""
    if os.geteuid() != 0:
        raise Unusable(f"{program} starts only as root: run 'make test' as root (a container or a CI job will do)")


def run(program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    """Run a tool to its end; its stdout. A failure shows what it said."""
    status, stdout, stderr = try_run(program, *arguments, cwd=cwd)
    assert status == 0, f"{program} {arguments}: exit status {status}\n{stdout}\n{stderr}"
    return stdout


def try_run(program: str, *arguments: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run a tool that may fail; its exit status, stdout and stderr."""
    command = [find(program), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """All that it logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self) -> str:
        """The end of its log, for failure messages."""
        return self.text()[-TAIL_OCTETS:]


running_programs: list[Program] = []


@contextmanager
def running(
    name: str,
    arguments: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    separate_log: bool = False,
) -> Iterator[Program]:
    """Start a program, wait until it is ready, and end it afterwards.

    `log` gets stdout and stderr, unless the program writes it itself (`separate_log`). Raises NotReady.
    """
    command = [find("setpriv"), "--pdeathsig", "TERM", find(str(arguments[0])), *map(str, arguments[1:])]
    output = log.with_suffix(".out") if separate_log else log
    with output.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    program = Program(name, process, log)
    running_programs.append(program)
    try:
        wait_until(ready, what=f"{name} to be ready", program=program)
        yield program
    finally:
        stop(program)
        running_programs.remove(program)


def stop(program: Program) -> int:
    """End a program and all that it started; its exit status."""
    process = program.process
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _kill_group(process.pid)
    return process.returncode


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(
    condition: Callable[[], bool], *, what: str, program: Program | None = None, seconds: float = START_SECONDS
) -> None:
    """Poll until a condition holds. Raises NotReady after `seconds`, or when the program ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        ended = program is not None and program.process.poll() is not None
        if ended or time.monotonic() > deadline:
            logs = "\n".join(f"--- {each.name}\n{each.tail()}" for each in running_programs)
            raise NotReady(f"waited for {what}{': the program ended' if ended else ''}\n{logs}")
        time.sleep(0.02)


def loopback_prefix() -> str:
    """Three octets of a part of 127.0.0.0/8 that nobody else is likely to use."""
    chance = random.SystemRandom()
    return f"127.{chance.randrange(64, 250)}.{chance.randrange(1, 255)}"


def free_port(address: str) -> int:
    """A port that is free for TCP and UDP on an address."""
    for _ in range(50):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind((address, port))
            except OSError:
                continue
            return port
    raise Unusable(f"no port is free on {address}")


def accepts(address: str, port: int) -> bool:
    """Whether somebody listens on a TCP port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def greets(address: str, port: int) -> bool:
    """Whether an SMTP server says 220 on a port."""
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return connection.recv(512).startswith(b"220")
    except OSError:
        return False
