"""The table of reasons is complete, and every code in it is given somewhere."""

import re
import string
from pathlib import Path
from typing import cast

import pytest

import letterlock.deliver
import letterlock.policy
from letterlock.policy.codes import Code
from letterlock.policy.reasons import (
    Reason,
    ResultType,
    all_codes,
    explain,
    result_type,
    section,
    sentence,
    status,
)

TABLES = ("codes.py", "reason_table.py", "demand_reasons.py")
ROOMS = (letterlock.policy, letterlock.deliver)
SOURCES = [
    path.read_text() for room in ROOMS for path in Path(room.__path__[0]).glob("*.py") if path.name not in TABLES
]


@pytest.mark.parametrize("code", all_codes())
def test_every_code_is_explained_whole(code: str) -> None:
    found = explain(code)
    assert found.code == code
    assert re.fullmatch(r"[245]\.\d\.\d{1,2}", found.status)
    assert re.match(r"(RFC \d+ section [\d.]+( \(.\))?|operator's rule|Letterlock's memory)$", found.section)
    assert found.sentence
    assert found.sentence[-1] not in ".!"
    assert found.advice
    assert found.advice[-1] != "."
    assert found.result_type is None or found.result_type in ResultType
    assert "subject" not in {field for _, field, _, _ in string.Formatter().parse(found.sentence)}


@pytest.mark.parametrize("code", all_codes())
def test_a_code_names_its_section(code: str) -> None:
    numbers = re.match(r"rfc(\d+)-([\d.]+)-", code)
    if numbers:
        assert explain(code).section == f"RFC {numbers[1]} section {numbers[2]}"
    else:
        assert code.startswith(("rule-", "memory-")) or code in ("internal-error", "queue-unreadable")


@pytest.mark.parametrize("code", all_codes())
def test_every_code_is_given_somewhere(code: str) -> None:
    member = f"Code.{Code(code).name}"
    assert any(re.search(rf"{member}\b", source) for source in SOURCES)


def test_only_what_no_attempt_can_mend_is_permanent() -> None:
    assert {code for code in all_codes() if explain(code).status.startswith("5")} == {
        "rfc7505-3-null-mx",
        "rfc5321-5.1-loops-back",
        "rfc5321-5.1-no-such-domain",
        "rfc5321-5.1-no-host-has-an-address",
        "rfc8689-4.2.1-not-offered",
    }


def test_what_lets_mail_pass_is_not_reported_as_a_failure_but_for_bad_tlsa() -> None:
    reported = {code for code in all_codes() if explain(code).status == "2.0.0" and explain(code).result_type}
    assert reported == {
        "rfc7672-2.2-unusable",
        "rfc8461-3.3-unreachable",
        "rfc8461-10.2-blocked",
        "rfc8461-5-would-hold",
    }


def test_a_sentence_is_filled_with_facts() -> None:
    reason = Reason(code=Code.RULE_REQUIRE_TLS, subject="mx.example.org", facts=(("source", "letterlock.toml:3"),))
    assert sentence(reason) == "the rule letterlock.toml:3 demands TLS"
    assert (status(reason), section(reason), result_type(reason)) == ("2.0.0", "operator's rule", None)


def test_a_missing_fact_is_shown_as_missing() -> None:
    assert sentence(Reason(code=Code.RULE_REQUIRE_TLS, subject="x")) == "the rule ? demands TLS"


def test_a_fact_is_never_read_as_a_template() -> None:
    reason = Reason(code=Code.RULE_REQUIRE_TLS, subject="x", facts=(("source", "{subject} {0}"),))
    assert sentence(reason) == "the rule {subject} {0} demands TLS"


@pytest.mark.parametrize("ask", [sentence, status, section, result_type])
def test_an_unknown_code_is_an_error(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(KeyError):
        ask(Reason(code=cast("Code", "no-such-code"), subject="x"))
    with pytest.raises(KeyError):
        explain("no-such-code")


def test_rfc8460_4_3_result_types_of_failures() -> None:
    wanted = {
        "rfc7672-2.2.3-starttls-required": "starttls-not-supported",
        "rfc7672-3.2.2-dane-wrong-name": "certificate-host-mismatch",
        "rfc7672-3.1.2-dane-expired": "certificate-expired",
        "rfc7672-3.1.2-dane-untrusted": "certificate-not-trusted",
        "rfc7672-2.2-handshake-failed": "validation-failure",
        "rfc7672-3.2-dane-mismatch": "tlsa-invalid",
        "rfc7672-2.1.2-tlsa-bogus": "dnssec-invalid",
        "rfc7672-6-no-usable-tlsa": "dane-required",
    }
    assert {code: explain(code).result_type for code in wanted} == wanted
