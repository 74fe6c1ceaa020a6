"""An event loop that stands still is noticed, logged, and in the end restarted."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.app import heartbeat
from letterlock.app.heartbeat import BEAT_SECONDS, STALL_SECONDS, Heart, beating
from letterlock.app.service_manager import watched
from letterlock.app.supervisor import STILL_SECONDS, Worker, _Supervisor
from letterlock.config import parse
from tests.app.test_supervisor import SECONDS, configuration, free_port, serving


class Hands:
    """A clock by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_beat_in_time_is_a_sign_of_life_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    clock, beats = Hands(), list[float]()
    heart = Heart(lambda: beats.append(clock.time), clock)
    clock.time += BEAT_SECONDS
    heart.beat()
    heart.look()
    assert beats == [clock.time]
    assert not caplog.records


def test_a_late_beat_logs_for_how_long_everything_waited(caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    heart = Heart(lambda: None, clock)
    clock.time += BEAT_SECONDS + 3.2
    heart.beat()
    assert "the event loop stood still for 3.2 seconds" in caplog.text


def test_a_loop_that_stands_still_is_logged_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    clock = Hands()
    heart = Heart(lambda: None, clock)
    clock.time += STALL_SECONDS
    heart.look()
    heart.look()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "has stood still for 5 seconds, in " in record.getMessage()
    assert "test_a_loop_that_stands_still_is_logged_once_with_its_place (" in record.getMessage()


async def test_the_watcher_sees_what_blocks_the_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.005)
    monkeypatch.setattr(heartbeat, "STALL_SECONDS", 0.05)
    beats = list[None]()

    def block() -> None:
        end = time.monotonic() + SECONDS
        while not caplog.records and time.monotonic() < end:
            time.sleep(0.001)

    async with beating(lambda: beats.append(None)):
        while len(beats) < 3:  # noqa: ASYNC110  # beats have no event
            await asyncio.sleep(0.001)
        block()
    assert "block (" in caplog.text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "90000000"}, True),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
    ],
)
def test_whether_the_service_manager_watches(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert watched() is expected


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def supervisor(worker: Worker) -> _Supervisor:
    signs, tell = os.pipe()
    worker.alive = tell
    return _Supervisor([worker], lambda _: 0, alive=-1, signs=signs)


def test_a_worker_that_stands_still_is_killed_and_one_that_moves_is_not() -> None:
    with sleeper() as process:
        worker = Worker(0, parse("", "t.toml"), Path("queue"), [], -1, -1, pid=process.pid)
        watching = supervisor(worker)
        worker.tell_alive()
        watching._look_for_signs()
        watching._kill_still()
        assert process.poll() is None
        assert worker.moved_at is not None
        worker.moved_at -= STILL_SECONDS + 1
        watching._kill_still()
        assert process.wait(SECONDS) == -signal.SIGKILL


def test_a_worker_that_still_starts_is_left_alone() -> None:
    with sleeper() as process:
        worker = Worker(0, parse("", "t.toml"), Path("queue"), [], -1, -1, pid=process.pid)
        supervisor(worker)._kill_still()
        assert process.poll() is None


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_service_manager_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, free_port() as shared_port:
        port = 0 if workers == "1" else shared_port
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "90000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        said = list[bytes]()
        async with serving(configuration(tmp_path, port, 9, workers), ready="listening on") as server:
            while said.count(b"WATCHDOG=1") < 2 or b"READY=1" not in said:
                said.append((await asyncio.to_thread(manager.recv, 1000)).splitlines()[0])
            assert await server.stop() == 0
        while b"STOPPING=1" not in said:
            said.append((await asyncio.to_thread(manager.recv, 1000)).splitlines()[0])
    assert b"READY=1" in said
