"""Entries of Postfix's access(5) tables as rules on recipients. Pure.

Postfix looks the most specific key of a table up; rules are read from top to bottom, so that addresses come first, and
longer names before shorter ones. Only entries that refuse become rules: one that permits says nothing here that the
listeners do not say, and one that excepts (DUNNO, OK) has no counterpart.
"""

import ipaddress
import re
from collections.abc import Iterator

CHECKS = {"check_sender_access": "from", "check_recipient_access": "to", "check_client_access": "client"}
MAX_TEXT = 400  # of a rule's reply
_REFUSES = re.compile(r"(?:(REJECT)|(DEFER\w*)|([45])\d\d(?:\s+[45]\.\d+\.\d+)?)(?:\s+(.*))?", re.IGNORECASE)


def access_rules(condition: str, text: str) -> Iterator[tuple[str, dict[str, object] | None]]:
    """Each entry's key with its rule; None: there is no counterpart."""
    entries = (line.split(None, 1) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for words in sorted(entries, key=lambda words: ("@" not in words[0], -len(words[0]))):
        key, action = words[0], words[1].strip() if len(words) > 1 else ""
        values = _clients(key) if condition == "client" else _addresses(key)
        found = _REFUSES.fullmatch(action)
        if not values or found is None:
            yield key, None
            continue
        rule: dict[str, object] = {"match": {condition: values if len(values) > 1 else values[0]}}
        rule["action"] = "reject" if found[1] or found[3] == "5" else "defer"
        if (said := found[4]) and said.isascii() and said.isprintable() and len(said) <= MAX_TEXT:
            rule["text"] = said
        yield key, rule


def _addresses(key: str) -> list[str]:
    """A domain counts for those below it, too (parent_domain_matches_subdomains)."""
    if key == "<>" or ("@" in key and not key.startswith("@") and not key.endswith("@")):
        return [key]
    if "@" in key or "." not in key:
        return []
    return [f"*{key}"] if key.startswith(".") else [key, f"*.{key}"]


def _clients(key: str) -> list[str]:
    """An address or a network; `192.0.2` is a network of Postfix's. Names are not looked up here."""
    parts = key.rstrip(".").split(".")
    if key.replace(".", "").isdigit() and len(parts) < 4:
        key = ".".join(parts + ["0"] * (4 - len(parts))) + f"/{8 * len(parts)}"
    try:
        return [str(ipaddress.ip_network(key))]
    except ValueError:
        return []
