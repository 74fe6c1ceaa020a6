"""A seeded slice of the comparison with pyspf; the long run is `python -m tests.mailauth.spf_agreement`."""

import pytest

from tests.mailauth.spf_agreement import run


@pytest.mark.parametrize("seed", [1, 2])
def test_no_difference_from_pyspf_is_unexplained(seed: int) -> None:
    ended = run(150, seed)
    agreed = {word for word in ended if word.startswith("agree")}
    assert {"agree: pass", "agree: fail", "agree: permerror", "agree: none"} <= agreed
