"""The checklist names tests that there are, and says why where it names none."""

import re
from pathlib import Path

import pytest

from tests.checklist import CHECKLIST, Rule

TESTS = Path(__file__).parent
NAMES = {
    name
    for path in TESTS.rglob("test_*.py")
    for name in re.findall(r"^\s*(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}
RULES = [(standard, rule) for standard, rules in CHECKLIST.items() for rule in rules]


@pytest.mark.parametrize(("standard", "rule"), RULES, ids=[f"{each} {rule.section}" for each, rule in RULES])
def test_every_rule_is_held_by_a_test_or_says_why_not(standard: str, rule: Rule) -> None:
    assert rule.tests or rule.instead, f"{standard} {rule.section}"
    assert not set(rule.tests) - NAMES
    assert rule.instead or any(map(_names_section(standard, rule.section).search, rule.tests)), "none is named by it"


def _names_section(standard: str, section: str) -> re.Pattern[str]:
    """A test's name tells the standard and the section, or one of several: `test_rfc7672_2_2_1_...`."""
    sections = "|".join(one.replace(".", "_") for one in re.split(r", |-", section))
    return re.compile(rf"_{standard.replace('RFC ', 'rfc')}_({sections})_")


def test_the_standards_of_the_decision_of_what_mail_may_hold_and_of_submission_are_there() -> None:
    assert set(CHECKLIST) == {
        *("RFC 7672", "RFC 7671", "RFC 6698", "RFC 8461", "RFC 8689", "RFC 3207"),
        *("RFC 3030", "RFC 6152", "RFC 6531", "RFC 6533"),
        *("RFC 5321", "RFC 6409", "RFC 8314", "RFC 3461", "RFC 7505", "RFC 9422"),
        *("RFC 4954", "RFC 5802", "RFC 7677", "RFC 9266"),
    }
