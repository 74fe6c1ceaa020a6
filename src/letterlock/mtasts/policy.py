"""The policy text and its MX patterns (RFC 8461 sections 3.2 and 4.1)."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from letterlock.mail.names import InvalidName, normalise

MAX_POLICY_OCTETS = 65_536  # RFC 8461 section 3.3 suggests 64 kilobytes
MAX_AGE_SECONDS = 31_557_600  # about a year (RFC 8461 section 3.2)
MAX_MX_PATTERNS = 500  # chosen: real policies have fewer than twenty; bounds matching
_SHOWN_CHARACTERS = 60  # chosen: enough to recognise the value

# sts-policy-ext-value: visible characters, with spaces only between them.
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}):[ \t]*([^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)")
MAX_ODDITIES = 10  # chosen: those that are reported; a longer list would help no reader
_BYTE_ORDER_MARK = "\ufeff"
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
    `oddities` are what was passed over in the text, for people; they are no part of the policy.
    """

    mode: Mode
    max_age_seconds: int
    mx: tuple[str, ...]
    oddities: tuple[str, ...] = field(default=(), compare=False)

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

    A domain that publishes a policy wants to be protected, so mistakes that leave no doubt about it are skipped and
    reported: a byte order mark, blank lines, comments and other lines that are no fields, and MX patterns that name no
    host next to ones that do. Where a field that must be there is missing or wrong, there is no policy.
    Unknown fields are ignored, and of a field given twice (except mx) the first counts. A `max_age` above
    MAX_AGE_SECONDS counts as that. Field names and values are case-sensitive, MX patterns are not.
    """
    if len(body) > MAX_POLICY_OCTETS:
        return InvalidPolicy(f"longer than {MAX_POLICY_OCTETS} octets")
    try:
        return _policy(_read(body))
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


@dataclass(slots=True)
class _Text:
    """A policy text: the first value of every field, all values of mx, and what was passed over."""

    first: dict[str, str]
    mx: list[str]
    odd: list[str]


def _read(body: bytes) -> _Text:
    """Raises _Wrong."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _Wrong("not UTF-8") from None
    found = _Text({}, [], [])
    if text.startswith(_BYTE_ORDER_MARK):
        found.odd.append("it begins with a byte order mark")
    lines = text.removeprefix(_BYTE_ORDER_MARK).split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, 1):
        match = _FIELD.fullmatch(line.removesuffix("\r").rstrip(" \t"))
        if match is None:
            found.odd.append(f"line {number} is not `field: value`: {line[:_SHOWN_CHARACTERS]!r}")
            continue
        name, value = match.groups()
        if name == "mx":
            found.mx.append(value)
        found.first.setdefault(name, value)
    return found


def _policy(text: _Text) -> StsPolicy:
    """Raises _Wrong."""
    if _required(text, "version") != "STSv1":
        raise _Wrong(f"version is not STSv1: {text.first['version'][:_SHOWN_CHARACTERS]!r}")
    mode = _mode(_required(text, "mode"))
    age = _required(text, "max_age")
    if _MAX_AGE.fullmatch(age) is None:
        raise _Wrong(f"max_age is not 1 to 10 digits: {age[:_SHOWN_CHARACTERS]!r}")
    if len(text.mx) > MAX_MX_PATTERNS:
        raise _Wrong(f"more than {MAX_MX_PATTERNS} mx patterns")
    mx = _patterns(text)
    if not mx and mode is not Mode.NONE:
        raise _Wrong(text.odd[-1] if text.mx else f"mode is {mode.value}, but there is no mx")
    oddities = tuple(text.odd[:MAX_ODDITIES])
    return StsPolicy(mode=mode, max_age_seconds=min(int(age), MAX_AGE_SECONDS), mx=mx, oddities=oddities)


def _patterns(text: _Text) -> tuple[str, ...]:
    """The patterns in lower-case A-labels; those that name no host are left out and noted."""
    found = []
    for value in text.mx:
        domain = value.removeprefix("*.")
        shown = repr(value[:_SHOWN_CHARACTERS])
        try:
            name = normalise(domain)
        except InvalidName:
            text.odd.append(f"mx is not a host name or `*.` and a domain, in A-labels: {shown}")
            continue
        if not domain.isascii() or domain.endswith("."):
            text.odd.append(f"mx is not in A-labels without a dot at the end: {shown}")
        found.append(f"*.{name}" if domain != value else name)
    return tuple(found)


def _required(text: _Text, name: str) -> str:
    """Raises _Wrong."""
    if name not in text.first:
        raise _Wrong("; ".join((f"there is no {name}", *text.odd[:1])))
    return text.first[name]


def _mode(text: str) -> Mode:
    """Raises _Wrong."""
    try:
        return Mode(text)
    except ValueError:
        raise _Wrong(f"mode is not enforce, testing or none: {text[:_SHOWN_CHARACTERS]!r}") from None
