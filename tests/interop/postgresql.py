"""A PostgreSQL of our own on a socket and a port of loopback, which forgets everything and waits for no disk."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.nameservers import Place
from tests.interop.programs import Program, Unusable, find, need_root, run, running

USER = "postgres"  # Debian's: the server refuses to run as root
PASSWORD = "of the database"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "8MB",
    "max_wal_size": "64MB",
    "autovacuum": "off",
}


@dataclass(slots=True)
class Postgresql:
    """A server; `directory` has its socket."""

    directory: Path
    place: Place
    program: Program

    @property
    def text(self) -> str:
        """How to connect, without the password."""
        return f"host={self.place.address} port={self.place.port} dbname=postgres user={USER}"

    def sql(self, text: str) -> str:
        """Run statements over the socket."""
        options = ["--host", str(self.directory), "--port", str(self.place.port), "--username", USER, "--no-psqlrc"]
        return run("psql", *options, "--quiet", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--command", text)


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise Unusable(f"{name} is missing: apt-get install postgresql")
    return str(found[-1])


def initialised(directory: Path) -> Path:
    """A new cluster in a directory that other users may enter: over TCP it asks for a password, over its socket not."""
    need_root("postgres")
    directory.mkdir(mode=0o755)
    password, data = directory / "password", directory / "data"
    password.write_text(PASSWORD)
    for path in (directory, password):
        shutil.chown(path, USER, USER)
    command = [find("setpriv"), f"--reuid={USER}", f"--regid={USER}", "--clear-groups", _binary("initdb")]
    command += [
        "--no-sync",
        "--no-instructions",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        f"--pwfile={password}",
    ]
    command += ["--username", USER, "--locale=C.UTF-8", str(data)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return data


@contextmanager
def postgresql(directory: Path, data: Path, place: Place) -> Iterator[Postgresql]:
    """Start a server for a cluster, and end it."""
    command: list[str | Path] = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", _binary("postgres")]
    command += ["-D", data, "-k", directory, "-h", place.address, "-p", str(place.port)]
    for name, value in _SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    log = directory / "postgresql.log"

    def ready() -> bool:
        return log.exists() and "ready to accept connections" in log.read_text().rpartition("starting PostgreSQL")[2]

    with running("postgresql", command, log=log, ready=ready) as program:
        yield Postgresql(directory, place, program)
