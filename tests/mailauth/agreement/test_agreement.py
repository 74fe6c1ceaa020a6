"""A seeded slice of the comparison; the whole is `python -m tests.mailauth.agreement --cases 2000`."""

from pathlib import Path

import pytest

from tests.mailauth.agreement.__main__ import run
from tests.mailauth.agreement.compare import signed_by_us


@pytest.mark.interop
def test_no_difference_without_an_explanation(tmp_path: Path) -> None:
    for tally in run(60, 11, tmp_path):
        assert tally.unexplained == [], str(tally)
        assert tally.cases >= 50
        assert tally.passed >= tally.cases // 4, str(tally)


def test_messages_are_the_same_for_the_same_seed() -> None:
    first, second = (signed_by_us(20, 3) for _ in range(2))
    assert first == second
    assert len(set(first)) == 20
