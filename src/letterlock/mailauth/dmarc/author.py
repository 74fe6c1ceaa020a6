"""The domains of a message's authors (RFC 9989 section 5.3.1), read strictly: what is ambiguous is no domain.

Forgers write From so that a checker and a mail reader see different addresses. Every address counts here,
nothing is repaired, and a text that is not written by RFC 5322 has no author at all.
"""

import re

from letterlock.mail.names import InvalidName, normalise
from letterlock.mailauth.message import Message

MAX_FROM_OCTETS = 8_192  # a From with a hundred authors has about 5 KB
MAX_COMMENT_DEPTH = 16  # comments nest; nobody nests them deeper than two

_TOKEN = re.compile(
    r"""(?P<white>\s+)|(?P<quoted>"(?:[^"\\]|\\.)*+")|(?P<literal>\[[^\[\]\\]*+\])|(?P<word>[^\s()<>\[\]:;@\\,"]+)"""
    r"|(?P<special>[<>:;@,])",
    re.DOTALL,
)
_COMMENT_EVENT = re.compile(r"[()]|\\.", re.DOTALL)


class NoAuthor(ValueError):
    """From cannot be read. `str()` says why."""


def author_domains(message: Message) -> tuple[str, ...]:
    """The different domains in From, in A-labels. Raises NoAuthor."""
    fields = message.named(b"from")
    if len(fields) != 1:
        raise NoAuthor(f"the message has {len(fields)} From fields" if fields else "the message has no From field")
    value = fields[0].value
    if len(value) > MAX_FROM_OCTETS:
        raise NoAuthor(f"From has more than {MAX_FROM_OCTETS} bytes")
    try:
        text = _without_comments(value.replace(b"\r\n", b"").decode())
        return tuple(dict.fromkeys(normalise(domain) for domain in _Addresses(text).domains()))
    except UnicodeDecodeError:
        raise NoAuthor("From is not UTF-8") from None
    except InvalidName as error:
        raise NoAuthor(str(error)) from None


def _without_comments(text: str) -> str:
    """The text with each comment as a blank."""
    kept: list[str] = []
    at = 0
    while (start := _next_comment(text, at)) >= 0:
        kept += [text[at:start], " "]
        at = _end_of_comment(text, start)
    return "".join((*kept, text[at:]))


def _next_comment(text: str, at: int) -> int:
    """Where the next comment begins that is not inside a quoted string; -1: nowhere."""
    quoted = False
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == '"':
            quoted = not quoted
        elif text[at] == "(" and not quoted:
            return at
        at += 1
    return -1


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    for event in _COMMENT_EVENT.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(event[0], 0)
        if depth == 0:
            return event.end()
        if depth > MAX_COMMENT_DEPTH:
            break
    raise NoAuthor("a comment in From does not end")


class _Addresses:
    """Reads a mailbox-list (RFC 5322 section 3.4), groups included."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise NoAuthor(f"From has a character that does not belong there: {text[at]!r}")
            at = found.end()
            if found.lastgroup != "white":
                self._tokens.append((str(found.lastgroup), found[0]))

    def domains(self) -> list[str]:
        """The domain of every address. Raises NoAuthor."""
        found: list[str] = []
        part: list[tuple[str, str]] = []
        inside = False  # of angle brackets, where commas and colons belong to the address
        for kind, text in (*self._tokens, ("special", ",")):
            if kind == "special" and text in "<>":
                inside = text == "<"
            if kind == "special" and text in ",;" and not inside:
                found += _domain_of(part)
                part = []
            elif (kind, text) == ("special", ":") and not inside:
                part = []  # the name of a group
            else:
                part.append((kind, text))
        if part:
            raise NoAuthor("From has an angle bracket that is not closed")
        return found


def _domain_of(part: list[tuple[str, str]]) -> list[str]:
    """The domain of one mailbox; none for an empty one, as between two commas. Raises NoAuthor."""
    if not part:
        return []
    opening, closing = ("special", "<"), ("special", ">")
    if opening in part or closing in part:
        if part.count(opening) != 1 or part.count(closing) != 1 or part[-1] != closing:
            raise NoAuthor("From has an address whose angle brackets do not match")
        start = part.index(opening)
        if ("special", "@") in part[:start]:  # `a@good.test <b@evil.test>`: people see the one, programs the other
            raise NoAuthor("From has an address in front of another one")
        part = part[start + 1 : -1]
    kinds = [kind for kind, _ in part]
    if len(part) < _ADDRESS_TOKENS or part[-2] != ("special", "@") or part.count(("special", "@")) != 1:
        raise NoAuthor("From has a text that is not an address")
    if kinds[-1] == "literal":
        raise NoAuthor("From has an address literal instead of a domain")
    if kinds[-1] != "word" or not set(kinds[:-2]) <= {"word", "quoted"} or len(kinds) != _ADDRESS_TOKENS:
        raise NoAuthor("From has a text that is not an address")
    return [part[-1][1]]


_ADDRESS_TOKENS = 3  # local part, @, domain
