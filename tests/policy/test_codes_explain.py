"""Facts steer, codes explain: nothing is decided by the code of a reason, and no code is put together from strings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import letterlock
from letterlock.policy.codes import Code
from letterlock.policy.reason_table import EXPLANATIONS
from letterlock.policy.reasons import Finding

SOURCE = Path(letterlock.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TABLES = {SOURCE / "policy" / "codes.py"}
VALUES = {code.value for code in Code}


def _is_code(node: ast.AST) -> bool:
    """`reason.code`, but no reply code (RFC 5321), which is a number."""
    return isinstance(node, ast.Attribute) and node.attr == "code" and "reply" not in ast.unparse(node.value)


def _names_codes(node: ast.AST) -> bool:
    """A member of Code, a text, or a collection of such."""
    return any(
        (isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "Code")
        or (isinstance(each, ast.Constant) and isinstance(each.value, str))
        for each in ast.walk(node)
    )


def _branches(tree: ast.AST) -> Iterator[ast.AST]:
    """Comparisons, look-ups in collections, tests of how it begins, and matches of a reason's code."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()]) if _is_code(left):
                yield node
            case ast.Compare(left=left, comparators=others) if _compares_a_code([left, *others]):
                yield node
            case ast.Call(func=ast.Attribute(value=value, attr=attribute)) if attribute in TEXT_TESTS and _is_code(
                value
            ):
                yield node
            case ast.Match(subject=subject) if _is_code(subject):
                yield node


TEXT_TESTS = {"startswith", "endswith", "removeprefix", "partition"}


def _compares_a_code(sides: list[ast.expr]) -> bool:
    return any(map(_is_code, sides)) and any(map(_names_codes, sides))


def _composed(tree: ast.AST) -> Iterator[ast.AST]:
    """Codes that are made while the program runs."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "Code":
            yield node
        yield from (each.value for each in node.keywords if each.arg == "code" and _is_made(each.value))


def _is_made(value: ast.AST) -> bool:
    return isinstance(value, ast.JoinedStr | ast.BinOp) or (isinstance(value, ast.Constant) and value.value in VALUES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_decision_branches_on_a_code_and_none_is_put_together(path: Path) -> None:
    tree = ast.parse(path.read_text())
    found = [*_branches(tree), *_composed(tree)]
    assert [ast.unparse(each) for each in found if (path, ast.unparse(each)) not in TABLE_LOOKUPS] == []


TABLE_LOOKUPS = {(SOURCE / "report" / "public.py", "why.code not in SENTENCES")}
"""Which sentence explains a code to everybody: a table of explanations, by code."""


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('reason.code == "rule-route"', 1),
        ("reason.code is Code.RULE_ROUTE", 1),
        ("why.code in _CODES", 1),
        ('x.reasons[0].code.startswith("rfc8461-")', 1),
        ("match reason.code:\n    case Code.RULE_ROUTE: pass", 1),
        ('Reason(code=f"{by}-refused", subject=x)', 1),
        ('Reason(code=by + "-refused", subject=x)', 1),
        ('Reason(code="rule-route", subject=x)', 1),
        ("Code(text)", 1),
        ("reply.code == 354", 0),
        ("reply.code in (220, 221)", 0),
        ("Reason(code=Code.RULE_ROUTE, subject=x)", 0),
        ("explain(reason.code).status", 0),
    ],
)
def test_the_test_sees_what_it_is_for(text: str, count: int) -> None:
    tree = ast.parse(text)
    assert len([*_branches(tree), *_composed(tree)]) == count


def test_the_codes_stand_in_one_file_in_the_order_of_the_table() -> None:
    assert list(EXPLANATIONS) == list(Code)


def test_no_code_stands_in_the_source_as_a_text() -> None:
    for path in set(FILES) - TABLES:
        texts = {each.value for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Constant)}
        assert not texts & (VALUES - {"internal-error"}), path


def test_every_finding_is_told_by_some_reason() -> None:
    assert {each.finding for each in EXPLANATIONS.values()} == {None, *Finding}
