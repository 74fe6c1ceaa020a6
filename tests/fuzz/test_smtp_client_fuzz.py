"""A short slice of the SMTP client's fuzzer."""

import random

from tests.fuzz.smtp_client_fuzz import play


def test_smtp_client_fuzz_slice() -> None:
    for seed in range(2000):
        play(random.Random(seed))
