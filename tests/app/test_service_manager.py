"""The notifications of Type=notify, seen from systemd's side: sd_notify(3), one worker and several."""

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.app.test_supervisor import SECONDS, configuration

Told = dict[str, str]


class Manager:
    """What a service has told so far."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def told(self, name: str) -> Told:
        """The next notification that has a field."""
        async with asyncio.timeout(SECONDS):
            while True:
                text = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
                fields = dict(line.split("=", 1) for line in text.decode().splitlines())
                if name in fields:
                    return fields

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def service(directory: Path, workers: str) -> AsyncIterator[tuple[Manager, Process, Path]]:
    config = configuration(directory, 2596, 9, workers)
    manager = Manager(directory / "notify")
    environment = os.environ | {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": "90000000"}
    command = (sys.executable, "-m", "letterlock", "serve", "--config", str(config))
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE, env=environment, start_new_session=True)
    reading = asyncio.create_task(process.stderr.read() if process.stderr else asyncio.sleep(0))
    try:
        yield manager, process, config
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await reading
        manager.close()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_ready_reloading_watchdog_and_stopping(tmp_path: Path, workers: str) -> None:
    async with service(tmp_path, workers) as (manager, process, config):
        assert (await manager.told("READY"))["STATUS"] == "receiving and delivering mail"
        await manager.told("WATCHDOG")

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        process.send_signal(signal.SIGHUP)
        reloading = await manager.told("RELOADING")
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert (await manager.told("READY"))["STATUS"] == "receiving and delivering mail"

        good = config.read_text()
        config.write_text("nonsense = 1\n")
        process.send_signal(signal.SIGHUP)
        await manager.told("RELOADING")
        assert "the configuration has mistakes" in (await manager.told("READY"))["STATUS"]

        config.write_text(good)
        process.send_signal(signal.SIGHUP)
        await manager.told("RELOADING")
        assert (await manager.told("READY"))["STATUS"] == "receiving and delivering mail"

        process.send_signal(signal.SIGTERM)
        assert (await manager.told("STOPPING"))["STATUS"] == "finishing what is in hand"
        assert await process.wait() == 0
