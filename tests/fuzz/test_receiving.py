"""A short slice of the fuzzing of mail that is received; the long run is `python -m tests.fuzz.receiving_fuzz`."""

from tests.fuzz.receiving_fuzz import run


def test_hostile_mail_ends_as_documented() -> None:
    assert {"accepted", "quarantined", "550", "451"} <= set(run(400, 1))
