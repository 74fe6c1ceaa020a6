"""`letterlock explain`: every code told in full, found by a part of it or in a line of the log."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from letterlock.cli.explain import explain
from letterlock.policy.causes import CAUSES, Cause
from letterlock.policy.explanation import NOTHING
from letterlock.policy.reasons import all_codes
from letterlock.policy.reasons import explain as explanation_of

LOG_LINE = (
    "0000000000a: to=<ann@example.org>, relay=mx.example.org[192.0.2.1]:25, delay=0.3, delays=0/0/0.3/0, dsn=4.7.5, "
    "status=deferred (mx.example.org: no) tls=!dane:none protection=refused why=rfc7672-2.2.3-starttls-required"
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(explain, arguments)


def values(*arguments: str) -> list[dict[str, Any]]:
    ran = run("--json", *arguments)
    assert ran.exit_code == 0, ran.output
    found: list[dict[str, Any]] = json.loads(ran.stdout)["reasons"]
    return found


@pytest.mark.parametrize("code", all_codes())
def test_every_code_is_told_in_full(code: str) -> None:
    ran = run(code)
    entry = explanation_of(code)
    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[0].startswith(f"{code}   ")
    for told in (entry.section, entry.status, entry.advice):
        assert told in ran.stdout
    assert (entry.result_type.value if entry.result_type else "not reported") in ran.stdout
    assert "{" not in ran.stdout


def test_without_a_code_all_are_listed_once_one_line_each() -> None:
    lines = [line.split()[0] for line in run().stdout.splitlines() if line.startswith("  ")]
    assert sorted(lines) == sorted(all_codes())
    assert [each["code"] for each in values()] == list(all_codes())


def test_a_code_that_is_the_beginning_of_another_is_still_itself() -> None:
    assert [each["code"] for each in values("rfc7435-3-clear")] == ["rfc7435-3-clear"]


@pytest.mark.parametrize("part", ["starttls", "STARTTLS", "rfc7672-2.2.3", "dane-"])
def test_a_part_of_a_code_lists_what_it_fits(part: str) -> None:
    fitting = [code for code in all_codes() if part.lower() in code]
    assert len(fitting) > 1
    listed = [line.split()[0] for line in run(part).stdout.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(fitting)


def test_a_part_that_fits_one_code_explains_it() -> None:
    assert "what to do" in run("null-mx").stdout


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ((LOG_LINE,), ["rfc7672-2.2.3-starttls-required"]),
        (tuple(LOG_LINE.split()), ["rfc7672-2.2.3-starttls-required"]),
        (("why=rule-verified",), ["rule-verified"]),
        (("WHY=Rule-Verified,",), ["rule-verified"]),
        (("rule-verified", "rule-verify."), ["rule-verified", "rule-verify"]),
        (("why=rule-verified why=rule-verified",), ["rule-verified"]),
    ],
)
def test_codes_are_found_in_pasted_text(text: tuple[str, ...], codes: list[str]) -> None:
    assert [each["code"] for each in values(*text)] == codes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("starttls-reqired", "did you mean rule-starttls-required"),
        ("why=rfc7672-2.1.2-mx-bogous rule-verified", "did you mean rfc7672-2.1.2-mx-bogus"),
        ("xyzzy", "lists them all"),
        ("nothing of that kind here", "there is no reason code in this text"),
        ("\x1b[31mred\u202e", "there is no reason code '\\x1b[31mred\\u202e'"),
    ],
)
def test_an_unknown_code_is_one_message_with_a_hint(text: str, message: str) -> None:
    ran = run(text)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert message in ran.stderr
    assert "\n  hint: " in ran.stderr
    assert "\x1b" not in ran.stderr


@pytest.mark.parametrize(
    ("code", "attacker", "cause"),
    [
        ("rfc7672-2.2.3-starttls-required", True, "an attacker, or a fault of the server"),
        ("rfc7672-2.1.2-mx-bogus", True, "an attacker, or a fault or omission of the domain's operator"),
        ("rfc7672-6-insecure-mx", False, "your own configuration"),
        ("rfc7672-2.1.1-indeterminate", False, "your own configuration"),
        ("rfc5321-5.1-no-such-domain", False, "a mistaken address"),
        ("rfc7672-3.1.1-dane-ee", False, "nobody: this is as intended"),
    ],
)
def test_who_can_cause_it(code: str, attacker: bool, cause: str) -> None:
    [told] = values(code)
    assert (told["attacker"], told["cause"]) == (attacker, cause)


def test_every_code_has_its_causes() -> None:
    assert set(CAUSES) == set(all_codes())


def test_what_nobody_causes_is_caused_by_nobody_else_and_advises_nothing() -> None:
    alone = {code for code, causes in CAUSES.items() if Cause.NOBODY in causes}
    assert all(CAUSES[code] == (Cause.NOBODY,) for code in alone)
    assert alone == {code for code in all_codes() if explanation_of(code).advice == NOTHING}


def test_the_data_has_everything() -> None:
    [told] = values("rfc7672-2.1.2-mx-lookup-failed")
    assert told["facts"] == ["kind", "detail"]
    assert told["tls_report"] == "dnssec-invalid"
    assert told["passes"] is False
