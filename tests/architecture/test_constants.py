"""Beside each numeric constant stands its reason: in a module and in a class."""

import ast
from collections.abc import Iterator, Sequence

import pytest

from tests.architecture.purity import SOURCE


def unexplained(text: str) -> list[str]:
    """The numeric constants of a module, and of classes in it, without a reason.

    A reason is a comment on the line or above it, or a docstring behind it. One holds for all constants that stand in a
    row without an empty line; the docstring of an enumeration holds for its members.
    """
    tree, lines = ast.parse(text), text.splitlines()
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    scopes += [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not _is_enumeration(node)]
    return [
        name
        for scope in scopes
        for row in _rows(scope.body)
        if not _is_explained_together(row, scope.body, lines)
        for name, node in row
        if "#" not in lines[node.lineno - 1] + lines[(node.end_lineno or node.lineno) - 1]
        and not lines[node.lineno - 2].lstrip().startswith("#")
    ]


def _is_enumeration(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).endswith(("Enum", "Flag")) for base in node.bases)


Row = list[tuple[str, ast.stmt]]


def _rows(body: Sequence[ast.stmt]) -> Iterator[Row]:
    """Constants that stand in a row."""
    row: Row = []
    for node in body:
        name = _constant(node)
        if row and (name is None or node.lineno != (row[-1][1].end_lineno or 0) + 1):
            yield row
            row = []
        if name is not None:
            row.append((name, node))
    if row:
        yield row


def _constant(node: ast.stmt) -> str | None:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None or not _is_number(node.value):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return target.id if isinstance(target, ast.Name) and target.id.isupper() else None


def _is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    if isinstance(value, ast.UnaryOp):
        return _is_number(value.operand)
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


def _is_explained_together(row: Row, body: Sequence[ast.stmt], lines: Sequence[str]) -> bool:
    first, last = row[0][1], row[-1][1]
    behind = body[body.index(last) + 1 :][:1]
    docstring = behind and isinstance(behind[0], ast.Expr) and isinstance(behind[0].value, ast.Constant)
    return bool(docstring) or lines[first.lineno - 2].lstrip().startswith("#")


def test_each_numeric_constant_has_a_reason() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): names
        for path in sorted(SOURCE.rglob("*.py"))
        if (names := unexplained(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("\nA = 1\n", ["A"]),
        ("\nA = 1  # of something\n", []),
        ("# Of something.\nA = 1\n", []),
        ("# Of both.\nA = 1\nB = 2.0\n", []),
        ("# Of the first.\nA = 1\n\nB = 2.0\n", ["B"]),
        ('\nA = 1 << 20\n"""Of something."""\n', []),
        ("\nclass C:\n    A: Final = -1\n", ["A"]),
        ("\nclass C(StrEnum):\n    A = 1\n", []),
        ("\na = 1\nA = True\nB = x\n", []),
    ],
)
def test_what_counts_as_a_reason(text: str, names: list[str]) -> None:
    assert unexplained(text) == names


def unexplained_sizes(text: str) -> list[int]:
    """Lines with a cache of a given size and no reason beside or above it."""
    lines = text.splitlines()
    sized = [number for number, line in enumerate(lines) if line.lstrip().startswith("@") and "lru_cache(" in line]
    return [
        number + 1
        for number in sized
        if any(digit.isdigit() for digit in lines[number]) and "#" not in lines[number] + lines[number - 1]
    ]


def test_each_cache_has_a_reason_for_its_size() -> None:
    found = {path.relative_to(SOURCE).as_posix(): unexplained_sizes(path.read_text()) for path in SOURCE.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_a_cache_without_a_reason_is_seen() -> None:
    assert unexplained_sizes("\n@functools.lru_cache(maxsize=4)\ndef f(): pass") == [2]
    assert unexplained_sizes("\n@functools.lru_cache(maxsize=4)  # of something\ndef f(): pass") == []
    assert unexplained_sizes("\n@functools.lru_cache(maxsize=MOST)\ndef f(): pass") == []
