"""Canonical forms of header fields and bodies (RFC 6376 section 3.4), in bounded memory and fast where nothing changes.

The relaxed form of a body is made with searches and replacements of fixed bytes, block by block: on a body that is
canonical already they find nothing and copy nothing. One regular expression for the same takes twenty times as long.
"""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from hashlib import sha256

from letterlock.mailauth.message import Field

# Large enough that the work per block disappears, small enough to stay in the cache of a core.
BLOCK_OCTETS = 128 * 1024

_REVERSED_LINE_ENDS = re.compile(rb"(?:\n\r)*+")  # possessive: backtracking takes 70 bytes for each
_FLUSHED_LINE_ENDS = b"\r\n" * 4096  # empty lines are counted, and written by so many at a time


class Form(StrEnum):
    """The two canonical forms."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def canonical_field(field: Field, form: Form) -> bytes:
    """A header field in its canonical form, without the final CRLF (sections 3.4.1 and 3.4.2)."""
    if form is Form.SIMPLE:
        return field.raw
    name, _, value = field.raw.partition(b":")
    return name.rstrip(b" \t").lower() + b":" + relaxed_value(value)


def relaxed_value(value: bytes) -> bytes:
    """What follows the colon of a header field, in the relaxed form."""
    text = value.replace(b"\r\n", b"").replace(b"\t", b" ")
    if b"  " in text:
        text = b" ".join(filter(None, text.split(b" ")))
    return text.strip(b" ")


class BodyCanonicalizer:
    """The canonical form of a body that comes in chunks of any size (sections 3.4.3 and 3.4.4).

    White space that may turn out to be at the end of a line, and line ends that may turn out to be at the end of the
    body, are held back: the former is at most two bytes, the latter a number.
    """

    def __init__(self, form: Form) -> None:
        self._relaxed = form is Form.RELAXED
        self._held = b""  # the end of the last chunk: "", " ", "\r" or " \r"
        self._line_ends = 0
        self._written = False

    def update(self, chunk: bytes) -> Iterator[bytes]:
        """The next pieces of the canonical form. The iterator must be used up before the next call."""
        data = self._held + chunk if self._held else chunk
        if self._relaxed:
            data = _relaxed_block(data)
        data = self._hold_back(data)
        count = _final_line_ends(data)
        if 2 * count < len(data):
            yield from self._flushed()
            yield data[: len(data) - 2 * count] if count else data
            self._written = True
        self._line_ends += count

    def finish(self) -> Iterator[bytes]:
        """The last pieces. A body without a CRLF at its end gets one; a relaxed body without content is empty."""
        if self._held.endswith(b"\r"):  # a bare CR is no line end
            yield from self._flushed()
            yield self._held
            self._written = True
        if self._written or not self._relaxed:
            yield b"\r\n"

    def _hold_back(self, data: bytes) -> bytes:
        count = 1 if data.endswith(b"\r") else 0
        if self._relaxed and data[: len(data) - count].endswith(b" "):
            count += 1
        self._held = data[len(data) - count :] if count else b""
        return data[: len(data) - count] if count else data

    def _flushed(self) -> Iterator[bytes]:
        """The line ends that were held back, in pieces, for an attacker may send ten million of them."""
        octets, self._line_ends = 2 * self._line_ends, 0
        while octets:
            piece = _FLUSHED_LINE_ENDS[:octets]
            octets -= len(piece)
            yield piece


def _relaxed_block(data: bytes) -> bytes:
    data = data.replace(b"\t", b" ")
    if b" " not in data:  # encoded text and attachments: found out in no time
        return data
    while b"  " in data:  # halves each run: at most 17 times for a block of blanks
        data = data.replace(b"  ", b" ")
    return data.replace(b" \r\n", b"\r\n")


def _final_line_ends(data: bytes) -> int:
    """How many CRLF the data ends with."""
    if not data.endswith(b"\r\n"):
        return 0
    if not data.endswith(b"\r\n\r\n"):
        return 1
    tail = data[len(data.rstrip(b"\r\n")) :]
    found = _REVERSED_LINE_ENDS.match(tail[::-1])
    return found.end() // 2 if found else 0


class BodyHash:
    """SHA-256 over the first octets of a body's canonical form, fed in chunks.

    `lengths` are the l= of the signatures that share this form; None is the whole body. All are hashed in one pass.
    """

    def __init__(self, form: Form, lengths: frozenset[int | None] = frozenset({None})) -> None:
        self._canonicalizer = BodyCanonicalizer(form)
        self._hashes = {length: sha256() for length in lengths}
        self.octets = 0  # of the canonical form so far

    def update(self, chunk: bytes) -> None:
        """Take the next chunk, of any size: large ones are worked on in blocks."""
        if len(chunk) <= BLOCK_OCTETS:
            self._take(self._canonicalizer.update(chunk))
        else:
            self.update_view(memoryview(chunk))

    def update_view(self, body: memoryview) -> None:
        """Take a body without a copy of more than a block."""
        for start in range(0, len(body), BLOCK_OCTETS):
            self._take(self._canonicalizer.update(bytes(body[start : start + BLOCK_OCTETS])))

    def finish(self) -> dict[int | None, bytes]:
        """The digest for each length. One that is longer than the body is a digest of the whole body."""
        self._take(self._canonicalizer.finish())
        return {length: each.digest() for length, each in self._hashes.items()}

    def _take(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            for length, each in self._hashes.items():
                if length is None or length >= self.octets + len(piece):
                    each.update(piece)
                elif length > self.octets:
                    each.update(piece[: length - self.octets])
            self.octets += len(piece)


def relaxed_digest(body: memoryview) -> bytes | None:
    """SHA-256 of a body's relaxed form, where it takes no more than a look: None where `body_digest` is needed."""
    if len(body) > BLOCK_OCTETS:
        return None
    data = _relaxed_block(bytes(body))
    if not data.endswith(b"\r\n") or data.endswith(b"\r\n\r\n") or len(data) == len(b"\r\n"):
        return None
    return sha256(data).digest()


def body_digest(body: Iterable[memoryview], form: Form) -> bytes:
    """SHA-256 of a whole body, which comes in views, in its canonical form."""
    hashed = BodyHash(form)
    for view in body:
        hashed.update_view(view)
    return hashed.finish()[None]
