"""Message content that was looked through once, so that nobody has to do it again: its type says what is known.

Content up to PIECE_OCTETS is one `bytes`. A larger one is a `LargeContent`: pieces that arrived one after the other and
are never joined, and perhaps a tail that lies on the disk already. `Body` is either.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

# Content that is longer travels in pieces of about this size: what a processor's cache holds, and a read brings.
PIECE_OCTETS = 1 << 18
# Content that is longer goes to the disk while it arrives. Up to here one write, shared with other messages, is cheaper
# than a file of its own, which has to be flushed by itself; and it bounds what a message takes in memory.
SPOOLED_OCTETS = 1 << 21


class CheckedContent(bytes):
    """Content with CRLF line ends only, which ends with one unless it is empty (RFC 5321 section 2.3.8)."""

    __slots__ = ()

    def below(self, fields: bytes) -> "CheckedContent":
        """This content with header fields put before it, which are as well formed."""
        return type(self)(fields + self)


class DotlessContent(CheckedContent):
    """The same, and no line of it begins with a dot: it travels as it is (RFC 5321 section 4.5.2)."""

    __slots__ = ()


class ContentLost(Exception):
    """The rest of a content cannot be read from the disk: it is damaged or gone. `str()` says how, for the log."""


class Tail(Protocol):
    """The end of a large content, on the disk."""

    @property
    def name(self) -> str:
        """What the store calls it."""

    @property
    def octets(self) -> int:
        """How long it is."""

    @property
    def sealed_as(self) -> str:
        """What the store called it when it was written."""

    def blocks(self) -> Iterator[bytes]:
        """Whole lines at a time, from the beginning, each checked before it is given. Reads the disk: not for a loop.

        Raises ContentLost, before the last block if any of it is damaged or missing.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LargeContent:
    """Checked content of more than PIECE_OCTETS. Each piece, and each block of the tail, has whole lines only.

    The first piece is the header section with the empty line that ends it. Of a message without one it is the beginning
    of the text: at least what came before the first line that is no header field.
    """

    pieces: tuple[bytes, ...]
    octets: int
    ascii_only: bool
    dotless: bool
    tail: Tail | None = None

    def __len__(self) -> int:
        return self.octets

    @property
    def head(self) -> bytes:
        """The header section."""
        return self.pieces[0]

    @property
    def held_octets(self) -> int:
        """What is in memory."""
        return sum(map(len, self.pieces))

    def isascii(self) -> bool:
        """Whether it is 7-bit content, as `bytes` say it."""
        return self.ascii_only

    def with_head(self, head: bytes) -> "LargeContent":
        """The same content with another header section."""
        _, *rest = self.pieces
        octets = self.octets - len(self.head) + len(head)
        return replace(self, pieces=(head, *rest), octets=octets, ascii_only=self.ascii_only and head.isascii())

    def rest(self) -> Iterator[bytes]:
        """What is behind the header section, as `blocks` gives it."""
        yield from self.pieces[1:]
        if self.tail is not None:
            yield from self.tail.blocks()

    def blocks(self) -> Iterator[bytes]:
        """All of it. Reads the disk where there is a tail; raises ContentLost then."""
        yield self.head
        yield from self.rest()


Body = bytes | LargeContent


def head_of(body: Body) -> bytes:
    """The header section of a content, and whatever else of it is in one piece with that."""
    return body.head if isinstance(body, LargeContent) else body


def in_one_piece(body: Body) -> bytes:
    """All of a content in memory. Raises ContentLost."""
    return body if isinstance(body, bytes) else b"".join(body.blocks())


def has_utf8_header(content: Body) -> bool:
    """Whether the header section has octets beyond ASCII (RFC 6532)."""
    if isinstance(content, LargeContent):
        return not content.head.isascii()
    end = content.find(b"\r\n\r\n")
    return not (content.isascii() or (content if end < 0 else content[:end]).isascii())
