"""`letterlock top`: rates from look to look, within any terminal, and a terminal that is as before when it ends."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from letterlock.admin.client import NotRunning
from letterlock.cli import top as module
from letterlock.cli.style import Style
from letterlock.cli.top import ENTER, LEAVE, Watching, top
from letterlock.cli.top_screen import View, bars, drawn
from letterlock.config import parse
from letterlock.queue.orders import Tally, TallyBy
from tests.cli.server_state import server_state

PLAIN = Style(colour=False)
SECONDS = 60.0


def two_looks() -> View:
    view = View(hostname="mx.example.org", queue=(Tally(key="a.example", deferred=3, leased=1),))
    before, now = server_state(at=100.0), server_state(at=102.0)
    now["counters"] = {"received": 20.0, "delivered": 10.0, "deferred": 0.0, "failed": 0.0}
    now["numbers"]["letterlock_resolver_lookups_total"] = {"cached": 3.0, "bogus": 1.0}
    now["numbers"]["letterlock_limit_hits_total"] = {"max_connections": 2.0}
    now["workers"][0]["cpu_seconds"] = before["workers"][0]["cpu_seconds"] + 1.0
    view.add(before)
    view.add(now)
    return view


def test_rates_are_growth_per_second() -> None:
    lines = drawn(two_looks(), PLAIN, 200, 50)
    assert "received        10.0/s            20 in all    █" in lines
    assert "lookups  2.0/s, 75 % from the cache   1 failed" in lines
    assert "limits reached: max_connections 2" in lines
    assert any(line.startswith("0            812      50") for line in lines), "half of a processor"
    assert any(line.split() == ["a.example", "4", "1", "3", "0"] for line in lines)


def test_a_counter_that_fell_has_not_grown() -> None:
    view = two_looks()
    view.add(server_state(at=103.0))
    assert view.rate("counters", "received") == 0.0


@pytest.mark.parametrize("columns", [0, 1, 20, 80])
def test_it_fits_any_terminal_with_colours_and_without(columns: int) -> None:
    for lines in (0, 1, 5):
        assert len(drawn(two_looks(), PLAIN, columns, lines)) <= lines
    assert all(len(line) <= columns for line in drawn(two_looks(), PLAIN, columns, 50))
    for line in drawn(two_looks(), Style(colour=True), columns, 50):
        assert line.count("\x1b[") in (0, 2), "a colour that begins ends on its line"


def test_foreign_names_do_not_steer_the_terminal() -> None:
    view = two_looks()
    view.queue = (Tally(key="\x1b]0;owned\x07\u202e.example"),)
    assert not any("\x1b" in line or "\u202e" in line for line in drawn(view, PLAIN, 200, 50))


def test_bars() -> None:
    assert bars([0.0, 4.0, 8.0]) == " ▄█"
    assert bars([0.0]) == bars([]) == ""


class FakeQueues:
    """A server that counts how often it is asked."""

    counted = 0

    def __init__(self, directory: Path) -> None:
        if directory.name == "gone":
            raise NotRunning(f"no server answers at {directory}")

    def first(self, _verb: str) -> dict[str, Any]:
        return server_state()

    def stats(self, _by: TallyBy) -> list[list[Tally]]:
        self.counted += 1
        return []


def test_the_queue_is_counted_less_often_than_the_numbers_are_read() -> None:
    queues, now = FakeQueues(Path()), [0.0]
    watching = Watching(parse("", "t"), queues, lambda: now[0])  # type: ignore[arg-type]  # as far as it is used
    for second in range(20):
        now[0] = float(second)
        watching.look()
    assert queues.counted == 4


def test_once_prints_one_screen_without_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "Queues", FakeQueues)
    path = tmp_path / "l.toml"
    path.write_text('hostname = "mx.example.org"\n')
    for arguments in (["--once"], []):
        done = CliRunner().invoke(top, ["--config", str(path), *arguments])
        assert done.exit_code == 0
        assert done.output.startswith("mx.example.org")
        assert "\x1b" not in done.output
    path.write_text('[queue]\ndirectory = "gone"\n')
    assert CliRunner().invoke(top, ["--config", str(path)]).exit_code == 3
    assert CliRunner().invoke(top, ["--interval", "0.01"]).exit_code == 2


PROGRAM = """
import sys
from pathlib import Path
from letterlock.cli import top
from tests.cli.test_top import FakeQueues
top.Queues = FakeQueues
top.top(["--interval", "0.5", "--config", sys.argv[1]])
"""


@pytest.mark.parametrize("by_signal", [False, True])
def test_on_a_terminal_q_or_sigterm_ends_it_and_the_screen_comes_back(tmp_path: Path, by_signal: bool) -> None:
    path = tmp_path / "l.toml"
    path.write_text('hostname = "mx.example.org"\n')
    ours, its = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, str(path)]
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, cwd=Path(__file__).parents[2])
    os.close(its)
    seen, until = b"", time.monotonic() + SECONDS
    try:
        while seen.count(b"\x1b[H") < 2 and time.monotonic() < until:
            if select.select([ours], [], [], 1.0)[0]:
                seen += os.read(ours, 65_536)
        if by_signal:
            process.terminate()
        else:
            os.write(ours, b"xq")
        assert process.wait(SECONDS) == (128 + signal.SIGTERM if by_signal else 0)
        while select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65_536)
            except OSError:  # EIO: the other side is closed
                break
    finally:
        process.kill()
        os.close(ours)
    text = seen.decode()
    assert text.startswith(ENTER)
    assert "mx.example.org" in text
    assert text.endswith(LEAVE)
