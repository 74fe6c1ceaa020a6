"""The three relays of `bench.relay`: how each is configured (bench/peers/), started, and ended."""

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import ClassVar

from bench.relay_box import CannotMeasure
from bench.relay_names import PEERS, SINK_ADDRESS, Names
from bench.relay_source import SENDER
from letterlock.dkim import Algorithm, generate_key

ADDRESS, PORT = "127.0.0.1", 2525
CONNECTIONS = 20
START_SECONDS = 20.0
STOP_SECONDS = 10.0
_POSTFIX_DAEMONS = Path("/usr/lib/postfix/sbin")
_SMTPD_SPOOL = Path("/var/spool/smtpd")  # compiled in


@dataclass(frozen=True, slots=True)
class Room:
    """Where a server runs, and what its configuration may name."""

    directory: Path
    names: Names
    tls: bool
    variant: str = ""  # another kind of run than clear or tls

    def write(self, peer: str, *sources: str, processes: int = 0) -> str:
        """Configuration files of bench/peers/, one after the other, filled in."""
        text = "".join((PEERS / peer / source).read_text() for source in sources)
        return Template(text).substitute(
            directory=self.directory,
            listen=f"{ADDRESS}:{PORT}",
            port=PORT,
            sink=SINK_ADDRESS,
            connections=CONNECTIONS,
            anchor=self.names.anchor,
            certificate=self.names.certificate,
            key=self.names.key,
            pem=self.names.pem,
            processes=processes,
        )

    @property
    def kind(self) -> str:
        """The name that the configuration files of this kind of run have."""
        return self.variant or ("tls" if self.tls else "clear")


@dataclass(frozen=True, slots=True)
class Postfix:
    """Debian's Postfix; with so many processes of a kind where the run leaves it open."""

    name: str = "Postfix"
    processes: int = 200
    log: ClassVar[str] = "log"
    authentication: ClassVar[tuple[re.Pattern[str], str]] = re.compile(r"(\w+) TLS connection \w+ to"), "Verified"
    can_tls: ClassVar[bool] = True
    warms_up: ClassVar[bool] = True

    def version(self) -> str:
        """As it tells it."""
        return _output(["postconf", "-dh", "mail_version"])

    def command(self, room: Room) -> list[str]:
        """Lay out its directories; the command that runs it in the foreground."""
        etc = room.directory / "etc"
        for each in (etc, room.directory / "data", room.directory / "queue"):
            each.mkdir()
        shutil.chown(room.directory / "data", "postfix")
        (etc / "main.cf").write_text(room.write("postfix", "main.cf", f"{room.kind}.cf", processes=self.processes))
        (etc / "master.cf").write_text(room.write("postfix", "master.cf"))
        subprocess.run(["postfix", "-c", str(etc), "check"], check=True)
        return [str(_POSTFIX_DAEMONS / "master"), "-c", str(etc), "-s"]


@dataclass(frozen=True, slots=True)
class OpenSmtpd:
    """Debian's OpenSMTPD, taken out of its package (`folder`)."""

    folder: Path
    name = "OpenSMTPD"
    can_tls = False  # Debian's 6.8 fails as a TLS server with OpenSSL 3 (its issue 1171)
    warms_up = False  # after a pause its relay waits, hard-coded, for up to 10 seconds before it connects again

    def version(self) -> str:
        """As it tells it."""
        return _output([str(self.folder / "usr/sbin/smtpd"), "-h"]).split()[
            2
        ]  # `version: OpenSMTPD 6.8.0p2`, then the usage

    def command(self, room: Room) -> list[str]:
        """Empty its spool; the command that runs it in the foreground."""
        shutil.rmtree(_SMTPD_SPOOL)
        _SMTPD_SPOOL.mkdir(mode=0o711)
        config = room.directory / "smtpd.conf"
        config.write_text(room.write("opensmtpd", f"{room.kind}.conf"))
        config.chmod(0o600)
        return [str(self.folder / "usr/sbin/smtpd"), "-d", "-f", str(config)]


@dataclass(frozen=True, slots=True)
class Letterlock:
    """Ours, from this checkout; with DKIM keys of these algorithms, and as an `mx` that checks what comes."""

    name: str = "Letterlock"
    signs_with: tuple[Algorithm, ...] = ()
    checks: bool = False
    more: str = ""  # of its configuration
    log: ClassVar[str] = "log.stderr"
    authentication: ClassVar[tuple[re.Pattern[str], str]] = re.compile(r"status=sent(?:.* by=(\S+))?"), "dane-ee"
    can_tls: ClassVar[bool] = True
    warms_up: ClassVar[bool] = True

    def version(self) -> str:
        """Version and commit."""
        commit = _output(["git", "-C", str(PEERS), "describe", "--always", "--dirty"])
        version = _output([sys.executable, "-m", "letterlock", "--version"]).split()[-1]
        return f"{version} {commit} with Python {platform.python_version()}"

    def command(self, room: Room) -> list[str]:
        """The command that runs it in the foreground."""
        config = room.directory / "letterlock.toml"
        text = room.write("letterlock", f"{room.kind}.toml")
        if self.checks:
            text = text.replace("[smtp]\nlisten", '[[listener]]\nrole = "mx"\ndomains = ["sink.test"]\nlisten')
        config.write_text(f"{text}\n{self.more}{self._keys(room.directory)}")
        return [sys.executable, "-m", "letterlock", "serve", "--config", str(config)]

    def _keys(self, folder: Path) -> str:
        """The table with fresh keys of the sender's domain."""
        selectors = []
        for number, algorithm in enumerate(self.signs_with):
            path = folder / f"s{number}.pem"
            path.write_bytes(generate_key(algorithm))
            path.chmod(0o600)
            selectors.append(f's{number} = "{path}"')
        domain = SENDER.decode().partition("@")[2]
        return f'\n[dkim."{domain}"]\nselectors = {{ {", ".join(selectors)} }}\n' if selectors else ""


