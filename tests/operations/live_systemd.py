"""The machine of machine.py under a real systemd, which is process 1 of its own and obeys the whole unit.

It boots with journald and little else, in a control group of its own, runs the commands, and ends. The service is the
packaged one; a drop-in opens the folders of this checkout to it, if the sandbox hides them.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.interop.programs import find
from tests.operations.machine import ENVIRONMENT, PREFIXES, SECONDS, SPACES, Done, files, inside, parse_output

HOMES, PRIVATE = ("/home", "/root", "/run/user"), ("/tmp", "/var/tmp")  # noqa: S108  # what ProtectHome, PrivateTmp hide
COMMAND_SECONDS = 240  # for the commands; then systemd ends them, and what they printed can be read
_UNIT = f"""\
[Service]
Type=oneshot
ExecStart=bash /var/world/script
ExecStopPost=systemctl exit 0
StandardOutput=file:/var/out/printed
TimeoutStartSec={COMMAND_SECONDS}
"""
_TARGET = "[Unit]\nRequires=sysinit.target dbus.socket commands.service\n"
_MASKED = (
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-resolved.service",
    "systemd-firstboot.service",
)
"""What a machine without hardware has no use for."""


def run_live(script: str) -> Done:
    """Run commands on a new machine, whose `systemctl` and `journalctl` are the real ones."""
    return parse_output(*boot(files(), inside(script), checkout=_opened()))


def boot(outside: str, script: str, *, checkout: str) -> tuple[str, float]:
    """Boot the machine that commands make in `$root`, and run its script; what it prints, and the seconds it takes.

    `checkout` is a drop-in of the service.
    """
    begun = time.monotonic()
    with _control_group() as group, tempfile.TemporaryDirectory() as out:
        moved = ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
        making = ["bash", "-c", outside + _boot(Path(out), checkout)]
        command = [*moved, find("unshare"), *SPACES, "--ipc", "--cgroup", *making]
        limit = COMMAND_SECONDS + SECONDS
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, timeout=limit)
        printed = Path(out, "printed")
        assert printed.exists(), f"it did not boot:\n{done.stdout}\n{done.stderr}"
        return printed.read_text(), time.monotonic() - begun


@contextmanager
def _control_group() -> Iterator[Path]:
    """A control group below ours, for as long as the block lasts."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    root = next(Path(at) for _, at, kind, *_ in mounts if kind == "cgroup2")
    ours = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    group = Path(tempfile.mkdtemp(prefix="letterlock-test-", dir=root / ours.lstrip("/")))
    try:
        yield group
    finally:
        (group / "cgroup.kill").write_text("1")
        until = time.monotonic() + SECONDS
        while "populated 1" in (group / "cgroup.events").read_text() and time.monotonic() < until:
            time.sleep(0.02)
        for each in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            each.rmdir()
        group.rmdir()


def _boot(out: Path, checkout: str) -> str:
    """Commands that give the machine devices, control groups and units, and end as its systemd."""
    units: Mapping[str, str] = {
        "commands.service": _UNIT + "Environment=" + ENVIRONMENT + "\n",
        "commands.target": _TARGET,
        "letterlock.service.d/checkout.conf": checkout,
    }
    written = "\n".join(f"cat >$units/{name} <<'UNIT'\n{text}UNIT" for name, text in units.items())
    masked = "\n".join(f"ln -sf /dev/null $units/{name}" for name in _MASKED)
    return f"""
rm -f "$root/usr/local/sbin/timedatectl"
units=$root/etc/systemd/system
mkdir -p $units/letterlock.service.d "$root/var/out"
mount --bind {out} "$root/var/out"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
umount -l "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
rm -f "$root/etc/machine-id"
echo 4c4554544552204c4f434b2049442030 >"$root/etc/machine-id"
{written}
{masked}
cd "$root"
mkdir -p var/outer
pivot_root . var/outer
umount -l var/outer
mount --make-rshared / # as on every machine whose systemd is not in a container
exec env -i container=letterlock-test /lib/systemd/systemd --system --unit=commands.target </dev/null
"""


def _opened() -> str:
    """The drop-in: the folders that this checkout and its Python are in."""
    hidden = [each for each in sorted(PREFIXES) if each.startswith((*HOMES, *PRIVATE))]
    home = "ProtectHome=tmpfs\n" if any(each.startswith(HOMES) for each in hidden) else ""
    return "[Service]\n" + home + "".join(f"BindReadOnlyPaths={each}\n" for each in hidden)
