"""Each public class name exists once, and a module name twice only if it is listed here."""

import ast
from collections import defaultdict

from tests.architecture.purity import SOURCE

SHARED_MODULE_NAMES = {
    # the two ends of a protocol, wherever one is spoken
    "client": {"admin", "smtp"},
    "server": {"admin", "app", "smtp"},
    # RFC 5321 section 4.1.4: what happens on one connection, as its receiver, its sender and a local program see it
    "session": {"deliver", "receive", "sendmail"},
    # what may be set in a room, as frozen values (`config` collects them)
    "options": {"companion", "config", "deliver", "receive"},
    # a standard's TXT record, as everybody calls it: "the SPF record", "the DMARC record"
    "record": {"mailauth/dmarc", "mailauth/spf", "mtasts", "tlsrpt"},
    # RFC 8601 section 2.7 defines results for each mechanism, and each mechanism has its own grounds for them
    "reasons": {"mailauth/dkim", "mailauth/dmarc", "mailauth/spf", "policy"},
    "evaluate": {
        "mailauth/dmarc",
        "mailauth/spf",
    },  # "DMARC evaluation", "check_host() evaluates" (RFC 7208 section 2.4)
    "verify": {"mailauth/arc", "mailauth/dkim"},  # signatures are verified, not evaluated (RFC 6376 section 6)
    # each verb that is a folder has its click command, its page for people and its JSON under the same three names
    "command": {
        "cli/check",
        "cli/check_mail",
        "cli/log",
        "cli/probe",
        "cli/queue",
        "cli/setup",
        "cli/stats",
        "sendmail",
    },
    "text": {"cli/check", "cli/check_mail", "cli/probe", "cli/queue", "cli/stats"},
    "values": {"cli/check", "cli/check_mail", "cli/probe", "cli/stats"},
    # `import letterlock.dkim` is public; the module of a verb has the verb's name
    "dkim": {"", "cli"},
}
"""The module names that exist more than once, with the rooms that have one, and the reason for each."""


def public_classes() -> dict[str, list[str]]:
    """Where each public class name is defined."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.relative_to(SOURCE).as_posix())
    return found


def test_each_public_class_name_exists_once() -> None:
    assert {name: where for name, where in public_classes().items() if len(where) > 1} == {}


def test_no_module_name_exists_twice_but_those_listed() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        if not path.stem.startswith("__"):
            rooms[path.stem].add(path.parent.relative_to(SOURCE).as_posix().removeprefix("."))
    assert {name: where for name, where in rooms.items() if len(where) > 1} == SHARED_MODULE_NAMES
