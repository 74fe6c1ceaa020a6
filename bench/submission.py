"""Logins and messages per second, with AUTH and with a milter, compared with Postfix: python -m bench.submission

Both servers relay to the same sink, and the same opendkim looks at the mail. Postfix's users are Dovecot's, who keeps
their passwords as Letterlock does: argon2id (19 MiB, two passes) for PLAIN, PBKDF2 (4,096 iterations) for
SCRAM-SHA-256. Neither `letterlock` nor Dovecot remembers a login that was checked; `letterlock-default` does, and
so checks the one user of this load once. A login is a connection by implicit TLS 1.3, EHLO, AUTH and QUIT. `cpu` is
that of the server and of Dovecot, whose figures are steadier than the rates on a busy machine. The parts:

    login-plain, login-scram    one login a connection
    plain                       cleartext, no login, no filter: what the others are compared with
    auth                        ten messages after each login
    milter                      as plain, with opendkim verifying at 8891
"""

import argparse
import base64
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.certificates import authority
from tests.interop import postfix
from tests.interop.lab import public_directory
from tests.interop.letterlock import serving
from tests.interop.nameservers import Place
from tests.interop.programs import accepts, free_port, running

from bench.relay_meter import cpu_seconds
from bench.submission_load import PASSWORD, USERS
from letterlock.accounts.user_file import make_user, new_file, write_users

HOST = "127.0.0.1"
PER_LOGIN = 10  # messages of a session, in the part `auth`
LETTERLOCK = """\
hostname = "mx.source.test"
workers = {workers}
[smtp]
certificate = "{directory}/server.pem"
key = "{directory}/server.key"
relay_networks = ["127.0.0.0/8"]
max_connections_per_client = 1000
[queue]
directory = "@QUEUE@"
[resolver]
upstream = ["127.0.0.1:9"]
[accounts]
file = "{directory}/users"
remember_logins_seconds = {remembered}
{milter}
[[listener]]
role = "relay"
listen = ["@LISTEN@"]
milters = [{milters}]
[[listener]]
role = "submissions"
listen = ["{submissions.address}:{submissions.port}"]
[route."*"]
next_hop = "[127.0.0.1]"
port = {sink}
"""
DOVECOT = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols =
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
ssl = no
auth_mechanisms = plain scram-sha-256
auth_cache_size = 0
auth_worker_max_count = 2
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """A running server: where it relays, where users log in, and the processes whose CPU counts."""

    relay: int
    submissions: int
    roots: tuple[int, ...]

    def cpu(self) -> float:
        """CPU seconds so far."""
        return sum(map(cpu_seconds, self.roots))


@dataclass(frozen=True, slots=True)
class SubmissionPart:
    """One thing that is measured. `counts`: how many per session."""

    name: str
    options: tuple[str, ...]
    counts: int = 1
    submits: bool = True
    filtered: bool = False


PARTS = (
    SubmissionPart("login-plain", ("--tls", "--login", "PLAIN")),
    SubmissionPart("login-scram", ("--tls", "--login", "SCRAM-SHA-256")),
    SubmissionPart("plain", ("--messages", str(PER_LOGIN)), PER_LOGIN, submits=False),
    SubmissionPart("auth", ("--tls", "--login", "PLAIN", "--messages", str(PER_LOGIN)), PER_LOGIN),
    SubmissionPart("milter", ("--messages", str(PER_LOGIN)), PER_LOGIN, submits=False, filtered=True),
)


@contextmanager
def letterlock(directory: Path, sink: int, milter: int | None, workers: int, remembered: int = 0) -> Iterator[Measured]:
    """Ours, with a file of users."""
    relay, submissions = Place.free(HOST), Place.free(HOST)
    text = LETTERLOCK.format(
        remembered=remembered,
        directory=directory.parent,
        workers=workers,
        submissions=submissions,
        sink=sink,
        milter=f'[milter.bench]\naddress = "127.0.0.1:{milter}"' if milter else "",
        milters='"bench"' if milter else "",
    )
    directory.mkdir()
    with serving(directory, relay, text) as server:
        yield Measured(relay.port, submissions.port, (server.program.process.pid,))


@contextmanager
def postfix_and_dovecot(directory: Path, sink: int, milter: int | None, _workers: int) -> Iterator[Measured]:
    """Postfix, whose users are Dovecot's."""
    relay, submissions = Place.free(HOST), Place.free(HOST)
    services = (
        f"{HOST}:{submissions.port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes\n"
    )
    others = {
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(directory.parent / "auth.sock"),
        "smtpd_tls_chain_files": str(directory.parent / "chain.pem"),
        "smtpd_tls_security_level": "may",
        "smtpd_milters": f"inet:{HOST}:{milter}" if milter else "",
        "smtpd_client_connection_rate_limit": "0",
        "default_process_limit": "200",
    }
    with ExitStack() as stack:
        auth = stack.enter_context(dovecot(directory.parent / "dovecot", directory.parent / "auth.sock"))
        sending = postfix.sender(
            directory,
            relay,
            hostname="mx.source.test",
            relay_host=Place(HOST, sink),
            tls_level="none",
            services=services,
            **others,
        )
        server = stack.enter_context(sending)
        yield Measured(relay.port, submissions.port, (server.program.process.pid, auth))


