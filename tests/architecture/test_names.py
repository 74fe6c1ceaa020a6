"""A name stands for one thing: each public class exists once, and no two modules share a name but those listed."""

import ast
from collections import defaultdict

from tests.architecture.purity import SOURCE

SHARED_BY_MECHANISMS = {
    "Code", "Explanation", "InvalidRecord", "Mechanism", "Outcome", "Reason", "Record", "Result", "Verdict",
}  # fmt: skip
"""SPF, DKIM, DMARC and ARC have their own results, reasons and records (RFC 8601 section 2.7), in the same words."""
SHARED_MODULE_NAMES = {
    "addresses",
    "asking",
    "author",
    "certificates",
    "chain",
    "client",
    "command",
    "compose",
    "dkim",
    "drop",
    "evaluate",
    "journal",
    "keys",
    "message",
    "options",
    "orders",
    "reading",
    "reloading",
    "reasons",
    "record",
    "relay",
    "rules",
    "server",
    "session",
    "text",
    "tls_required",
    "trace",
    "trust",
    "users",
    "values",
    "verify",
}
"""A room's own part of a thing that several rooms have; the room's name says whose. Do not add to this list."""
STILL_SHARED = {"Authentication", "Override", "Refused", "Reporter", "Row", "State"}
"""Names of rooms that were being rebuilt when the others were renamed. Do not add to this set."""
PORTS = {"Resolver"}
"""A port is named like the class that implements it (`ports.py`)."""


def public_classes() -> dict[str, list[str]]:
    """Where each public class name is defined."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.relative_to(SOURCE).as_posix())
    return found


def test_each_public_class_name_exists_once() -> None:
    twice = {name: where for name, where in public_classes().items() if len(where) > 1}
    for name in SHARED_BY_MECHANISMS & set(twice):
        others = [each for each in twice[name] if not each.startswith("mailauth/")]
        if len(others) <= 1:
            del twice[name]
    assert {name: where for name, where in twice.items() if name not in PORTS | STILL_SHARED} == {}


def test_no_module_name_exists_twice_but_those_listed() -> None:
    names = [path.stem for path in SOURCE.rglob("*.py") if not path.stem.startswith("__")]
    assert {name for name in names if names.count(name) > 1} == SHARED_MODULE_NAMES
