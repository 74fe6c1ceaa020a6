"""Counters that all workers share: what is allowed, what is forgotten, and two processes at once."""

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.queue.store import StoreFailed
from letterlock.state.in_files import StateInFiles
from letterlock.state.rate_file import ENTRIES_IN_SET, SETS, RateFile

HOUR = 3600.0


def test_so_much_within_a_time_and_no_more() -> None:
    rates = RateFile(None, "")
    assert [rates.take("a", 1, 3, HOUR, 100.0) for _ in range(3)] == [0.0] * 3
    assert rates.take("a", 1, 3, HOUR, 100.0) == pytest.approx(1200.0)
    assert rates.take("b", 1, 3, HOUR, 100.0) == 0.0
    assert rates.take("a", 1, 3, HOUR, 1300.0) == 0.0
    assert rates.take("a", 1, 3, HOUR, 1300.0) > 0.0


def test_what_was_put_off_is_not_counted() -> None:
    rates = RateFile(None, "")
    rates.take("a", 3, 3, HOUR, 0.0)
    assert len({rates.take("a", 1, 3, HOUR, 0.0) for _ in range(100)}) == 1


def test_a_cost_beyond_the_limit_comes_after_a_whole_window() -> None:
    rates = RateFile(None, "")
    assert rates.take("a", 10_000, 100, HOUR, 0.0) == 0.0
    assert rates.take("a", 10_000, 100, HOUR, 0.0) == pytest.approx(HOUR)


def test_workers_count_together_and_a_restart_forgets_nothing(tmp_path: Path) -> None:
    first, second = RateFile(tmp_path / "rates", "boot"), RateFile(tmp_path / "rates", "boot")
    assert first.take("a", 1, 2, HOUR, 5.0) == second.take("a", 1, 2, HOUR, 5.0) == 0.0
    assert first.take("a", 1, 2, HOUR, 5.0) > 0.0
    first.close()
    assert RateFile(tmp_path / "rates", "boot").take("a", 1, 2, HOUR, 5.0) > 0.0
    second.close()


def test_a_restart_of_the_machine_forgets_everything(tmp_path: Path) -> None:
    before = RateFile(tmp_path / "rates", "one")
    before.take("a", 2, 2, HOUR, 1e6)
    before.close()
    after = RateFile(tmp_path / "rates", "two")
    assert after.take("a", 1, 2, HOUR, 5.0) == 0.0
    after.close()


def test_many_strangers_do_not_make_it_forget_who_sends_most() -> None:
    rates = RateFile(None, "")
    for _ in range(100):
        rates.take("much", 1, 100, HOUR, 0.0)
    for number in range(SETS * ENTRIES_IN_SET * 2):
        rates.take(f"stranger {number}", 1, 100, HOUR, 0.0)
    assert rates.take("much", 1, 100, HOUR, 0.0) > 0.0


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    RateFile(tmp_path / "rates", "").close()
    assert (tmp_path / "rates").stat().st_mode & 0o777 == 0o600


def _count(
    path: Path, start: "multiprocessing.synchronize.Event", allowed: "multiprocessing.queues.Queue[int]"
) -> None:
    rates = RateFile(path, "")
    start.wait()
    allowed.put(sum(rates.take("a", 1, 500, 1e9, 0.0) == 0.0 for _ in range(1000)))


def test_two_processes_never_allow_more_than_the_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, allowed = context.Event(), context.Queue()
    workers = [context.Process(target=_count, args=(tmp_path / "rates", start, allowed)) for _ in range(2)]
    for worker in workers:
        worker.start()
    start.set()
    counts = [allowed.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(counts) == 500


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 5)), max_size=60), st.integers(1, 10))
def test_no_window_ever_has_more_than_twice_the_limit(steps: list[tuple[float, int]], most: int) -> None:
    """The generic cell rate algorithm allows a burst and, behind it, the even rate: never more than both."""
    rates, now, allowed = RateFile(None, ""), 0.0, list[tuple[float, int]]()
    for pause, cost in steps:
        now += pause
        if rates.take("a", cost, most, 60.0, now) == 0.0:
            allowed.append((now, min(cost, most)))
    for begin, _ in allowed:
        assert sum(cost for at, cost in allowed if begin <= at < begin + 60.0) <= 2 * most


def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file would be made without an error, and the first write to it would kill the process (SIGBUS)."""
    rates = RateFile(tmp_path / "rates", "boot")
    assert (tmp_path / "rates").stat().st_blocks * 512 >= (tmp_path / "rates").stat().st_size
    rates.close()

    def full(_descriptor: int, _offset: int, _octets: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreFailed, match="cannot be used: No space left on device"):
        StateInFiles(tmp_path).rates()
