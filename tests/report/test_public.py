"""What senders are told in public: nothing of the operator's, and advice that fits."""

import re

import pytest

from letterlock.policy.reasons import all_codes, explain
from letterlock.queue.tasks import Why
from letterlock.report.public import SENTENCES, advice, is_routed, what_failed, why_told

KEEPING_BACK = [code for code in all_codes() if explain(code).status[0] in "45"]


@pytest.mark.parametrize("code", KEEPING_BACK)
def test_no_reason_that_is_told_names_what_is_the_operators(code: str) -> None:
    facts = {"source": "/etc/letterlock.toml:12", "next_hop": "relay.internal"}
    if code.endswith("-lookup-failed"):
        facts["detail"] = "127.0.0.1:53 does not answer"
    sentence = re.sub(r"{(\w+)}", lambda found: facts.get(found[1], "x"), explain(code).sentence)
    (told,) = why_told((Why(code, "mx", "RFC", sentence),))
    assert not [fact for fact in facts.values() if fact in told.sentence]


@pytest.mark.parametrize("code", SENTENCES)
def test_public_sentences_are_for_codes_that_there_are_and_have_no_facts(code: str) -> None:
    assert code in all_codes()
    assert "{" not in SENTENCES[code]


def test_reasons_that_let_mail_pass_are_not_told() -> None:
    whys = tuple(Why(code, "x", "s", "w") for code in (*all_codes(), "of-another-version"))
    assert [why.code for why in why_told(whys)] == KEEPING_BACK
    assert is_routed(whys)


@pytest.mark.parametrize(
    ("status", "by_remote", "words"),
    [
        ("5.1.1", True, "Check the address"),
        ("5.1.10", False, "Check the address"),
        ("5.2.2", True, "free space"),
        ("5.3.4", True, "smaller message"),
        ("5.4.7", False, "behind the @"),
        ("5.6.7", False, "ASCII characters only"),
        ("5.7.1", True, "rejects it by policy"),
        ("5.7.5", False, "forward this notification"),
        ("5.0.0", True, "forward this notification"),
    ],
)
def test_advice_fits_what_happened(status: str, by_remote: bool, words: str) -> None:
    assert words in advice(status, (), by_remote=by_remote)


def test_rfc8689_a_sender_who_demands_tls_learns_how_to_send_without_it() -> None:
    why = Why("rfc8689-4.2.1-no-tls", "mx", "RFC 8689 section 4.2.1", "there is no TLS")
    assert advice("5.7.10", (why,), by_remote=False).startswith("Send it without REQUIRETLS")


@pytest.mark.parametrize("status", ["5.1.1", "4.4.1", "5.7.30", "5.9.9", "5", ""])
def test_every_status_has_words(status: str) -> None:
    assert what_failed(status)
    assert advice(status, (), by_remote=False)
