"""Figures of the code's shape: lengths, parameters, comments, rooms and arrows, names that exist twice.

    .venv/bin/python tools/shape.py [--against REV]

Everything is read from the source text; nothing is imported. `--against` shows the same figures of another revision
beside those of the working tree.
"""

import argparse
import ast
import io
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "letterlock"
LONG_FUNCTION = 20  # lines: what fits on a screen beside its test
LONG_FILE = 300  # lines: more than a reader keeps in mind


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The package below letterlock that it belongs to."""
        return self.name.split(".")[1] if "." in self.name else ""


def modules(root: Path) -> list[Module]:
    """Every module below `root`/src."""
    found = []
    for path in sorted((root / "src" / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / "src").with_suffix("").parts
        text = path.read_text()
        found.append(Module(".".join(part for part in parts if part != "__init__"), text, ast.parse(text)))
    return found


def _functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    return (function.end_lineno or 0) - function.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def _comment_share(module: Module) -> tuple[int, int]:
    """Lines with a comment, and lines that are not empty."""
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    comments = len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})
    return comments, len([line for line in module.text.splitlines() if line.strip()])


def _imports(module: Module, names: set[str]) -> set[str]:
    """The modules of the package that this one imports at its top or in a function."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (below & names) or ({node.module} & names)
    return found - {module.name}


def _arrows(all_modules: list[Module]) -> dict[str, set[str]]:
    names = {module.name for module in all_modules}
    return {module.name: _imports(module, names) for module in all_modules}


def room_arrows(all_modules: list[Module]) -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    arrows = _arrows(all_modules)
    rooms: dict[str, set[str]] = defaultdict(set)
    for module in all_modules:
        rooms[module.room] |= {each.split(".")[1] for each in arrows[module.name] if "." in each} - {module.room}
    return rooms


def _longest_chain(arrows: dict[str, set[str]]) -> int:
    """How many modules the longest chain of imports passes through."""
    depth: dict[str, int] = {}

    def measure(name: str, above: frozenset[str]) -> int:
        if name not in depth:
            below = [measure(each, above | {name}) for each in arrows[name] if each not in above]
            depth[name] = 1 + max(below, default=0)
        return depth[name]

    return max(measure(name, frozenset()) for name in arrows)


def _twice(names: list[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def figures(root: Path) -> dict[str, str]:
    """The figures of the tree at `root`, by what they are."""
    all_modules = modules(root)
    functions = [function for module in all_modules for function in _functions(module)]
    lengths = sorted(_lines(function) for function in functions)
    files = sorted(module.text.count("\n") for module in all_modules)
    parameters = sorted(_parameters(function) for function in functions)
    comments, lines = (sum(part) for part in zip(*(_comment_share(module) for module in all_modules), strict=True))
    names = {module.name for module in all_modules}
    arrows = _arrows(all_modules)
    rooms = room_arrows(all_modules)
    classes = [
        node.name
        for module in all_modules
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    file_names = [name.rpartition(".")[2] for name in names if not _is_package(name, names)]
    return {
        "files": str(len(files)),
        "lines of a file: median, longest": f"{statistics.median(files):g}, {files[-1]}",
        f"files of more than {LONG_FILE} lines": str(len([each for each in files if each > LONG_FILE])),
        "functions": str(len(lengths)),
        "lines of a function: median, longest": f"{statistics.median(lengths):g}, {lengths[-1]}",
        f"functions within {LONG_FUNCTION} lines": _share(lengths, LONG_FUNCTION),
        "parameters: median, most": f"{statistics.median(parameters):g}, {parameters[-1]}",
        "functions within 5 parameters": _share(parameters, 5),
        "lines with a comment": f"{100 * comments / lines:.1f} %",
        "longest chain of imports": str(_longest_chain(arrows)),
        "rooms, arrows between them": f"{len(rooms)}, {sum(len(each) for each in rooms.values())}",
        "public class names that exist twice": f"{len(_twice(classes))} {' '.join(_twice(classes))}".strip(),
        "module names that exist twice": f"{len(_twice(file_names))} {' '.join(_twice(file_names))}".strip(),
    }


def _is_package(name: str, names: set[str]) -> bool:
    return any(each.startswith(name + ".") for each in names)


def _share(values: list[int], limit: int) -> str:
    return f"{100 * len([each for each in values if each <= limit]) / len(values):.1f} %"


def _unpacked(revision: str, directory: str) -> Path:
    archive = subprocess.run(["git", "archive", revision, "src"], capture_output=True, check=True).stdout  # noqa: S603, S607
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive, check=True)  # noqa: S603, S607
    return Path(directory)


def main() -> int:
    """Print the figures, two columns with `--against`."""
    parser = argparse.ArgumentParser(description="Figures of the code's shape.")
    parser.add_argument("--against", metavar="REV", help="another revision to show beside the working tree")
    arguments = parser.parse_args()
    now = figures(Path(__file__).resolve().parent.parent)
    before: dict[str, str] = {}
    if arguments.against:
        with tempfile.TemporaryDirectory() as directory:
            before = figures(_unpacked(arguments.against, directory))
    for what, value in now.items():
        print(f"{what:44} {before[what] + '  ->  ' if before else ''}{value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
