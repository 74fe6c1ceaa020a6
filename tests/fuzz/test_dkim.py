"""A short slice of the fuzzing of DKIM and ARC; the long run is `python -m tests.fuzz.dkim_fuzz`."""

import pytest

from tests.fuzz.dkim_fuzz import _is_what_was_signed, run


@pytest.mark.parametrize("seed", [1, 2])
def test_only_documented_outcomes(seed: int) -> None:
    ended = run(150, seed)
    assert ended["dkim pass"] > 10
    assert ended["arc pass"] > 3
    assert len(ended) > 10


def test_the_judge_sees_what_matters() -> None:
    plain = b"From: a@x.test\r\nSubject: a  b\r\n\r\nHi \r\n"
    assert _is_what_was_signed(plain, b"X: y\r\nfrom:a@x.test\r\nSUBJECT: a b \r\n\r\nHi\r\n\r\n")
    assert not _is_what_was_signed(plain, b"Subject: c\r\n" + plain)
    assert not _is_what_was_signed(plain, plain + b"x")
