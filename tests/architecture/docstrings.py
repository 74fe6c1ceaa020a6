"""What the docstrings of the package must say, as far as it can be read from the syntax tree.

A public function has a docstring. It, or its class's, names each exception that the body raises itself; and a number
that it takes says its unit, in its name or in the docstring.
"""

import ast
import functools
import re
from collections.abc import Iterator

UNITS = {
    "at", "bits", "code", "count", "limit", "number", "port", "preference", "selector", "ttl", "usage", "version",
    "width",
}  # fmt: skip
"""Last words of a parameter's name that are a unit, or a number that a standard defines under this name. A plural is a
unit, too: `seconds`, `octets`, or a count, such as `attempts`."""
MOMENTS = {
    "after",
    "before",
    "begin",
    "day",
    "end",
    "inception",
    "expiration",
    "moment",
    "now",
    "since",
    "start",
    "until",
}
"""Seconds since 1970, and a day is one of UTC counted from there, unless something else is said (see the glossary)."""
STANDARDS = {
    "algorithm", "ede", "matching_type", "max_age", "message_id", "protocol", "rcode", "rdclass", "rdtype", "weight",
    "descriptor", "flags", "gid", "login_uid", "pid", "uid", "level", "lineno",
}  # fmt: skip
"""Numbers that RFC 1035, 2782, 4034, 6698, 8461 or 8914, the operating system, or `logging` names so."""
PROGRAMMING_ERRORS = {"AssertionError", "NotImplementedError", "TypeError"}
"""What a caller whom mypy checked never sees."""
_IN_SECONDS = re.compile(r"\bseconds\b")
_NUMBER = re.compile(r"^(int|float)( \| None)?$")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a module, made once for all tests here."""
    return ast.parse(text)


def missing_docstrings(text: str) -> Iterator[str]:
    """Public functions, classes and methods without a docstring."""
    for name, node, _ in _public(parsed(text)):
        if ast.get_docstring(node) is None and not name.endswith("__init__") and not _is_declared_only(node):
            yield name


def unnamed_errors(text: str) -> Iterator[str]:
    """Exceptions that a public function raises itself, and that neither its docstring nor its class's names."""
    for name, node, about in _public(parsed(text)):
        if isinstance(node, Function) and not _is_command(node):
            yield from (f"{name}: {error}" for error in sorted(set(_raised(node))) if error not in about)


def numbers_without_unit(text: str) -> Iterator[str]:
    """Parameters of public functions, and fields of public classes, that are numbers of nobody knows what.

    A field may have its unit in a comment, in a `Field`, or in a word on all times of the class. The options of
    commands have theirs in `--help`.
    """
    tree, lines = parsed(text), text.splitlines()
    for name, node, about in _public(tree):
        if isinstance(node, Function):
            if _is_command(node):
                continue
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            numbers = [each.arg for each in arguments if each.annotation is not None and _is_number(each.annotation)]
        else:
            numbers = [
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and _is_number(each.annotation)
                if not (ast.unparse(each.annotation).startswith("float") and _IN_SECONDS.search(about))
                if "#" not in lines[each.lineno - 1] and not ast.unparse(each).partition("=")[2].startswith(" Field(")
            ]
        yield from (f"{name}({each})" for each in numbers if not each.startswith("_") and not _says_unit(each, about))


def _public(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef, str]]:
    """The public functions, classes and methods of a module: name, node, and the docstrings that speak of it."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        about = ast.get_docstring(node) or ""
        yield node.name, node, about
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, Function) and (not method.name.startswith("_") or method.name == "__init__"):
                yield f"{node.name}.{method.name}", method, f"{about}\n{ast.get_docstring(method) or ''}"


def _is_command(node: Function) -> bool:
    """A verb of the command line: its docstring is what `--help` prints, and its errors are messages."""
    return any("command" in ast.unparse(each) or "click.pass" in ast.unparse(each) for each in node.decorator_list)


def _is_declared_only(node: Function | ast.ClassDef) -> bool:
    """A protocol's method, whose body is `...`, or the setter of a property."""
    if not isinstance(node, Function):
        return False
    is_setter = any(ast.unparse(each).endswith(".setter") for each in node.decorator_list)
    return is_setter or [ast.unparse(each) for each in node.body] == ["..."]


def _raised(function: Function) -> Iterator[str]:
    for node in _own(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            error = ast.unparse(raised).rpartition(".")[2]
            if error[:1].isupper() and error not in PROGRAMMING_ERRORS:
                yield error


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What belongs to a function itself, not to functions inside it; an exception that it catches is not raised."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function | ast.ClassDef | ast.Lambda):
            yield child
            yield from _own(child)


def _is_number(annotation: ast.expr) -> bool:
    return _NUMBER.match(ast.unparse(annotation)) is not None


def _says_unit(name: str, about: str) -> bool:
    last = name.rpartition("_")[2]
    return (
        last in UNITS | MOMENTS
        or name in STANDARDS
        or last.endswith("s")
        or re.search(rf"\b{name}\b", about) is not None
    )
