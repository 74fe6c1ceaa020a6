"""A short slice of the fuzzing of TLS reports; the long run is `python -m tests.fuzz.report_fuzz`."""

import pytest

from tests.fuzz.report_fuzz import run


@pytest.mark.parametrize("seed", [3])
def test_hostile_reports_and_datagrams_end_as_documented(seed: int) -> None:
    assert set(run(400, seed)) == {"report", "invalid report", "datagram", "invalid datagram"}
