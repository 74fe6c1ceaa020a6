"""What runs beside the mail: its bugs end neither the server nor, for good, themselves."""

import asyncio
from pathlib import Path

import pytest

from letterlock.app import beside as beside_module
from letterlock.app import resolving
from letterlock.app.beside import beside
from letterlock.app.server import running
from letterlock.config import parse
from letterlock.deliver.memory_keeper import MemoryKeeper
from letterlock.discover.anchor_keeper import AnchorKeeper
from letterlock.discover.sts_finder import StsFinder
from letterlock.report.collector import ReportCollector
from letterlock.statistics.statistics_collector import StatisticsCollector

CONFIG = """\
hostname = "mx.example.org"
[smtp]
listen = ["127.0.0.1:0"]
[queue]
directory = "{directory}/q"
min_free_octets = 1
[resolver]
upstream = ["127.0.0.1:1"]
timeout_seconds = 0.2
[tls_reports]
collect = true
"""


async def test_it_begins_anew_after_a_bug(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(beside_module, "ANEW_SECONDS", 0.0)
    bugs = [RuntimeError("one"), ExceptionGroup("two", [ValueError()])]

    async def run() -> None:
        if bugs:
            raise bugs.pop()

    await beside("the test", run)
    assert bugs == []
    assert caplog.text.count("internal error in the test") == 2


async def test_no_bug_beside_the_mail_ends_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate or an answer of a stranger may find one: the server ended with it, and again after each start."""
    began = asyncio.Event()

    async def raising(self: object) -> None:
        raise RuntimeError(type(self).__name__)

    async def refresh_due(_self: object, _now: float) -> int:
        began.set()
        raise RuntimeError("StsFinder")

    for each in (MemoryKeeper, AnchorKeeper, ReportCollector, StatisticsCollector):
        monkeypatch.setattr(each, "run", raising)
    monkeypatch.setattr(StsFinder, "refresh_due", refresh_due)
    async with running(parse(CONFIG.format(directory=tmp_path), "letterlock.toml")) as server, asyncio.timeout(20):
        await began.wait()
        reader, writer = await asyncio.open_connection(*server.smtp_addresses[0])
        assert (await reader.readline()).startswith(b"220 ")
        writer.close()
    for name in ("MemoryKeeper", "AnchorKeeper", "ReportCollector", "StatisticsCollector", "StsFinder"):
        assert f"RuntimeError: {name}" in caplog.text
    assert resolving.REFRESH_PAUSE_SECONDS > 0
