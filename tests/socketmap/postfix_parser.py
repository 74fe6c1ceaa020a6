"""What Postfix 3.10 and later accepts as a TLS policy, by its documentation (postconf(5), TLSRPT_README)."""

import re

LEVELS = {"none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"}
ONCE = {"servername", "protocols", "ciphers", "exclude", "policy_type", "policy_domain", "policy_failure"}
OFTEN = {"match", "tafile", "mx_host_pattern", "policy_string"}
AFTER_TYPE = {"policy_domain", "policy_string", "mx_host_pattern", "policy_failure"}
_ITEM = re.compile(r"\{\s*(\w+)\s*=\s*([^{}]*?)\s*\}|(\w+)=([^\s,{}]+)")


class Refused(ValueError):
    """Postfix would defer with 4.7.5 "client TLS configuration problem"."""


def parse(text: str, *, old: bool = False) -> tuple[str, list[tuple[str, str]]]:
    """The level and its attributes. `old`: as Postfix 3.9 and older, which knows no reporting and no braces."""
    level, _, rest = text.partition(" ")
    if level not in LEVELS:
        raise Refused(f"level {level}")
    found, at = list[tuple[str, str]](), 0
    while rest := rest[at:].lstrip(" ,"):
        item = _ITEM.match(rest)
        if item is None:
            raise Refused(rest)
        found.append((item[1] or item[3], item[2] if item[1] else item[4]))
        at = item.end()
    _check(level, found, old=old)
    if old and "{" in text:
        raise Refused("braces")
    return level, found


def _check(level: str, found: list[tuple[str, str]], *, old: bool) -> None:
    names = [name for name, _ in found]
    for number, name in enumerate(names):
        if name not in ONCE | OFTEN or (old and name in AFTER_TYPE | {"policy_type"}):
            raise Refused(f"invalid attribute name: {name}")
        if name in ONCE and names.count(name) > 1:
            raise Refused(f"{name} twice")
        if name in AFTER_TYPE and "policy_type" not in names[:number]:
            raise Refused(f"{name} before policy_type")
    if "match" in names and level not in {"secure", "verify", "fingerprint"}:
        raise Refused("match at this level")
    if "tafile" in names and level not in {"secure", "verify"}:
        raise Refused("tafile at this level")
