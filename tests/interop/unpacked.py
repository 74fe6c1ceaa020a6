"""Programs taken out of their Debian packages without installing them: mail servers exclude each other as packages.

They run in a mount namespace of their own, where the users and directories that are compiled into them exist.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.interop.programs import Program, Unusable, find, greets, need_root, running

_ROOT = Path(__file__).parents[2] / ".make" / "unpacked"
FIRST_ID = 61_000


def unpacked(package: str, program: str) -> Path:
    """The folder that tools/debian-packages unpacked a package in; `program` is a file in it. Raises Unusable."""
    folder = _ROOT / package
    if not (folder / program).exists():
        raise Unusable(f"the package {package} is not unpacked: run tools/debian-packages")
    done = subprocess.run([find("ldd"), folder / program], capture_output=True, text=True, check=True)
    missing = [line.split()[0] for line in done.stdout.splitlines() if "not found" in line]
    if missing:
        raise Unusable(f"{program} of {package} needs {', '.join(missing)}: run tools/debian-packages")
    return folder


@contextmanager
def boxed(
    name: str,
    command: Sequence[str | Path],
    directory: Path,
    *,
    users: Mapping[str, str],
    port: tuple[str, int],
    laid_over: Mapping[Path, str] | None = None,
) -> Iterator[Program]:
    """Run a server as root where `users` (name and home) exist and /var/spool, /var/lib and /run lie in `directory`.

    `laid_over`: further directories, and those of the system that they cover.
    """
    need_root(name)
    for each in ("spool", "run", "lib"):
        (directory / each).mkdir(exist_ok=True)
    for database in ("passwd", "group"):
        lines = [Path("/etc", database).read_text()]
        for number, (user, home) in enumerate(users.items(), FIRST_ID):
            tail = f"{number}:{number}::{home}:/bin/false" if database == "passwd" else f"{number}:"
            lines.append(f"{user}:x:{tail}\n")
        (directory / database).write_text("".join(lines))
    binds = {
        directory / "passwd": "/etc/passwd",
        directory / "group": "/etc/group",
        directory / "spool": "/var/spool",
        directory / "run": "/run",
        directory / "lib": "/var/lib",
        **(laid_over or {}),
    }
    script = "".join(f"mount --bind {source} {target} && " for source, target in binds.items())
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{script}exec "$@"', "sh", *command]
    log = directory / "log"

    def ready() -> bool:
        return greets(*port)

    with running(name, shell, log=log, ready=ready) as program:
        yield program


def own(path: Path, user: int) -> Path:
    """A new directory that belongs to a user."""
    path.mkdir()
    shutil.chown(path, user, user)
    return path
