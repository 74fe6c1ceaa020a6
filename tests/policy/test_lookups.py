"""Found, absent, or could not find out: RFC 7672 section 2.1."""

import pytest

from letterlock.policy.codes import Code
from letterlock.policy.lookups import said, unknown
from letterlock.policy.reasons import sentence, status
from letterlock.resolver.answer import FailureKind
from tests.policy.evidence import INDETERMINATE, INSECURE, SECURE, answer, failure

FAILED, BOGUS = Code.RFC7672_2_1_2_MX_LOOKUP_FAILED, Code.RFC7672_2_1_2_MX_BOGUS


@pytest.mark.parametrize("records", [(), ("192.0.2.1",)])
def test_rfc7672_2_1_1_secure_and_insecure_are_answers_to_go_by(records: tuple[str, ...]) -> None:
    for security in (SECURE, INSECURE):
        found = answer("a.example", "A", *records, security=security)
        assert unknown("a.example", "it", found, failed=FAILED, bogus=BOGUS) is None


def test_rfc7672_2_1_1_indeterminate_and_every_failure_could_not_find_out() -> None:
    vague = unknown("a.example", "it", answer("a.example", "A", security=INDETERMINATE), failed=FAILED, bogus=BOGUS)
    assert vague is not None
    assert (vague.code, vague.facts) == ("rfc7672-2.1.1-indeterminate", (("what", "it"),))
    for kind in set(FailureKind) - {FailureKind.NO_UPSTREAM}:
        found = unknown("a.example", "it", failure("a.example", "A", kind), failed=FAILED, bogus=BOGUS)
        assert found is not None
        assert found.code == (BOGUS if kind is FailureKind.BOGUS else FAILED)
        assert found.facts == (("kind", kind.value), ("detail", "no luck"))


def test_a_resolver_that_is_silent_is_not_blamed_on_the_domain() -> None:
    lost = failure("a.example", "A", FailureKind.NO_UPSTREAM)
    found = unknown("a.example", "its address", lost, failed=FAILED, bogus=BOGUS)
    assert found is not None
    assert (found.code, status(found)) == ("rfc7672-2.1.2-no-resolver", "4.4.3")
    assert sentence(found) == (
        "could not look up its address: no DNS resolver answers this server (no luck); the domain is not at fault"
    )


def test_a_text_from_outside_is_printable_and_short() -> None:
    assert said("plain text") == "plain text"
    assert said("a\r\nb\0c\x1b") == "a??b?c?"
    assert said("x" * 200) == "x" * 200
    assert said("x" * 201) == "x" * 200 + "..."
