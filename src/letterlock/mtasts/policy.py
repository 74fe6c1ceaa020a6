"""The policy text and its MX patterns (RFC 8461 sections 3.2 and 4.1)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from letterlock.mail.names import InvalidName, normalise

MAX_POLICY_OCTETS = 65_536
MAX_AGE_SECONDS = 31_557_600
MAX_MX_PATTERNS = 500
_SHOWN_CHARACTERS = 60

# sts-policy-ext-value: visible characters, with spaces only between them.
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*([^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)")
_MAX_AGE = re.compile(r"[0-9]{1,10}")


class Mode(StrEnum):
    """What a sender does when validation fails (section 5)."""

    ENFORCE = "enforce"  # does not deliver to that host
    TESTING = "testing"  # delivers, and reports
    NONE = "none"  # the domain has withdrawn its policy (section 8.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class StsPolicy:
    """A policy. `max_age_seconds` is at most MAX_AGE_SECONDS.

    `mx` are at most MAX_MX_PATTERNS patterns in lower-case A-labels, in the order given; empty only with mode none.
    """

    mode: Mode
    max_age_seconds: int
    mx: tuple[str, ...]

    def names(self, host: str) -> bool:
        """Whether one of the patterns matches the MX host (section 4.1)."""
        return any(matches(pattern, host) for pattern in self.mx)


@dataclass(frozen=True, slots=True)
class InvalidPolicy:
    """The text is no policy: counts as none (section 3.3). `detail` says why, for people."""

    detail: str


class _Wrong(Exception):
    """The text is against the grammar; `str()` says where."""


def parse_policy(body: bytes) -> StsPolicy | InvalidPolicy:
    """Parse a policy text of at most MAX_POLICY_OCTETS, lines ending in LF or CRLF (section 3.2).

    Unknown fields are ignored, and of a field given twice (except mx) the first counts. A `max_age` above
    MAX_AGE_SECONDS counts as that. Field names and values are case-sensitive, MX patterns are not.
    """
    if len(body) > MAX_POLICY_OCTETS:
        return InvalidPolicy(f"longer than {MAX_POLICY_OCTETS} octets")
    try:
        return _policy(*_fields(body))
    except _Wrong as wrong:
        return InvalidPolicy(str(wrong))


def matches(pattern: str, host: str) -> bool:
    """Whether an MX pattern matches a host name, both in A-labels, case ignored (section 4.1).

    `*.` stands for exactly one left-most label; a `*` anywhere else matches nothing.
    """
    pattern, host = pattern.lower(), host.lower().removesuffix(".")
    if not pattern or "*" in host:
        return False
    if pattern.startswith("*."):
        label, _, parent = host.partition(".")
        return bool(label) and bool(parent) and parent == pattern[2:]
    return pattern == host


def _fields(body: bytes) -> tuple[dict[str, str], list[str]]:
    """The first value of every field, and all values of mx. Raises _Wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _Wrong("not UTF-8") from None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    first: dict[str, str] = {}
    mx: list[str] = []
    for number, line in enumerate(lines, 1):
        match = _FIELD.fullmatch(line.removesuffix("\r").rstrip(" \t"))
        if match is None:
            raise _Wrong(f"line {number} is not `field: value`: {line[:_SHOWN_CHARACTERS]!r}")
        name, value = match.groups()
        if name == "mx":
            mx.append(value)
        first.setdefault(name, value)
    return first, mx


def _policy(first: dict[str, str], mx: list[str]) -> StsPolicy:
    """Raises _Wrong."""
    if _required(first, "version") != "STSv1":
        raise _Wrong(f"version is not STSv1: {first['version'][:_SHOWN_CHARACTERS]!r}")
    mode = _mode(_required(first, "mode"))
    age = _required(first, "max_age")
    if _MAX_AGE.fullmatch(age) is None:
        raise _Wrong(f"max_age is not 1 to 10 digits: {age[:_SHOWN_CHARACTERS]!r}")
    if len(mx) > MAX_MX_PATTERNS:
        raise _Wrong(f"more than {MAX_MX_PATTERNS} mx patterns")
    if not mx and mode is not Mode.NONE:
        raise _Wrong(f"mode is {mode.value}, but there is no mx")
    return StsPolicy(mode=mode, max_age_seconds=min(int(age), MAX_AGE_SECONDS), mx=tuple(map(_pattern, mx)))


def _required(first: dict[str, str], name: str) -> str:
    """Raises _Wrong."""
    if name not in first:
        raise _Wrong(f"there is no {name}")
    return first[name]


def _mode(text: str) -> Mode:
    """Raises _Wrong."""
    try:
        return Mode(text)
    except ValueError:
        raise _Wrong(f"mode is not enforce, testing or none: {text[:_SHOWN_CHARACTERS]!r}") from None


def _pattern(text: str) -> str:
    """An MX pattern in lower case. Raises _Wrong."""
    domain = text.removeprefix("*.")
    wrong = _Wrong(f"mx is not a host name or `*.` and a domain, in A-labels: {text[:_SHOWN_CHARACTERS]!r}")
    if not domain.isascii() or domain.endswith("."):
        raise wrong
    try:
        normal = normalise(domain)
    except InvalidName:
        raise wrong from None
    return f"*.{normal}" if domain != text else normal
