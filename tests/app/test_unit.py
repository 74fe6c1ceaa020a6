"""The shipped systemd unit: hardened, reloadable, watched."""

import re
import shutil
import subprocess
from pathlib import Path

from letterlock.receive.profiles import Role

UNIT = Path(__file__).parents[2] / "packaging" / "letterlock.service"
SOCKET = UNIT.with_suffix(".socket")
MAX_EXPOSURE = 2.0


def test_the_unit_reloads_and_is_watched() -> None:
    lines = UNIT.read_text().splitlines()
    for line in ("Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "WatchdogSec=90", "NoNewPrivileges=yes"):
        assert line in lines


def test_the_units_exposure_is_low() -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is part of Debian's systemd"
    done = subprocess.run(
        [program, "security", "--offline=true", "--no-pager", str(UNIT)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level .*?: ([0-9.]+)", done.stdout)
    assert found, done
    assert float(found[1]) <= MAX_EXPOSURE


def test_the_socket_unit_is_in_order_and_passes_what_we_take() -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is part of Debian's systemd"
    done = subprocess.run([program, "verify", str(SOCKET)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = SOCKET.read_text().splitlines()
    assert "BindIPv6Only=ipv6-only" in lines, "a socket for both is refused (app/activation.py)"
    names = [line.partition("=")[2] for line in lines if line.startswith("FileDescriptorName=")]
    assert set(names) <= set(Role)
