"""Write signature fields, folded at 78 columns so that no later hop has a reason to fold them again."""

import functools
from binascii import b2a_base64
from collections.abc import Iterable
from typing import NamedTuple

MAX_COLUMNS = 78  # RFC 5322 section 2.1.1
_SIGNATURE_OCTETS = 72  # of b= on a line
_FOLD = b"\r\n "


class SignatureDraft(NamedTuple):
    """A signature field with an empty b=: what stands before the signature and what after it, no final CRLF."""

    head: bytes
    tail: bytes

    @property
    def unsigned(self) -> bytes:
        """What the signature is over."""
        return self.head + self.tail

    def signed(self, signature: bytes, *, in_one_line: bool = False) -> bytes:
        """The whole field. Folds inside b= are not signed by this signature, but by a seal over the field."""
        text = b2a_base64(signature, newline=False)
        return self.head + (text if in_one_line else _folded(text)) + self.tail


def draft(name: bytes, before: Iterable[bytes], after: Iterable[bytes] = ()) -> SignatureDraft:
    """A field of tags, each as `name=value`, with an empty b= between `before` and `after`."""
    head = _filled(name + b":", [tag + b";" for tag in before])
    rest = b";".join(after)
    tail = b";" + _filled(b" " * MAX_COLUMNS, [tag + b";" for tag in rest.split(b";")])[MAX_COLUMNS:-1] if rest else b""
    return SignatureDraft(head + _FOLD + b"b=", tail)


def _filled(start: bytes, tags: list[bytes]) -> bytes:
    """The tags after `start`, as many on a line as fit."""
    lines = [start]
    for tag in tags:
        if len(lines[-1]) + 1 + len(tag) > MAX_COLUMNS:
            lines.append(b"")
        first, *more = _pieces(tag)
        lines[-1] += b" " + first
        lines.extend(b" " + piece for piece in more)
    return b"\r\n".join(lines)


@functools.lru_cache(maxsize=64)  # the messages of a relay have a few kinds of headers
def _pieces(tag: bytes) -> tuple[bytes, ...]:
    """A tag as it is when it fits into a line, else folded after colons, where h= may have white space."""
    if len(tag) < MAX_COLUMNS:
        return (tag,)
    lines = [b""]
    for item in tag.split(b":"):
        if lines[-1] and len(lines[-1]) + len(item) + 2 > MAX_COLUMNS:
            lines.append(b"")
        lines[-1] += item + b":"
    lines[-1] = lines[-1][:-1]
    return tuple(lines)


def _folded(text: bytes) -> bytes:
    return _FOLD.join([text[at : at + _SIGNATURE_OCTETS] for at in range(0, len(text), _SIGNATURE_OCTETS)])
