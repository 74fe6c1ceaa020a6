"""A short slice of the SMTP client's fuzzer."""

from tests.fuzz.smtp_client_fuzz import run


def test_smtp_client_fuzz_slice() -> None:
    run(cases=2000, seed=0)
