"""Statistics of a whole server: counted, written at the end, and going on after a restart, over all workers."""

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from bench.counting import usual_case

from letterlock.app import logs
from letterlock.app import server as app
from letterlock.app.log_text import PostfixFormatter
from letterlock.app.logs import GatheringHandler
from letterlock.config import Options, load
from letterlock.config.reload_effects import reloaded, waiting_for_restart
from letterlock.state.statistics_rows import Grain
from letterlock.state.statistics_store import STATISTICS_FILE, StatisticsStore

TEXT = """
hostname = "mail.sender.example"
[smtp]
listen = ["127.0.0.1:0"]
[queue]
directory = "{directory}/queue"
[resolver]
upstream = ["127.0.0.1:9"]
timeout_seconds = 0.1
[delivery]
mta_sts = false
[statistics]
"""
EVER = (0, 5_000_000_000)
TASK, USUAL = usual_case()[2:]


def options(directory: Path, *keys: str) -> Options:
    path = directory / "letterlock.toml"
    path.write_text(TEXT.format(directory=directory) + "\n".join(keys))
    return load(path)


async def counted(directory: Path) -> int:
    store = StatisticsStore.open(directory / "queue")
    try:
        return sum(each.attempts for each in await store.totals(Grain.DAY, *EVER))
    finally:
        await store.close()


async def test_what_is_counted_until_the_end_is_written_and_a_restart_goes_on(tmp_path: Path) -> None:
    for number in (1, 2):
        async with app.running(options(tmp_path)) as server:
            attempt = replace(USUAL, ended_at=server.clock.now())
            server.observers.attempted(TASK, attempt)
        assert await counted(tmp_path) == number


async def test_what_waits_with_the_log_when_the_server_stops_is_counted_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, rooms = io.StringIO(), logging.getLogger("letterlock")
    handler = GatheringHandler(stream)
    handler.setFormatter(PostfixFormatter("mail.sender.example"))
    monkeypatch.setattr(logs, "WAIT_SECONDS", 3600.0)
    monkeypatch.setattr(rooms, "handlers", [handler])
    monkeypatch.setattr(rooms, "propagate", False)
    async with app.running(options(tmp_path)) as server:
        server.observers.attempted(TASK, replace(USUAL, ended_at=server.clock.now()))
        assert "status=sent" not in stream.getvalue()
    assert stream.getvalue().count("status=sent") == 1
    assert await counted(tmp_path) == 1


async def test_workers_count_into_one_file(tmp_path: Path) -> None:
    whole = options(tmp_path)
    (tmp_path / "queue").mkdir(mode=0o700)
    mine = replace(whole, queue_directory=tmp_path / "queue" / "worker-1")
    mine.queue_directory.mkdir()
    async with app.running(whole) as first, app.running(mine) as second:
        for server in (first, second):
            server.observers.attempted(TASK, replace(USUAL, ended_at=server.clock.now()))
    assert await counted(tmp_path) == 2


async def test_off_there_is_no_file_and_nobody_looks(tmp_path: Path) -> None:
    async with app.running(options(tmp_path, "count = false")) as server:
        assert server.statistics is None
    assert not (tmp_path / "queue" / STATISTICS_FILE).exists()


def test_how_much_is_kept_can_be_reloaded(tmp_path: Path) -> None:
    running, read = options(tmp_path), options(tmp_path, "count = false", "destinations = 5", "keep_days = 10")
    after = reloaded(running, read).statistics
    assert (after.count, after.destinations, after.keep_days) == (True, 5, 10)
    assert "statistics.count" in waiting_for_restart(running, read)
    assert "statistics.destinations" not in waiting_for_restart(running, read)
