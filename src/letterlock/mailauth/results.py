"""Authentication-Results (RFC 8601): read a field, write one, and remove those that claim to be ours.

The DNSSEC state of the answers that a result rests on is written as the property `policy.dnssec` (section 2.3 lets a
receiver add properties of the type policy).
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from letterlock.mailauth.message import split

FIELD_NAME = b"authentication-results"
MAX_VALUE_CHARACTERS = 32_768  # a field with the results of ten signatures has 2 KB
MAX_RESULTS = 100  # as many as anybody could look at
MAX_NESTED_COMMENTS = 8  # in one field, with others inside: nobody writes one, and each takes a microsecond
MAX_COMMENT_DEPTH = 16  # comments nest; nobody nests them deeper than two

_COMMENT_EVENT = re.compile(r"[()]|\\.", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")  # RFC 2045 section 5.1
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*+)")
_VALUE = re.compile(
    r'(?:"(?:[^"\\]|\\.)*+"|[^\s;()"])+', re.DOTALL
)  # wider than the grammar: / and = are seen in header.b
_WHITE = re.compile(r"(?:\s++|\((?:[^()\\]|\\.)*+\))*+", re.DOTALL)  # and comments without others inside
_BEHIND_AT = re.compile(r"[^.@]+(?:\.[^.@]+)*")  # a domain; the grammar has two labels at least, but localhost is seen
_ATEXT = r"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~]+"
_ADDRESS = re.compile(rf"(?:{_ATEXT}(?:\.{_ATEXT})*)?@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")  # written without quotes
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_UNSAFE = re.compile(r"[^ -~]")
_UNSAFE_IN_COMMENT = re.compile(r"[^ -'*-\[\]-~]")


class InvalidResults(ValueError):
    """The value is not written by the grammar. `str()` says what is wrong."""


class UnsupportedVersion(InvalidResults):
    """The field is of another version than 1, and nobody knows what it means (section 2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method's result. `properties` are pairs of `type.name` and value; `comment` is only written, never read."""

    method: str
    result: str
    method_version: str | None = None
    reason: str | None = None
    properties: tuple[tuple[str, str], ...] = ()
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationResults:
    """The results of one server. No results at all is written `none`."""

    authserv_id: str
    results: tuple[MethodResult, ...] = ()


def parse(value: str) -> AuthenticationResults:
    """Read a field's value, folds included. Raises InvalidResults, and UnsupportedVersion."""
    return _Reader(value).field()


def authserv_id(value: str) -> str | None:
    """Whose results a field claims to have; None where that cannot be read."""
    try:
        return _Reader(value).authserv_id()
    except InvalidResults:  # callers take such a field for a forged one of ours, and remove it
        return None


class _Reader:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_VALUE_CHARACTERS:
            raise InvalidResults(f"the field is longer than {MAX_VALUE_CHARACTERS} characters")
        self._text = text
        self._at = 0
        self._nested_comments = 0

    def field(self) -> AuthenticationResults:
        """The whole value."""
        server = self.authserv_id()
        self._version()
        results: list[MethodResult] = []
        self._expect(";")
        if self._ends_with_none():
            return AuthenticationResults(authserv_id=server)
        while True:
            results.append(self._result())
            if len(results) > MAX_RESULTS:
                raise InvalidResults(f"the field has more than {MAX_RESULTS} results")
            if self._ended():
                break
            self._expect(";")
            if self._ended():  # a final semicolon is seen and harmless
                break
        return AuthenticationResults(authserv_id=server, results=tuple(results))

    def authserv_id(self) -> str:
        """The first value."""
        self._skip()
        return _unquoted(self._take(_QUOTED, None) or self._take(_TOKEN, "an authserv-id"))

    def _version(self) -> None:
        self._skip()
        version = _digits(self._take(_TOKEN, None))
        if version and version.lstrip("0") != "1":
            raise UnsupportedVersion(f"version {version[:20]!r} is unknown")

    def _ends_with_none(self) -> bool:
        before = self._at
        self._skip()
        if self._take(_KEYWORD, None).lower() == "none" and self._ended():
            return True
        self._at = before
        return False

    def _result(self) -> MethodResult:
        self._skip()
        method, version = self._take(_KEYWORD, "a method"), None
        self._skip()
        if self._peek() == "/":
            self._expect("/")
            self._skip()
            version = _digits(self._take(_TOKEN, "a method's version"))
        self._expect("=")
        self._skip()
        result = self._take(_KEYWORD, "a result")
        reason, properties = self._details()
        return MethodResult(
            method=method.lower(), result=result.lower(), method_version=version, reason=reason, properties=properties
        )

    def _details(self) -> tuple[str | None, tuple[tuple[str, str], ...]]:
        """The reason, then the properties."""
        reason: str | None = None
        properties: list[tuple[str, str]] = []
        while not self._ended() and self._peek() != ";":
            name = self._take(_KEYWORD, "a property").lower()
            self._skip()
            if self._peek() == ".":
                self._expect(".")
                self._skip()
                name = f"{name}.{self._take(_KEYWORD, 'the name of a property').lower()}"
            elif name != "reason" or reason is not None or properties:
                raise InvalidResults(f"{name[:40]!r} is not a property")
            self._expect("=")
            self._skip()
            value = _unquoted(_with_domain(self._take(_VALUE, "a value")))
            if name == "reason":
                reason = value
            else:
                properties.append((name, value))
        return reason, tuple(properties)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _ended(self) -> bool:
        self._skip()
        return self._at >= len(self._text)

    def _expect(self, character: str) -> None:
        self._skip()
        if self._peek() != character:
            raise InvalidResults(f"{character!r} is missing at character {self._at}")
        self._at += 1

    def _take(self, pattern: re.Pattern[str], what: str | None) -> str:
        """What the pattern matches here; without it "", or InvalidResults where `what` is named."""
        found = pattern.match(self._text, self._at)
        if found is None:
            if what:
                raise InvalidResults(f"{what} is missing at character {self._at}")
            return ""
        self._at = found.end()
        return found[0]

    def _skip(self) -> None:
        """Pass over white space and comments."""
        while True:
            self._take(_WHITE, None)
            if self._peek() != "(":
                return
            self._at = self._end_of_comment()

    def _end_of_comment(self) -> int:
        depth = 0
        self._nested_comments += 1
        if self._nested_comments > MAX_NESTED_COMMENTS:
            raise InvalidResults(f"the field has more than {MAX_NESTED_COMMENTS} comments in comments")
        for event in _COMMENT_EVENT.finditer(self._text, self._at):
            depth += {"(": 1, ")": -1}.get(event[0], 0)
            if depth == 0:
                return event.end()
            if depth > MAX_COMMENT_DEPTH:
                break
        raise InvalidResults("a comment does not end")


def _digits(version: str) -> str:
    """A version, or none. Raises InvalidResults."""
    if version and not (version.isascii() and version.isdigit()):
        raise InvalidResults(f"{version[:20]!r} is not a version")
    return version


def _with_domain(value: str) -> str:
    """The value, if a domain is behind an `@` outside of quotes. Raises InvalidResults."""
    _, at, behind = _QUOTED.sub("", value).partition("@")
    if at and not _BEHIND_AT.fullmatch(behind):
        raise InvalidResults(f"{value[:40]!r} has no domain behind its @")
    return value


def _unquoted(text: str) -> str:
    """The content of a text that is one quoted string; any other text as it is."""
    if _QUOTED.fullmatch(text):
        return _PAIR.sub(r"\1", text[1:-1])
    return text


def render(results: AuthenticationResults) -> bytes:
    """The whole field without its final CRLF, one result a line. What cannot stand there is written as `?`."""
    lines = [f"Authentication-Results: {_value(results.authserv_id)};"]
    if not results.results:
        lines[0] += " none"
    for number, each in enumerate(results.results, 1):
        words = _words(each)
        words[-1] += ";" if number < len(results.results) else ""
        lines += _filled(words)
    return "\r\n".join(lines).encode("ascii")


def _words(result: MethodResult) -> list[str]:
    words = [f"{result.method}={result.result}"]
    if result.comment:
        words.append(f"({_UNSAFE_IN_COMMENT.sub('?', result.comment[:_MAX_WRITTEN_CHARACTERS])})")
    if result.reason:
        words.append(f"reason={_quoted(result.reason)}")
    return [*words, *(f"{name}={_value(value)}" for name, value in result.properties)]


_MAX_COLUMNS = 78  # RFC 5322 section 2.1.1; a single longer word stays whole up to its limit of 998
_MAX_WRITTEN_CHARACTERS = 400  # of one value: a reverse-path has at most 320


def _filled(words: Iterable[str]) -> list[str]:
    lines = [" "]
    for word in words:
        if len(lines[-1]) > 1 and len(lines[-1]) + 1 + len(word) > _MAX_COLUMNS:
            lines.append("   ")
        lines[-1] += f" {word}"
    return lines


def _value(text: str) -> str:
    """A value as a token or an address where it is one, else as a quoted string."""
    return text if _TOKEN.fullmatch(text) or _ADDRESS.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    safe = _UNSAFE.sub("?", text[:_MAX_WRITTEN_CHARACTERS])
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without_forged(content: bytes, own: Collection[str]) -> tuple[bytes, int]:
    """A message without the fields that claim to be ours, and how many they were (section 5).

    `own` are our authserv-ids. A field whose authserv-id cannot be read goes, too: other programs may read it as ours.
    Raises OversizedHeader.
    """
    if FIELD_NAME not in content[: _header_end(content)].lower():
        return content, 0
    message = split(content)
    names = {_folded(each) for each in own}
    kept = [
        field.raw
        for field in message.fields
        if field.name != FIELD_NAME or not _claims(field.value.decode("latin-1"), names)
    ]
    removed = len(message.fields) - len(kept)
    if not removed:
        return content, 0
    rest = content[_header_end(content) :]
    return b"".join(field + b"\r\n" for field in kept) + rest, removed


def _header_end(content: bytes) -> int:
    """Where the empty line begins that ends the header."""
    if content.startswith(b"\r\n"):
        return 0
    end = content.find(b"\r\n\r\n")
    return end + 2 if end >= 0 else len(content)


def _claims(value: str, names: Collection[str]) -> bool:
    found = authserv_id(value)
    return found is None or _folded(found) in names


def _folded(name: str) -> str:
    return name.casefold().removesuffix(".")
