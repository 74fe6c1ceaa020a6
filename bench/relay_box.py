"""The room that `bench.relay` measures in: name spaces of its own, on a real disk.

The benchmark starts itself again behind unshare(1): its own network (port 25 and 53 are free, nothing leaves), its own
mounts (an /etc/resolv.conf that names the box's resolver, a /var/spool that lies in the box) and its own process ids,
so that whatever was started ends when it ends, however it ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

INSIDE = "LETTERLOCK_BENCH_BOX"
PACKAGES = {
    "smtp-source": "postfix",
    "smtp-sink": "postfix",
    "postfix": "postfix",
    "unbound": "unbound",
    "ip": "iproute2",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
NOT_A_DISK = {"tmpfs", "ramfs", "overlay"}  # an fsync costs nothing there, or may not reach the disk
ISOLATION = "--net --mount --pid --fork --mount-proc --kill-child=KILL"
OPENSMTPD_USERS = ("opensmtpd", "opensmtpq")
FIRST_FREE_ID = 64800


class CannotMeasure(Exception):
    """Something is missing here. `str()` says what, and what to do."""


def missing_programs() -> list[str]:
    """What is not here, as sentences."""
    return [f"{name} is missing: apt-get install {package}" for name, package in PACKAGES.items() if not _find(name)]


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def filesystem_of(directory: Path) -> tuple[str, str]:
    """Type and device of the file system that holds a directory."""
    device = directory.stat().st_dev
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] == f"{os.major(device)}:{os.minor(device)}":
            kind, source = fields[fields.index("-") + 1 :][:2]
            return kind, source
    raise CannotMeasure(f"{directory}: no file system of that device is mounted")


def fsync_milliseconds(directory: Path, times: int = 50) -> float:
    """What it costs here, in the median, to write 4 KB to a file and have it on disk."""
    path = directory / "fsync"
    spent = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            start = time.monotonic()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            spent.append(time.monotonic() - start)
    path.unlink()
    return sorted(spent)[times // 2] * 1000


def run_inside(arguments: Sequence[str], parent: Path, module: str = "bench.relay") -> int:
    """Start the benchmark again in its room, in a new directory below `parent`; its exit status."""
    if os.geteuid() != 0:
        raise CannotMeasure("name spaces and the peers' users need root: run it with sudo")
    if missing := missing_programs():
        raise CannotMeasure("\n".join(missing))
    kind, _ = filesystem_of(parent)
    if kind in NOT_A_DISK:
        raise CannotMeasure(f"{parent} is on {kind}: give --directory on a real disk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="letterlock-bench-", dir=parent, ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        # setpriv: should this process be killed, the room ends with it
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *ISOLATION.split()]
        command += [sys.executable, "-m", module, *arguments]
        room = subprocess.Popen(command, env={**os.environ, INSIDE: directory}, start_new_session=True)
        try:
            return room.wait()
        finally:
            room.kill()
            room.wait()


def furnish(directory: Path, opensmtpd: Path | None) -> None:
    """From inside: bring loopback up, and lay the box's own files over the system's."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # a peer without TCP_NODELAY would wait 40 ms for each message's delayed ACK, and the rate would be of that
    for network in ("127.0.0.0/8", "127.0.0.1"):
        route = [
            "local",
            network,
            "dev",
            "lo",
            "table",
            "local",
            "proto",
            "kernel",
            "scope",
            "host",
            "src",
            "127.0.0.1",
        ]
        subprocess.run(["ip", "route", "change", *route, "quickack", "1"], check=True)
    etc = directory / "etc"
    etc.mkdir()
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions edns0 trust-ad\n")
    (etc / "hosts").write_text("127.0.0.1 localhost bench.test\n")
    for name in ("passwd", "group"):
        (etc / name).write_text(Path("/etc", name).read_text() + _entries(name))
    for name in ("resolv.conf", "hosts", "passwd", "group"):
        _bind(etc / name, Path("/etc", name).resolve())
    for name in ("spool", "lib", "run"):
        (directory / name).mkdir()
    (directory / "lib/opensmtpd/empty").mkdir(parents=True)
    _bind(directory / "spool", Path("/var/spool"))
    _bind(directory / "lib", Path("/var/lib"))
    _bind(directory / "run", Path("/run"))
    if opensmtpd is not None:
        (directory / "spool/smtpd").mkdir(mode=0o711)


def _bind(source: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)


def _entries(name: str) -> str:
    known = Path("/etc", name).read_text()
    lines = []
    for number, user in enumerate(OPENSMTPD_USERS, FIRST_FREE_ID):
        if f"\n{user}:" not in known:
            tail = f"{number}:{number}::/var/lib/opensmtpd/empty:/bin/false" if name == "passwd" else f"{number}:"
            lines.append(f"{user}:x:{tail}\n")
    return "".join(lines)
