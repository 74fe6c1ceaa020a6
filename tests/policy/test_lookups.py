"""Found, absent, or could not find out: RFC 7672 section 2.1."""

import pytest

from letterlock.policy.lookups import said, unknown
from letterlock.resolver.answer import FailureKind
from tests.policy.evidence import INDETERMINATE, INSECURE, SECURE, answer, failure


@pytest.mark.parametrize("records", [(), ("192.0.2.1",)])
def test_rfc7672_2_1_1_secure_and_insecure_are_answers_to_go_by(records: tuple[str, ...]) -> None:
    for security in (SECURE, INSECURE):
        found = answer("a.example", "A", *records, security=security)
        assert unknown("a.example", "it", found, failed="failed", bogus="bogus") is None


def test_rfc7672_2_1_1_indeterminate_and_every_failure_could_not_find_out() -> None:
    vague = unknown("a.example", "it", answer("a.example", "A", security=INDETERMINATE), failed="f", bogus="b")
    assert vague is not None
    assert (vague.code, vague.facts) == ("rfc7672-2.1.1-indeterminate", (("what", "it"),))
    for kind in FailureKind:
        found = unknown("a.example", "it", failure("a.example", "A", kind), failed="f", bogus="b")
        assert found is not None
        assert found.code == ("b" if kind is FailureKind.BOGUS else "f")
        assert found.facts == (("kind", kind.value), ("detail", "no luck"))


def test_a_text_from_outside_is_printable_and_short() -> None:
    assert said("plain text") == "plain text"
    assert said("a\r\nb\0c\x1b") == "a??b?c?"
    assert said("x" * 200) == "x" * 200
    assert said("x" * 201) == "x" * 200 + "..."
