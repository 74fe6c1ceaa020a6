"""Socket activation: sockets of the service manager take the place of our own, and what does not fit is refused."""

import asyncio
import os
import smtplib
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from letterlock.app.activation import MAX_SOCKETS, UnfitSocket, passed_sockets
from tests.app.test_supervisor import SECONDS, configuration, serving

ACTIVATED = (sys.executable, "-m", "tests.app.activated")
ROOT = Path(__file__).parents[2]


def refused(tmp_path: Path, text: str, *sockets: str) -> str:
    """What a server says that does not start with these sockets."""
    path = tmp_path / "l.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}/q"\n{text}')
    command = [*ACTIVATED, *sockets, "--", sys.executable, "-m", "letterlock", "serve", "--config", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_passed_sockets_are_served_by_all_workers(tmp_path: Path, workers: str) -> None:
    """The ports are those of one name space for each test; nobody else binds them there."""
    config = configuration(tmp_path, 2591, 9, workers)
    with config.open("a") as file:
        file.write('[metrics]\nlisten = "127.0.0.1:9791"\n')
    before = (*ACTIVATED, "relay=127.0.0.1:2591", "metrics=127.0.0.1:9791", "--")
    ready = "listening on" if workers == "1" else "workers are ready"
    async with serving(config, ready, before=before) as server:
        for _ in range(5):
            assert await asyncio.to_thread(greeted, 2591) == 250
        assert await asyncio.to_thread(scraped, 9791)
        assert await server.stop() == 0


def greeted(port: int) -> int:
    with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
        return client.ehlo()[0]


def scraped(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
        return b"letterlock_build_info" in answer.read()


def test_a_socket_without_a_place_in_the_configuration_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, '[smtp]\nlisten = ["127.0.0.1:2592"]', "smtp=127.0.0.1:2593")
    assert "systemd passes a socket for 127.0.0.1:2593, and nothing is configured there" in said
    assert "127.0.0.1:2592" in said


def test_a_name_that_is_another_role_is_refused(tmp_path: Path) -> None:
    listener = '[[listener]]\nrole = "mx"\nlisten = ["127.0.0.1:2594"]\ndomains = ["example.org"]\n'
    route = '[route."example.org"]\nnext_hop = "[192.0.2.1]"\n'
    said = refused(tmp_path, listener + route, "submission=127.0.0.1:2594")
    assert "calls the socket for 127.0.0.1:2594 submission, and it is mx" in said


@pytest.mark.parametrize(
    ("at", "words"),
    [("udp:127.0.0.1:2595", "takes no connections"), ("*[::]:2595", "IPv4 and IPv6 at once")],
)
def test_a_socket_of_another_kind_is_refused(tmp_path: Path, at: str, words: str) -> None:
    assert words in refused(tmp_path, '[smtp]\nlisten = ["127.0.0.1:2595"]', f"relay={at}")


def test_what_was_passed_to_another_process_is_not_ours() -> None:
    assert passed_sockets({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1)}) == ()
    assert passed_sockets({"LISTEN_FDS": "one", "LISTEN_PID": str(os.getpid())}) == ()
    assert passed_sockets({}) == ()
    with pytest.raises(UnfitSocket, match="at most"):
        passed_sockets({"LISTEN_FDS": str(MAX_SOCKETS + 1), "LISTEN_PID": str(os.getpid())})
