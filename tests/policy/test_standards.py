"""RFC 6698 section 4.1, and RFC 8461 section 5, as tables of what is required and what it comes to."""

import pytest

from letterlock.policy.decision import DaneAuthentication, Encryption, Requirement, SkipHost
from letterlock.policy.reasons import all_codes, explain
from letterlock.policy.require import require
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure
from tests.policy.evidence import (
    GOOD_TLSA,
    HOST,
    INDETERMINATE,
    INSECURE,
    UNUSABLE_TLSA,
    answer,
    destination,
    failure,
    target,
)

OWNER = f"_25._tcp.{HOST}"
TLS_WITH_DANE, TLS, ANYTHING, NOTHING = "TLS that DANE authenticates", "TLS", "anything", "nothing"


def outcome(required: object) -> str:
    """What a host may get, in a word."""
    if isinstance(required, SkipHost):
        return NOTHING
    assert isinstance(required, Requirement)
    if isinstance(required.authentication, DaneAuthentication):
        assert (required.encryption, required.fallback) == (Encryption.MANDATORY, None)
        return TLS_WITH_DANE
    return TLS if required.encryption is Encryption.MANDATORY else ANYTHING


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (answer(OWNER, "TLSA", GOOD_TLSA), TLS_WITH_DANE),
        (answer(OWNER, "TLSA", GOOD_TLSA, UNUSABLE_TLSA), TLS_WITH_DANE),
        (answer(OWNER, "TLSA", UNUSABLE_TLSA), TLS),
        (answer(OWNER, "TLSA", GOOD_TLSA, security=INSECURE), ANYTHING),
        (answer(OWNER, "TLSA", UNUSABLE_TLSA, security=INSECURE), ANYTHING),
        (answer(OWNER, "TLSA", absence=Absence.NODATA), ANYTHING),
        (answer(OWNER, "TLSA", absence=Absence.NXDOMAIN), ANYTHING),
        (answer(OWNER, "TLSA", absence=Absence.NXDOMAIN, security=INSECURE), ANYTHING),
        (answer(OWNER, "TLSA", GOOD_TLSA, security=INDETERMINATE), NOTHING),
        (answer(OWNER, "TLSA", security=INDETERMINATE), NOTHING),
        *((failure(OWNER, "TLSA", kind), NOTHING) for kind in FailureKind),
    ],
)
def test_rfc6698_4_1_the_state_of_the_tlsa_answer_decides_what_it_is_worth(
    found: Answer | LookupFailure, wanted: str
) -> None:
    assert outcome(require(destination(f"10 {HOST}."), target(answered=found))) == wanted


def test_rfc6698_4_1_records_of_an_unsigned_host_are_not_asked_for() -> None:
    assert outcome(require(destination(f"10 {HOST}."), target(base=None, address_security=INSECURE))) == ANYTHING


def test_rfc8461_5_no_failure_is_permanent() -> None:
    """A policy may have changed, and an attacker may have shown whatever was seen: the message waits."""
    codes = [code for code in all_codes() if code.startswith("rfc8461-")]
    assert codes
    assert {explain(code).status[0] for code in codes} <= {"2", "4"}
