"""A short slice of the fuzzing of certificates; the long run is `python -m tests.fuzz.certificate_fuzz`."""

import pytest

from letterlock.identity.signers import MAX_SIGNATURE_CHECKS
from tests.fuzz.certificate_fuzz import MAX_CPU_SECONDS, run


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_a_server_presents_a_judgement_is_bounded_and_no_laxer_than_openssl(seed: int) -> None:
    meter = run(300, seed)
    assert meter.most_checks <= MAX_SIGNATURE_CHECKS
    assert meter.most_seconds < MAX_CPU_SECONDS
    for outcome in ("path for both", "no path for both", "PKIX match", "DANE dane-ta", "PKIX malformed"):
        assert meter.ended[outcome], outcome
