"""A short slice of the validator's fuzzing; the long run is `python -m tests.fuzz.resolver_fuzz`."""

import pytest

from letterlock.resolver import FailureKind
from tests.fuzz.resolver_fuzz import run


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_replies_never_become_belief(seed: int) -> None:
    ended = run(400, seed)
    assert ended["secure"]
    assert ended[FailureKind.BOGUS.value]
    assert ended[FailureKind.MALFORMED.value]
