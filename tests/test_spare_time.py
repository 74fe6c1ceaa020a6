"""What nobody waits for is done while there is time."""

import pytest

from letterlock.spare_time import SpareTime, idles


@pytest.mark.parametrize(("used", "passed", "there_is"), [(0.1, 1.0, True), (0.9, 1.0, False), (1.9, 1.0, False)])
def test_a_process_idles_that_uses_less_than_half_a_processor(used: float, passed: float, there_is: bool) -> None:
    assert idles(used, passed) is there_is


def test_each_look_goes_by_the_time_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    used, at = iter([1.0, 5.0, 5.1]), iter([100.0, 105.0, 110.0])
    monkeypatch.setattr("time.process_time", lambda: next(used))
    monkeypatch.setattr("time.monotonic", lambda: next(at))
    spare_time = SpareTime()
    assert [spare_time.is_there(), spare_time.is_there()] == [False, True]
