"""The guide to a real domain on a Debian made by debootstrap: python -m tests.operations.fresh_debian

The commands of docs/guides/real-domain.md are run in their order, under Debian's own systemd, and must print what the
guide shows. `apt-get` and `git clone` are real too, but done beforehand, with the network of this machine; so is
`tools/setup`, with the wheels of the lock file, which this machine fetches. The rest happens in a network of its own.
Needs root; the Debian is kept in .make, and takes a minute or two the first time.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from tests.interop.programs import find, need_root
from tests.operations.live_systemd import boot
from tests.operations.machine import ROOT, parse_output
from tests.operations.test_real_domain import missing_lines, script_of, transcript

BASE = ROOT / ".make" / "debian-12-guide.tar"
PACKAGES = "adduser,ca-certificates,dbus,git,iproute2,make,openssl,python3,python3-venv,systemd,systemd-sysv,procps"
COMMANDS_OF_THE_READER = ("apt-get", "git")  # done beforehand


def run(*command: str | Path, **environment: str) -> None:
    """Run a program, and show what it prints if it fails."""
    done = subprocess.run(
        [find(str(command[0])), *map(str, command[1:])],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def make_debian() -> None:
    """The packages that the guide begins with, in an archive."""
    if BASE.exists():
        return
    print("making a Debian 12 with debootstrap (once)", flush=True)
    BASE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", made)
        run("tar", "-C", made, "--one-file-system", "-cf", BASE.with_suffix(".new"), ".")
    BASE.with_suffix(".new").rename(BASE)


def install(root: Path, wheels: Path) -> None:
    """Clone this repository, and run `tools/setup`, as the guide says, with the wheels that were fetched."""
    print("cloning and installing there", flush=True)
    lock = ROOT / "requirements.lock"
    run(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "-r", lock, "-d", wheels)
    run("git", "clone", "--quiet", ROOT, root / "opt/letterlock")
    run("cp", "-r", wheels, root / "var/wheels")
    setup = "cd /opt/letterlock && PIP_NO_INDEX=1 PIP_FIND_LINKS=/var/wheels tools/setup requirements.lock"
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    run("chroot", root, "env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8", "sh", "-c", setup)


def outside(root: Path) -> str:
    """Commands that make the machine's files and network from the root; what they read is its script."""
    anchors = "import os, letterlock.resolver.trust_anchors as a; p = '/var/world/root.ds'; "
    anchors += "a.ROOT_ANCHORS_TEXT = open(p).read() if os.path.exists(p) else a.ROOT_ANCHORS_TEXT"
    hidden = "\n".join(f"printf '#!/bin/sh\\n' >$root/usr/local/sbin/{name}" for name in COMMANDS_OF_THE_READER)
    return f"""set -eu
root={shlex.quote(str(root))}
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
ip link set lo up
ip route add local 192.0.2.0/24 dev lo
hostname relay.example.org
echo nameserver 127.0.0.1 >"$root/etc/resolv.conf"
mkdir -p "$root/usr/local/sbin" "$root/var/world/mail"
echo {shlex.quote(anchors)} >"$root/opt/letterlock/.venv/lib/python3.11/site-packages/world.pth"
{hidden}
chmod 755 "$root"/usr/local/sbin/*
cat >"$root/var/world/script"
"""


def inside(script: str) -> str:
    """The world, and then the commands."""
    return (
        textwrap.dedent(
            """\
        exec 2>&1
        export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TZ=UTC
        cd /opt/letterlock
        .venv/bin/python -m tests.operations.world /var/world >/var/world/log 2>&1 &
        cd /root
        until [ -e /var/world/dns-ready ]; do sleep 0.05; done
        journalctl() { sleep 2; command journalctl "$@"; } # a reader types slower than this
        trap 'echo "$? $BASH_COMMAND" >>/var/world/failed' ERR
        """
        )
        + f"{script}\nprintf '\\n::failed\\n'\ncat /var/world/failed 2>/dev/null\nexit 0\n"
    )


def main() -> int:
    """Make the machine, run the guide, compare; 1 if something is missing."""
    need_root("debootstrap")
    make_debian()
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as folder:  # a disk
        root = Path(folder, "root")
        root.mkdir(mode=0o755)
        run("tar", "-C", root, "-xf", BASE)
        install(root, Path(folder, "wheels"))
        printed, seconds = boot(outside(root), inside(script_of(transcript())), checkout="")
        done = parse_output(printed, seconds)
    missing = missing_lines(done.out)
    print(done.out if missing or done.failed else f"{len(transcript())} commands printed what the guide shows")
    for each in (*missing, *done.failed):
        print("not as shown:", each)
    return int(bool(missing or done.failed))


if __name__ == "__main__":
    sys.exit(main())
