"""Reloading: all of it or nothing, without losing a message, a session or a connection."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.app.certificate_watch import WARN_SECONDS, CertificateWatch
from letterlock.app.reloading import Outcome, Reloading
from letterlock.app.supervisor import RELOADED, Worker, _Supervisor
from letterlock.config import BadConfig, Mistake, Options, load, parse
from letterlock.config.reload_effects import contexts
from letterlock.net.tls import EXPIRY_WARNING_SECONDS
from tests.certificates import self_signed
from tests.soak import reloads


@pytest.mark.parametrize("workers", [1, 2])
async def test_reloads_under_load_lose_nothing_and_drop_nobody(tmp_path: Path, workers: int) -> None:
    """A slice: `python -m tests.soak.reloads --reloads 100` is the whole."""
    tally = await reloads.run(tmp_path, reloads=4, workers=workers, seed=workers)
    assert tally.is_clean, tally
    assert tally.reloads == 4
    assert tally.refused_reloads >= 1
    assert len(tally.accepted) > 20


def write(path: Path, text: str = "") -> Path:
    path.write_text(f'[queue]\ndirectory = "q"\n{text}')
    return path


async def test_mistakes_change_nothing_and_are_logged_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "letterlock.toml")
    running, applied = load(path), list[Options]()
    reloading = Reloading(path, running, applied.append)
    write(path, 'directry = "x"\nlifetime_seconds = -1\n')
    outcome = await reloading.request()
    assert not applied
    assert reloading.running is running
    assert outcome.mistakes is not None
    assert outcome.mistakes.endswith("2 mistakes. Nothing was changed.")
    logged = [record.getMessage() for record in caplog.records]
    assert f'{path}:3: queue.directry unknown key (hint: did you mean "directory"?)' in logged
    assert logged[-1] == "not reloaded: the server goes on with what it has"


async def test_what_can_change_is_applied_and_what_cannot_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "letterlock.toml")
    applied = list[Options]()
    reloading = Reloading(path, load(path), applied.append)
    write(path, '[smtp]\nmax_recipients = 123\nlisten = ["127.0.0.1:26"]\n')
    with caplog.at_level(logging.INFO):
        outcome = await reloading.request()
    assert outcome == Outcome(restart=("smtp.listen",))
    assert applied[0].receive.max_recipients == 123
    assert str(applied[0].listen[0]) == "127.0.0.1:2525"
    assert f"smtp.listen has changed in {path}, which takes effect only after a restart" in caplog.text
    assert f"reloaded {path}" in caplog.text


async def test_a_worker_leaves_it_to_the_supervisor_unless_there_are_mistakes(tmp_path: Path) -> None:
    path = write(tmp_path / "letterlock.toml")
    asked, applied = asyncio.Event(), list[Options]()
    reloading = Reloading(path, load(path), applied.append, asked.set)
    write(path, "nonsense = 1\n")
    assert (await reloading.request()).mistakes is not None
    assert not asked.is_set()
    write(path, "lifetime_seconds = 1000\n")

    async def supervisor() -> None:
        await asked.wait()
        await reloading.reload()

    task = asyncio.create_task(supervisor())
    assert await reloading.request() == Outcome()
    await task
    assert applied[0].receive.expire_seconds == 1000


class Processes:
    """A supervisor with workers that only record what they are sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, read: Callable[[], Options]) -> None:
        self.told = list[str]()
        self.signals = list[tuple[int, int]]()
        options = replace(parse("", "t.toml"), workers=2)
        self.workers = [Worker(number, options, Path("q"), [], -1, -1, pid=100 + number) for number in range(2)]
        monkeypatch.setattr("letterlock.app.supervisor.notify", self.told.append)
        monkeypatch.setattr("letterlock.app.service_manager.notify", self.told.append)
        monkeypatch.setattr("os.kill", lambda pid, number: self.signals.append((pid, number)))
        signs, self.tell = os.pipe()
        self.supervisor = _Supervisor(self.workers, lambda _: 0, alive=-1, signs=signs, read=read)

    def ready(self, *numbers: int) -> None:
        os.write(self.tell, bytes(RELOADED + number for number in numbers))
        self.supervisor._look_for_signs()
        self.supervisor._end_reload()


def test_the_service_manager_is_told_when_a_reload_begins_and_when_all_workers_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = parse("[smtp]\nmax_recipients = 111\nmax_connections = 99", "t.toml")
    processes = Processes(monkeypatch, lambda: changed)
    processes.supervisor._reload()
    assert [line.splitlines()[0] for line in processes.told] == ["RELOADING=1"]
    assert "MONOTONIC_USEC=" in processes.told[0]
    assert processes.signals == [(100, signal.SIGHUP), (101, signal.SIGHUP)]
    processes.ready(0)
    assert len(processes.told) == 1
    processes.ready(1)
    assert [line.splitlines()[0] for line in processes.told[1:]] == ["READY=1"]
    shares = [worker.share_of(worker.options).receive for worker in processes.workers]  # of one that starts again
    assert [each.max_recipients for each in shares] == [111, 111]
    assert sum(each.max_connections for each in shares) == 99


def test_a_supervisor_that_finds_mistakes_sends_nobody_anything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> Options:
        raise BadConfig("t.toml", [Mistake(key="smtp.x", message="unknown key", line=3)])

    processes = Processes(monkeypatch, read)
    processes.supervisor._reload()
    assert processes.signals == []
    assert processes.told[-1].startswith("READY=1\n")
    assert "t.toml:3: smtp.x unknown key" in caplog.text


class Watched:
    """A watch over one certificate."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self_signed("mx.example").write(directory)
        path = directory / "letterlock.toml"
        path.write_text('[smtp]\ncertificate = "server.pem"\nkey = "server.key"\n')
        self.options = load(path)
        self.applied = list[Options]()
        self.watch = CertificateWatch(lambda: self.options, self.follow)

    def follow(self, options: Options) -> None:
        self.options = options
        self.applied.append(options)


def test_a_renewed_certificate_is_noticed_by_its_files(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.watch.look()
    assert not watched.applied
    before = contexts(watched.options)
    self_signed("mx.example").write(tmp_path)
    watched.watch.look()
    assert contexts(watched.options) != before
    watched.watch.look()
    assert len(watched.applied) == 1


def test_half_a_pair_is_not_used_and_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    certificate, key = self_signed("mx.example").write(other)
    certificate.replace(tmp_path / "server.pem")
    for _ in range(3):
        watched.watch.look()
    assert not watched.applied
    assert caplog.text.count("the server goes on with the certificate that it has") == 1
    key.replace(tmp_path / "server.key")
    watched.watch.look()
    assert len(watched.applied) == 1


def test_a_certificate_that_ends_soon_is_warned_of_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(tmp_path)
    (context,) = contexts(watched.options)
    watched.watch.warn(context.not_after - EXPIRY_WARNING_SECONDS - 1)
    assert not caplog.records
    soon = context.not_after - EXPIRY_WARNING_SECONDS + WARN_SECONDS
    for seconds in (0.0, 60.0, WARN_SECONDS - 1):
        watched.watch.warn(soon + seconds)
    assert [record.getMessage() for record in caplog.records] == [
        f"the certificate in {tmp_path}/server.pem expires in 20 days: renew it"
    ]
    watched.watch.warn(soon + WARN_SECONDS)
    assert "expires in 19 days" in caplog.text