def mail_authentication() -> list["Peer"]:
    """Letterlock without and with what issue 20 added, to be compared."""
    ed25519, rsa = Algorithm.ED25519_SHA256, Algorithm.RSA_SHA256
    return [
        Letterlock(),
        Letterlock("signs Ed25519", (ed25519,)),
        Letterlock("signs RSA-2048", (rsa,)),
        Letterlock("signs both", (ed25519, rsa)),
        Letterlock("checks all", checks=True),
    ]


def counting() -> list["Peer"]:
    """Letterlock without counters, with them, and with an endpoint that could be asked."""
    return [
        Letterlock("not counted", more="[metrics]\ncount = false\n"),
        Letterlock("counted"),
        Letterlock("with endpoint", more='[metrics]\nlisten = "127.0.0.1:9725"\n'),
    ]


def statistics() -> list["Peer"]:
    """Letterlock without statistics, and with them."""
    return [
        Letterlock("without statistics", more="[statistics]\ncount = false\n"),
        Letterlock("with statistics"),
    ]


Peer = Postfix | OpenSmtpd | Letterlock


def peers(opensmtpd: Path | None) -> list[Peer]:
    """Those that can run here, in the order of their turns."""
    found: list[Peer] = [Postfix()]
    if opensmtpd is not None:
        found.append(OpenSmtpd(opensmtpd))
    return [*found, Letterlock()]


def mixed_peers() -> list[Peer]:
    """Those that deliver to a thousand hosts, in the order of their turns. OpenSMTPD cannot do what is asked there."""
    return [Postfix("Postfix 100", 100), Postfix("Postfix 1000", 1000), Letterlock()]


def fetch_opensmtpd(folder: Path) -> Path:
    """Take OpenSMTPD out of its package into a folder. Raises CannotMeasure."""
    done = subprocess.run([str(PEERS / "fetch-opensmtpd"), str(folder)], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise CannotMeasure(done.stderr.strip())
    return folder


def is_authenticated(peer: Peer, room: Room) -> bool:
    """Whether the server's log says of all that went out that DANE authenticated the receiver."""
    if isinstance(peer, OpenSmtpd):
        return False
    pattern, wanted = peer.authentication
    return set(pattern.findall((room.directory / peer.log).read_text())) == {wanted}


def authenticated_deliveries(peer: Peer, room: Room) -> int:
    """How often the server's log says that DANE authenticated the receiver."""
    if isinstance(peer, OpenSmtpd):
        return 0
    pattern, wanted = peer.authentication
    return pattern.findall((room.directory / peer.log).read_text()).count(wanted)


def as_installed() -> dict[str, str]:
    """The environment of a server whose modules are compiled, as an installation's are, and stay so."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def running(peer: Peer, room: Room) -> Iterator[int]:
    """Start a server, and end it with all its processes; the process id of its root. Raises CannotMeasure."""
    room.directory.mkdir()
    command = peer.command(room)
    with (room.directory / "log.stderr").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=as_installed())
    try:
        _wait_for_port(process, room.directory / "log.stderr", peer.name)
        yield process.pid
    finally:
        end(process)
        shutil.rmtree(room.directory, ignore_errors=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process politely, then what is left of its group for sure."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def wait_until_listening(process: subprocess.Popen[bytes], address: str, port: int, *, seconds: float) -> bool:
    """Whether somebody greets there in time; the process is who should, and must not have ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection((address, port), timeout=1) as probe:
            probe.settimeout(seconds)
            if probe.recv(3) == b"220":
                probe.sendall(b"QUIT\r\n")
                while probe.recv(1024):
                    pass
                return True
        time.sleep(0.05)
    return False


def _wait_for_port(process: subprocess.Popen[bytes], log: Path, name: str) -> None:
    if not wait_until_listening(process, ADDRESS, PORT, seconds=START_SECONDS):
        raise CannotMeasure(f"{name} does not answer on port {PORT}:\n{log.read_text()[-2000:]}")


def _output(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return re.sub(r"\s+", " ", done.stdout).strip()
