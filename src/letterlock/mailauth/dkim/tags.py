"""Tag lists such as `v=1; d=example.org`, read strictly and with bounds (RFC 6376 section 3.2, RFC 8616)."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from letterlock.mailauth.dkim.reasons import DkimReason, UnusableSignature

# A signature with a copy of all fields (z=) has some kilobytes; a key of 8192 bits has 1.5 KB.
MAX_LIST_OCTETS = 64 * 1024
MAX_TAGS = 64  # the standards define 15; dkimpy and OpenDKIM write at most 12
_SHOWN = 40  # of hostile text in a message for people

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_VALUE = re.compile(rb"[\x21-\x3a\x3c-\x7e\x80-\xff \t]*")
_DIGITS = re.compile(rb"[0-9]{1,76}")  # section 3.5 bounds l= so; t= and x= have at most 12 digits in practice


class Tag(NamedTuple):
    """A value without the white space around it, folds removed; and its position in the text, from `=` to `;`."""

    value: bytes
    start: int
    end: int


def shown(value: bytes) -> str:
    """A hostile value for people: short, and one line."""
    return repr(value[:_SHOWN].decode("utf-8", "replace"))


def parse_tags(text: bytes, bad: DkimReason = DkimReason.SYNTAX) -> dict[bytes, Tag]:
    """The tags by name, in their order. Raises UnusableSignature: `bad` when the text is not by the grammar.

    CRLF is removed everywhere: a header field has it before white space only.
    """
    if text.count(b";") > MAX_TAGS:
        raise UnusableSignature(DkimReason.TOO_MANY_TAGS, f"{text.count(b';')} tags")
    if len(text) > MAX_LIST_OCTETS:
        raise UnusableSignature(DkimReason.TOO_LARGE, f"{len(text)} bytes")
    found: dict[bytes, Tag] = {}
    for part, end in _parts(text):
        name, equals, value = part.partition(b"=")
        name = _bare(name)
        if not equals or not _NAME.fullmatch(name):
            raise UnusableSignature(bad, f"{shown(part)} is no tag")
        if name in found:
            raise UnusableSignature(bad, f"the tag {name.decode()}= stands twice")
        found[name] = Tag(_checked(_bare(value), name, bad), end - len(value), end)
    return found


def _parts(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Each part between semicolons and where it ends; the last one may be blank."""
    parts = text.split(b";")
    if len(parts) > 1 and not _bare(parts[-1]):
        parts.pop()
    end = -1
    for part in parts:
        end += 1 + len(part)
        yield part, end


def _bare(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"").strip(b" \t")


def _checked(value: bytes, name: bytes, bad: DkimReason) -> bytes:
    if not _VALUE.fullmatch(value):
        raise UnusableSignature(bad, f"the value of {name.decode()}= has characters that are not allowed")
    return value


def number(value: bytes, name: str) -> int:
    """A decimal number. Raises UnusableSignature."""
    if not _DIGITS.fullmatch(value):
        raise UnusableSignature(DkimReason.SYNTAX, f"{name}={shown(value)} is no number")
    return int(value)


def compact(value: bytes) -> bytes:
    """The value without any white space."""
    return value.replace(b" ", b"").replace(b"\t", b"")


def colon_list(value: bytes) -> list[bytes]:
    """The items between colons, without the white space around them."""
    return [item.strip(b" \t") for item in value.split(b":")]


def octets(value: bytes, name: str, bad: DkimReason = DkimReason.SYNTAX) -> bytes:
    """Base64 with white space anywhere; the grammar leaves the padding optional. Raises UnusableSignature."""
    text = compact(value)
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise UnusableSignature(bad, f"{name}= is no base64") from None
