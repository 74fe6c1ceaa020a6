"""A short slice of the fuzzer of adoption."""

from tests.fuzz.adoption_fuzz import fuzz


def test_a_slice_of_left_over_queues_and_kills() -> None:
    assert fuzz(cases=40, seed=20261126) > 200
