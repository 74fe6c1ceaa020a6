"""A short slice of the fuzzer of shared state."""

import logging

import pytest

from tests.fuzz.shared_state_fuzz import play


def test_shared_state_fuzz_slice(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    for seed in range(500):
        play(seed)
