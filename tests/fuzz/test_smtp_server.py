"""A short slice of the fuzzer of the SMTP server."""

from tests.fuzz.smtp_server_fuzz import fuzz


def test_a_slice_of_hostile_sessions() -> None:
    assert fuzz(cases=1500, seed=20261123) > 100
