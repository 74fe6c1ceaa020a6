"""A short slice of the fuzzer of the local sender's side."""

from tests.fuzz.local_fuzz import KINDS, fuzz


def test_a_slice_of_local_senders() -> None:
    good = fuzz(cases=700, seed=20261126)
    assert all(good[kind] for kind in KINDS)
