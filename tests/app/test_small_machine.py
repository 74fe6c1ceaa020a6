"""As process 1 of a container with a read-only root, 256 MB of memory, IPv6 only and few file descriptors."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from letterlock.app.descriptors import LEAST
from tests.app.test_supervisor import SECONDS, _children, serving

NEW = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc", "--net")
INSIDE = """
set -e
queue=$1; shift
mount --bind "$queue" "$queue"
mount -o remount,ro,bind /
ip link set lo up
ip -4 address flush dev lo
ulimit -n 400
ulimit -d 262144
exec "$@"
"""  # ulimit -d is in KiB, and counts all private memory that can be written (setrlimit(2), RLIMIT_DATA)
CLIENT = """
import smtplib, socket, sys
try:
    socket.create_connection(("127.0.0.1", 2597), 5)
except OSError:
    pass
else:
    sys.exit("there is IPv4")
try:
    open("/letterlock-test", "w")
except OSError:
    pass
else:
    sys.exit("the root can be written to")
body = "Subject: x\\r\\n\\r\\n" + ("x" * 76 + "\\r\\n") * 100_000
with smtplib.SMTP("::1", 2597, timeout=60) as client:
    for _ in range(5):
        client.sendmail("a@example.net", ["b@example.org"], body)
"""


def configured(directory: Path) -> Path:
    path = directory / "letterlock.toml"
    path.write_text(
        'hostname = "mx.example.org"\nmemory_octets = 60_000_000\n'
        '[smtp]\nlisten = ["[::1]:2597"]\nmax_message_octets = 10_000_000\n'
        f'[queue]\ndirectory = "{directory}/q"\n[resolver]\nupstream = ["::1"]\n'
    )
    return path


async def test_mail_is_taken_as_process_1_with_little_of_everything(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    before = (*NEW, "sh", "-c", INSIDE, "sh", str(tmp_path))
    async with serving(configured(tmp_path), "the worker is ready", before=before) as server:
        first = str(_children(server.process.pid)[0])
        inside = ("nsenter", "--target", first, "--user", "--net", "--mount", "--preserve-credentials")
        client = await asyncio.create_subprocess_exec(*inside, sys.executable, "-S", "-c", CLIENT, stderr=PIPE)
        async with asyncio.timeout(SECONDS):
            _, said = await client.communicate()
        assert (client.returncode, said.decode()) == (0, "")
        await server.until("(queue active)", 5)
        await server.until("400 is the limit: some connections will wait")
    assert not any("Traceback" in line for line in server.log)


async def test_too_few_descriptors_are_refused_with_a_way_out(tmp_path: Path) -> None:
    command = ('ulimit -n "$1"; shift; exec "$@"', "sh", str(LEAST - 1), sys.executable, "-m", "letterlock", "serve")
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", *command, "--config", str(configured(tmp_path)), stdout=DEVNULL, stderr=PIPE
    )
    async with asyncio.timeout(SECONDS):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert f"{LEAST - 1} file descriptors are too few for a server" in said.decode()
    assert "LimitNOFILE=" in said.decode()
    assert "Traceback" not in said.decode()
