"""The guide is its transcript: a stock Debian Postfix is made safe by its commands, and put back by one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.guide_run import commands
from tests.interop.programs import find, need_root

pytestmark = [pytest.mark.interop, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_at_most_five_commands_make_it_safe_and_one_undoes_it() -> None:
    typed = commands()
    assert typed.index("letterlock companion check") < 5
    assert typed[typed.index("letterlock companion check") + 1] == "letterlock companion disable"


def test_the_commands_of_the_guide_do_what_it_says(tmp_path: Path) -> None:
    need_root("unshare")
    for program in ("unshare", "postconf", "postfix"):
        find(program)
    covered = {"/etc/postfix": "postfix", "/etc/letterlock": "letterlock", "/var/backups": "backups"}
    for name in covered.values():
        (tmp_path / name).mkdir()
    shutil.copytree("/etc/postfix", tmp_path / "postfix", dirs_exist_ok=True)
    for name in ("main.cf", "master.cf"):
        shutil.copy(f"/etc/postfix/{name}.proto", tmp_path / "postfix" / name)
    spool = tmp_path / "spool"
    (spool / "etc").mkdir(parents=True)
    (tmp_path / "resolv.conf").write_text("nameserver 127.99.0.53\n")
    shutil.copy(tmp_path / "resolv.conf", spool / "etc")
    script = ["set -e", "ip link set lo up", "mkdir -p /etc/letterlock"]
    script += [f"mount --bind {tmp_path / name} {place}" for place, name in covered.items()]
    script += [f"mount --bind {spool} /var/spool/postfix", f"mount --bind {tmp_path / 'resolv.conf'} /etc/resolv.conf"]
    script += ["mount -t tmpfs none /etc/systemd", "mkdir -p /etc/systemd/system"]
    script += [f"cd {ROOT}", f"exec {sys.executable} -m tests.interop.guide_run"]
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", "\n".join(script)],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
