"""A small part of systemd for a machine without it: `systemctl`, `journalctl` and `timedatectl` for one unit.

The unit's command, user, state directories, capabilities and readiness are obeyed; its sandbox is not (tests/app has a
test of that). What the unit logs goes to /var/log/letterlock.log.
"""

import contextlib
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = (Path("/etc/systemd/system/letterlock.service"), Path("/lib/systemd/system/letterlock.service"))
PROCESS, LOG = Path("/run/letterlock.pid"), Path("/var/log/letterlock.log")
START_SECONDS, STOP_SECONDS = 90.0, 60.0


def unit() -> dict[str, str]:
    """The keys of the unit's [Service]."""
    [path] = [each for each in UNITS if each.exists()][:1]
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in lines}


def process() -> int | None:
    """The running server."""
    try:
        number = int(PROCESS.read_text())
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):  # it may end between the opening and the reading
        return None
    return None if state == "Z" else number


def start() -> int:
    """Start the service, and wait until it is ready."""
    if process() is not None:
        return 0
    keys, user = unit(), pwd.getpwnam(unit()["User"])
    for name in keys["StateDirectory"].split():
        state = Path("/var/lib") / name
        state.mkdir(exist_ok=True, mode=int(keys["StateDirectoryMode"], 8))
        if state.stat().st_uid != user.pw_uid:
            subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", state], check=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("\0letterlock-notify")
        notify.settimeout(START_SECONDS)
        capability = "+net_bind_service"
        rights = ["--init-groups", "--inh-caps", capability, "--ambient-caps", capability]
        command = ["setpriv", "--reuid", user.pw_name, "--regid", str(user.pw_gid), *rights]
        command += shlex.split(keys["ExecStart"])
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": "@letterlock-notify", "XDG_STATE_HOME": "/var/lib"}
        with LOG.open("ab") as log:
            started = subprocess.Popen(command, stderr=log, stdout=log, env=environment, start_new_session=True)
        PROCESS.write_text(str(started.pid))
        return _ready(started, notify)


def _ready(started: subprocess.Popen[bytes], notify: socket.socket) -> int:
    notify.settimeout(0.1)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in notify.recv(4096):
                return 0
        if started.poll() is not None:
            break
    sys.stderr.write("Job for letterlock.service failed.\n")
    return 1


def stop() -> int:
    """Stop the service, and wait until it has ended."""
    number = process()
    if number is not None:
        os.kill(number, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while process() is not None:
            if time.monotonic() > until:
                sys.stderr.write("it does not end\n")
                return 1
            time.sleep(0.05)
    PROCESS.unlink(missing_ok=True)
    return 0


def reload() -> int:
    """ExecReload."""
    number = process()
    if number is None:
        return 1
    os.kill(number, signal.SIGHUP)
    return 0


def systemctl(words: list[str]) -> int:
    """One command; other units are not here."""
    verb, *names = [word for word in words if not word.startswith("-")]
    if verb == "daemon-reload":
        return 0
    if not names or names[0].removesuffix(".service") != "letterlock":
        return 5  # unit not loaded, systemctl(1)
    now = "--now" in words
    match verb:
        case "start":
            return start()
        case "stop":
            return stop()
        case "restart":
            return stop() or start()
        case "reload":
            return reload()
        case "enable":
            return start() if now else 0
        case "disable":
            return stop() if now else 0
        case "is-active":
            return 0 if process() is not None else 3
    return 1


def journalctl(words: list[str]) -> int:
    """The log of the unit; `-n N` for its end."""
    lines = LOG.read_text(errors="replace").splitlines(keepends=True) if LOG.exists() else []
    count = int(words[words.index("-n") + 1]) if "-n" in words else len(lines)
    sys.stdout.write("".join(lines[-count:]))
    return 0


if __name__ == "__main__":
    sys.exit((systemctl if Path(sys.argv[1]).name == "systemctl" else journalctl)(sys.argv[2:]))