@contextmanager
def dovecot(directory: Path, socket: Path) -> Iterator[int]:
    """Its auth service; the id of its first process."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=0o755)
    socket.unlink(missing_ok=True)
    ann, bea = (make_user(name, PASSWORD, (name,)) for name in USERS.values())
    salt, stored, server = (
        base64.b64encode(each).decode() for each in (bea.scram.salt, bea.scram.stored_key, bea.scram.server_key)
    )
    scram = f"{{SCRAM-SHA-256}}{bea.scram.iterations},{salt},{stored},{server}"
    (directory / "users").write_text(f"{ann.name}:{{ARGON2ID}}{ann.argon2}\n{bea.name}:{scram}\n")
    config = directory / "dovecot.conf"
    config.write_text(DOVECOT.format(directory=directory, socket=socket))
    command: list[str | Path] = ["dovecot", "-F", "-c", config]
    with running("dovecot", command, log=directory / "dovecot.log", ready=socket.exists, separate_log=True) as program:
        yield program.process.pid


@contextmanager
def opendkim(directory: Path) -> Iterator[int]:
    """A filter that looks at everything, and finds nothing signed."""
    directory.mkdir(mode=0o755)
    port = free_port(HOST)
    (directory / "conf").write_text(
        f"Socket inet:{port}@{HOST}\nMode v\nUserID opendkim\nPidFile {directory}/pid\nSyslog no\nBackground no\n"
    )
    shutil.chown(directory, "opendkim")
    command: list[str | Path] = ["opendkim", "-f", "-x", directory / "conf"]
    with running("opendkim", command, log=directory / "log", ready=lambda: accepts(HOST, port)):
        yield port


@contextmanager
def sink() -> Iterator[int]:
    """What takes the mail."""
    port = free_port(HOST)
    command = [sys.executable, "-m", "bench.relay_sink", HOST, str(port), "--processes", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not accepts(HOST, port):
            if process.poll() is not None:
                raise RuntimeError("the sink did not start")
        yield port
    finally:
        process.kill()
        process.wait()


PEERS: dict[str, Callable[[Path, int, int | None, int], AbstractContextManager[Measured]]] = {
    "letterlock": letterlock,
    "letterlock-default": partial(letterlock, remembered=300),
    "postfix": postfix_and_dovecot,
}


def run(part: SubmissionPart, server: Measured, sessions: int, connections: int) -> tuple[float, float]:
    """Per second, and CPU milliseconds for each."""
    port = server.submissions if part.submits else server.relay
    command = [sys.executable, "-m", "bench.submission_load", str(port), *part.options]
    before = server.cpu()
    done = subprocess.run(
        [*command, "--sessions", str(sessions), "--connections", str(connections)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    count = sessions * part.counts
    return count / float(done.stdout), (server.cpu() - before) / count * 1000


def measure(directory: Path, sessions: int, rounds: int, connections: int, workers: int) -> None:
    """All parts of both servers, in turn; medians are printed."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with sink() as port, opendkim(directory / "opendkim") as milter:
        for number in range(rounds):
            for peer, start in PEERS.items():
                for filtered in (False, True):
                    place = directory / f"{peer}-{number}-{filtered}"
                    with start(place, port, milter if filtered else None, workers) as server:
                        for part in (each for each in PARTS if each.filtered == filtered):
                            found.setdefault((part.name, peer), []).append(run(part, server, sessions, connections))
    print(table(found))


def table(found: dict[tuple[str, str], list[tuple[float, float]]]) -> str:
    """Medians, with the least and the most."""
    lines = ["| part | server | per second | CPU ms for each |", "| --- | --- | --- | --- |"]
    for (part, peer), outcomes in sorted(found.items(), key=lambda each: [one.name for one in PARTS].index(each[0][0])):
        rate, cpu = ([outcome[index] for outcome in outcomes] for index in (0, 1))
        lines.append(f"| {part} | {peer} | {_spread(rate, 0)} | {_spread(cpu, 2)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=400, help="of each part; each has ten messages, if any")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="of Letterlock; Postfix has a process a connection")
    given = parser.parse_args()
    with public_directory() as directory:
        certificate, key = authority().leaf("mx.source.test").write(directory)
        (directory / "chain.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
        key.chmod(0o600)
        users = new_file()
        for name in USERS.values():
            users.users[name] = make_user(name, PASSWORD, (name, "ann@source.test"))
        write_users(directory / "users", users)
        measure(directory, given.sessions, given.rounds, given.connections, given.workers)


if __name__ == "__main__":
    main()
