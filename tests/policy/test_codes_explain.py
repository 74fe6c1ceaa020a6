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
    """Comparisons, look-ups in collections and tables, tests of how it begins, and matches of a reason's code.

    A code that was given another name before is seen by the member of Code that it is compared with.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()]) if _has_code(left):
                yield node
            case ast.Compare(left=left, comparators=others) if _compares_a_code([left, *others]):
                yield node
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in TEXT_TESTS and _has_code(value):
                yield node
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]) if _is_code(key):
                yield node
            case ast.Subscript(slice=key) if _is_code(key):
                yield node
            case ast.Match(subject=subject) if _has_code(subject):
                yield node
            case ast.MatchValue(value=value) if _is_member(value):
                yield node


TEXT_TESTS = {"startswith", "endswith", "removeprefix", "partition", "split", "rpartition"}


def _has_code(node: ast.AST) -> bool:
    """A code, its `.value`, its text, or a tuple with one."""
    match node:
        case ast.Attribute(value=inner, attr="value") | ast.Call(func=ast.Name(id="str"), args=[inner]):
            return _is_code(inner)
        case ast.Tuple(elts=parts):
            return any(map(_has_code, parts))
    return _is_code(node)


def _is_member(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"


def _compares_a_code(sides: list[ast.expr]) -> bool:
    if any(_is_member(each) for side in sides for each in ast.walk(side)):
        return True
    return any(map(_has_code, sides)) and any(map(_names_codes, sides))


def _composed(tree: ast.AST) -> Iterator[ast.AST]:
    """Codes that are made or chosen by name while the program runs."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Code")):
                yield node
            case ast.Call(func=ast.Name(id="getattr" | "cast"), args=[ast.Name(id="Code"), *_]):
                yield node
            case ast.Subscript(value=ast.Name(id="Code")):
                yield node
            case ast.Attribute(value=ast.Name(id="Code"), attr="__members__"):
                yield node
            case ast.keyword(arg="code", value=value) if _is_made(value):
                yield value


def _is_made(value: ast.AST) -> bool:
    """Joined, formatted, or a text where a member belongs."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr in {"join", "format", "replace"}
    return isinstance(value, ast.JoinedStr | ast.BinOp) or (isinstance(value, ast.Constant) and value.value in VALUES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_decision_branches_on_a_code_and_none_is_put_together(path: Path) -> None:
    tree = ast.parse(path.read_text())
    found = [*_branches(tree), *_composed(tree)]
    assert [ast.unparse(each) for each in found if (path, ast.unparse(each)) not in TABLE_LOOKUPS] == []


TABLE_LOOKUPS = {
    # which sentence explains a code to everybody
    (SOURCE / "report" / "public.py", "why.code not in SENTENCES"),
    (SOURCE / "report" / "public.py", "SENTENCES.get(why.code, why.sentence)"),
    # what a row of the table says of a code: the facts that others go by
    (SOURCE / "policy" / "reasons.py", "FINDINGS[reason.code]"),
    (SOURCE / "queue" / "refusals.py", "FINDINGS[reason.code]"),
    (SOURCE / "queue" / "journal.py", "why.code not in NEVER_REFUSING"),  # a text by then
    (SOURCE / "deliver" / "log.py", "FINDINGS[reason.code]"),
    (SOURCE / "deliver" / "seen.py", "FINDINGS[each.code]"),
    (SOURCE / "report" / "session_results.py", "FINDINGS[reason.code]"),
    (SOURCE / "cli" / "explain.py", "CAUSES[entry.code]"),
    (SOURCE / "mailauth" / "spf" / "reasons.py", "EXPLANATIONS[self.code]"),
    (SOURCE / "mailauth" / "dmarc" / "reasons.py", "EXPLANATIONS[self.code]"),
    # under which name a reason is counted
    (SOURCE / "policy" / "host_results.py", "_DANE.get(reason.code)"),
    (SOURCE / "policy" / "host_results.py", "_STS.get(reason.code)"),
    (SOURCE / "statistics" / "delivery_facts.py", "_WOULD_FAIL.get(each.code)"),
}
"""Tables of what is said, known or counted, by code: no decision goes by them."""


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('reason.code == "rule-route"', 1),
        ("reason.code is Code.RULE_ROUTE", 1),
        ("why.code in _CODES", 1),
        ('x.reasons[0].code.startswith("rfc8461-")', 1),
        ("match reason.code:\n    case Code.RULE_ROUTE: pass", 2),
        ('Reason(code=f"{by}-refused", subject=x)', 1),
        ('Reason(code=by + "-refused", subject=x)', 1),
        ('Reason(code="rule-route", subject=x)', 1),
        ("Code(text)", 1),
        ("code = reason.code\nif code is Code.RULE_ROUTE: pass", 1),
        ("if code in {Code.RULE_ROUTE, Code.RULE_VERIFY}: pass", 1),
        ("_STATUS[reason.code]", 1),
        ("_STATUS.get(reason.code)", 1),
        ('str(reason.code) in ("rule-route",)', 1),
        ('reason.code.value.split("-")', 1),
        ("match reason:\n    case Reason(code=Code.RULE_ROUTE): pass", 1),
        ("match code:\n    case Code.RULE_ROUTE: pass", 1),
        ('Code["RULE_" + name]', 1),
        ("getattr(Code, name)", 1),
        ("Code.__members__", 1),
        ('Reason(code="-".join(parts), subject=x)', 1),
        ('Reason(code="{}-refused".format(by), subject=x)', 1),
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
