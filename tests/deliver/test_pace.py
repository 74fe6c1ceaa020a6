"""The pace of a place: what was of late counts, and what was long ago does not."""

import pytest

from letterlock.deliver.pace import MAX_PLACES, SPAN_SECONDS, Pace


def test_a_steady_pace_is_found() -> None:
    pace = Pace()
    for number in range(2_000):
        pace.note("mx", number / 100)
    assert pace.per_second("mx", 20.0) == pytest.approx(100 * (1 - 2.718**-2), rel=0.05)


def test_it_is_forgotten() -> None:
    pace = Pace()
    pace.note("mx", 0.0)
    assert pace.per_second("mx", SPAN_SECONDS) == pytest.approx(0.037, abs=0.001)
    assert pace.per_second("mx", 100 * SPAN_SECONDS) < 1e-9
    assert pace.per_second("other", 0.0) == 0.0


def test_a_clock_that_goes_back_does_no_harm() -> None:
    pace = Pace()
    pace.note("mx", 1_000.0)
    pace.note("mx", 0.0)
    assert pace.per_second("mx", 0.0) == pytest.approx(0.2)


def test_only_so_many_places_are_remembered() -> None:
    pace = Pace()
    for number in range(MAX_PLACES + 5):
        pace.note(f"mx{number}", 0.0)
    assert pace.per_second("mx0", 0.0) == 0.0
    assert pace.per_second(f"mx{MAX_PLACES}", 0.0) > 0
