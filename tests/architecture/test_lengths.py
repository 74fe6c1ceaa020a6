"""A file that is read in one sitting, and a function that is seen at a glance."""

import ast
from pathlib import Path

import letterlock
from tests.architecture.docstrings import parsed

MAX_LINES = 500
MAX_FUNCTION_LINES = 60  # without its docstring; nearly all have 20 or fewer


def test_no_file_of_the_package_is_longer_than_500_lines() -> None:
    """Where one grows beyond it, it has two subjects: split it by subject, not by length."""
    root = Path(letterlock.__file__).parent
    lengths = {path.relative_to(root): path.read_text().count("\n") for path in root.rglob("*.py")}
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_LINES}


def test_no_function_of_the_package_is_longer_than_60_lines() -> None:
    root, found = Path(letterlock.__file__).parent, {}
    for path in root.rglob("*.py"):
        for node in ast.walk(parsed(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or 0) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
                found[path.relative_to(root).as_posix(), node.name] = lines
    assert {name: lines for name, lines in found.items() if lines > MAX_FUNCTION_LINES} == {}
