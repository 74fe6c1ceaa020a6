"""A surprising branch has a comment with its reason: what is caught and goes no further."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.docstrings import parsed
from tests.architecture.purity import SOURCE


def swallowed(text: str) -> Iterator[int]:
    """Lines on which an exception is caught for good, without a comment there, above or in the handler.

    A handler that calls something (a log, a reply, a conversion) or raises says itself what it is for.
    """
    lines = text.splitlines()
    for node in ast.walk(parsed(text)):
        match node:
            case ast.ExceptHandler(body=body) if all(map(_says_nothing, body)):
                last = body[-1].end_lineno or node.lineno
            case ast.With(items=items) | ast.AsyncWith(items=items) if any(map(_suppresses, items)):
                last = node.lineno
            case _:
                continue
        if not any("#" in line for line in lines[node.lineno - 2 : last]):
            yield node.lineno


def _says_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break() | ast.Return(value=None | ast.Constant() | ast.Name()):
            return True
    return False


def _suppresses(item: ast.withitem) -> bool:
    called = item.context_expr
    return isinstance(called, ast.Call) and ast.unparse(called.func).rpartition(".")[2] == "suppress"


def test_each_swallowed_exception_has_a_reason() -> None:
    found = {path.relative_to(SOURCE).as_posix(): list(swallowed(path.read_text())) for path in SOURCE.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("try: f()\nexcept OSError:\n    pass", [2]),
        ("try: f()\nexcept OSError:  # it is gone\n    pass", []),
        ("try: f()\nexcept OSError:\n    return None  # it is gone", []),
        ("try: f()\nexcept OSError:\n    log.warning('gone')", []),
        ("try: f()\nexcept OSError:\n    raise Lost from None", []),
        ("with suppress(OSError):\n    f()", [1]),
        ("# it may be gone\nwith contextlib.suppress(OSError):\n    f()", []),
        ("with lock:\n    f()", []),
    ],
)
def test_what_counts_as_swallowed(text: str, lines: list[int]) -> None:
    assert list(swallowed(text)) == lines
