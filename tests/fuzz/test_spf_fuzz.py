"""A short slice of the fuzzing of SPF; the long run is `python -m tests.fuzz.spf_fuzz`."""

import pytest

from tests.fuzz.spf_fuzz import run


@pytest.mark.parametrize("seed", [1])
def test_hostile_records_end_in_a_verdict_and_bounded(seed: int) -> None:
    ended = run(150, seed)
    assert {"permerror", "temperror"} <= set(ended)
