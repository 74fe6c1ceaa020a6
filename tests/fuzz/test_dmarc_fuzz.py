"""A short slice of the fuzzing of DMARC; the long run is `python -m tests.fuzz.dmarc_fuzz`."""

import pytest

from tests.fuzz.dmarc_fuzz import run


@pytest.mark.parametrize("seed", [2])
def test_hostile_records_fields_and_reports_end_as_documented(seed: int) -> None:
    ended = run(600, seed)
    assert {"pass", "fail", "temperror", "no author", "invalid results", "report", "invalid report"} <= set(ended)
