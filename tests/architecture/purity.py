"""What a pure room may import and call, checked on its syntax tree.

A pure room's results follow from its arguments: no clock, socket, disk or chance, and no state between two calls. Time
is an argument, randomness is passed in, and a reason is returned instead of logged. A table of constants is no state:
it has entries, and nothing changes them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "letterlock"
PURE_ROOMS = (
    "dsn", "frozen", "identity", "keys", "mail", "mailauth", "memory", "milter", "mtasts", "policy", "ports", "queue",
    "recent", "recipients", "resolver", "routing", "sasl", "shared_defaults", "shares", "smtp", "socketmap", "tlsrpt",
)  # fmt: skip
DRIVERS = (
    "resolver/driver.py", "resolver/fair_slots.py", "resolver/sent_queries.py", "resolver/running_lookup.py",
    "resolver/work_slice.py",
)  # fmt: skip
"""Modules that connect a pure room to a network: they may do what the others must not."""

ALLOWED_MODULES = {
    "__future__", "base64", "binascii", "collections", "contextlib", "dataclasses", "datetime", "email", "enum",
    "functools", "shlex",
    "gzip", "hashlib", "hmac", "io", "ipaddress", "itertools", "json", "math", "operator", "quopri", "re", "string",
    "stringprep", "struct", "textwrap", "types", "typing",
    "unicodedata", "urllib.parse", "warnings", "xml.etree.ElementTree", "zlib",
}  # fmt: skip
ALLOWED_LIBRARIES = {"OpenSSL", "cryptography", "defusedxml", "dns", "idna", "letterlock"}
IMPURE_PARTS = {"dns.query", "dns.resolver", "dns.asyncquery", "dns.asyncresolver", "dns.zone", "OpenSSL.rand"}
"""Modules of these libraries that reach the network, files or chance."""

FORBIDDEN_BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"}
FORBIDDEN_METHODS = {
    "now", "today", "utcnow",  # of datetime and date
    "open", "read_bytes", "read_text", "write_bytes", "write_text", "unlink", "mkdir",  # of pathlib.Path
}  # fmt: skip
METHODS_OF = {"now": {"datetime", "date", "dt"}, "today": {"datetime", "date", "dt"}}
"""These are forbidden only of these names: a port's `clock.now()` is passed in."""
MUTABLE = {"Counter", "OrderedDict", "bytearray", "count", "defaultdict", "deque", "dict", "list", "set"}
MEMORIES = {
    "identity/path.py": ["keeps _FOUND, which is changed"],  # like lru_cache: bounded, and the same when computed again
    "mail/unpacking.py": ["imports zipfile", "calls archive.open"],  # an archive in memory
}
"""What is pure although it does not look so."""
IMMUTABLE_TYPES = {"Mapping", "Sequence", "Collection", "Set", "frozenset", "tuple"}
"""Declared as one of these, a constant cannot be changed without an error from mypy."""
NAMES_OF_PYTHON = {"__all__", "__slots__"}
CHANGING = {
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update",
}  # fmt: skip


def pure_modules() -> list[Path]:
    """Every module that must be pure."""
    found = [path for room in PURE_ROOMS for path in (SOURCE / room).rglob("*.py")]
    found += [path for room in PURE_ROOMS if (path := SOURCE / f"{room}.py").exists()]
    return sorted(path for path in found if path.relative_to(SOURCE).as_posix() not in DRIVERS)


def impurities(text: str) -> list[str]:
    """What a module does that a pure one must not, in the order of its lines."""
    tree = ast.parse(text)
    return [what for _, what in sorted([*_imports(tree), *_calls(tree), *_state(tree)])]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, f"imports {each.name}") for each in node.names if not _may_import(each.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{each.name}" for each in node.names)
            yield from ((node.lineno, f"imports {name}") for name in names if not _may_import(name))


def _may_import(name: str) -> bool:
    parts = name.split(".")
    prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return bool(prefixes & (ALLOWED_MODULES | ALLOWED_LIBRARIES)) and not prefixes & IMPURE_PARTS


def _calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node.lineno, "declares a global"
        if isinstance(node, ast.Call) and _is_forbidden(node.func):
            yield node.lineno, f"calls {ast.unparse(node.func)}"


def _is_forbidden(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id in FORBIDDEN_BUILTINS
    if not isinstance(called, ast.Attribute):
        return False
    owner = _last_name(called.value)
    return called.attr in FORBIDDEN_METHODS and owner in METHODS_OF.get(called.attr, {owner})


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _state(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Values that change, or can only be there to be changed, and live as long as the module or a class of it."""
    changed = set(_changed_names(tree))
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for node in (node for body in bodies for node in body):
        match node:
            case ast.Assign(targets=[ast.Name(id=name), *_], value=value) if name not in NAMES_OF_PYTHON:
                is_fixed = False
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                is_fixed = _last_name(annotation).partition("[")[0] in IMMUTABLE_TYPES
            case _:
                continue
        if node in tree.body and name in changed:  # in a class the same name is a field
            yield node.lineno, f"keeps {name}, which is changed"
        elif not is_fixed and _is_for_filling(value):
            yield node.lineno, f"keeps {name}, which is there to be changed"


def _is_for_filling(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return _last_name(value.func) in MUTABLE
    return isinstance(value, ast.GeneratorExp) or ast.unparse(value) in ("{}", "[]")


def _changed_names(tree: ast.Module) -> Iterator[str]:
    """Names of the module whose entries are set, deleted, or changed by a method."""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in CHANGING:
                yield name
