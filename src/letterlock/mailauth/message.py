"""A message split byte for byte into its header fields and its body (RFC 5322 section 2.1).

Signatures are over bytes, so nothing is decoded, unfolded or repaired here. Lines end with CRLF; a bare CR or LF is a
byte like any other. `with_crlf` makes a message of a file that a Unix program wrote.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from letterlock.frozen import frozen_dataclass

# Large mail systems accept headers of 100 to 256 KiB. The limits bound the memory that a message of 25 MB without any
# empty line can cost: 65,536 fields of 16 bytes would become 10 MB of objects.
MAX_HEADER_OCTETS = 1 << 20
MAX_FIELDS = 10_000  # chosen: real messages have at most some hundred; each takes memory

_REMEMBERED_OCTETS = 64  # of a name: more than the longest registered one has

_BETWEEN_FIELDS = re.compile(rb"\r\n(?![ \t])")  # a line that begins with white space continues its field (2.2.3)
_BARE_LF = re.compile(rb"(?<!\r)\n")


class OversizedHeader(ValueError):
    """The header section is larger than anything that mail programs write. `str()` names the limit."""


@frozen_dataclass(frozen=True, slots=True)
class Field:
    """A header field. `name` is lower-case without white space, and empty for a line that is no field.

    `raw` is the whole field as it stands, folds included, without its final CRLF.
    """

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, as it stands: white space and folds included."""
        return self.raw.partition(b":")[2]


@dataclass(frozen=True)
class Message:
    """The fields from the top, and the body: everything after the first empty line, as a view without a copy.

    `rest` reads what follows `body`, of a message that is not in memory whole: in blocks, each time from its beginning.
    """

    fields: tuple[Field, ...]
    body: memoryview
    rest: Callable[[], Iterable[bytes]] | None = None

    def body_views(self) -> Iterator[memoryview]:
        """The whole body, in views."""
        yield self.body
        if self.rest is not None:
            for block in self.rest():
                yield memoryview(block)

    @cached_property
    def by_name(self) -> dict[bytes, tuple[Field, ...]]:
        """The fields by lower-case name, each group from the top."""
        groups: dict[bytes, list[Field]] = {}
        for field in self.fields:
            groups.setdefault(field.name, []).append(field)
        return {name: tuple(group) for name, group in groups.items()}

    def named(self, name: bytes) -> tuple[Field, ...]:
        """The fields of one lower-case name, from the top."""
        return self.by_name.get(name, ())


def split(content: bytes, above: bytes = b"") -> Message:
    """Split a message. Raises OversizedHeader.

    Without an empty line everything is header. A line without a colon, or with white space inside the name, is kept
    as a field without a name, so that it can be reported and no signature can cover it. `above` are whole fields, each
    with its CRLF, that stand on top of the message.
    """
    end, body = _ends(content)
    if end > MAX_HEADER_OCTETS:
        raise OversizedHeader(f"the header section is larger than {MAX_HEADER_OCTETS} bytes")
    header = content[:end]
    if above:
        header = above + header if header else above[:-2]
    texts = _BETWEEN_FIELDS.split(header, MAX_FIELDS) if header else []
    if len(texts) > MAX_FIELDS:
        raise OversizedHeader(f"the header section has more than {MAX_FIELDS} fields")
    return Message(tuple([Field(_name(text), text) for text in texts]), memoryview(content)[body:])


def _ends(content: bytes) -> tuple[int, int]:
    """Where the header ends (before its last CRLF), and where the body begins."""
    if content.startswith(b"\r\n"):
        return 0, 2
    end = content.find(b"\r\n\r\n")
    if end >= 0:
        return end, end + 4
    return len(content) - (2 if content.endswith(b"\r\n") else 0), len(content)


def _name(text: bytes) -> bytes:
    name, colon, _ = text.partition(b":")
    if not colon:
        return b""
    return _remembered_name(name) if len(name) <= _REMEMBERED_OCTETS else _plain_name(name)


def _plain_name(name: bytes) -> bytes:
    name = name.rstrip(b" \t")  # white space before the colon is obsolete syntax (RFC 5322 section 4.5)
    printable = name.isascii() and name.decode("ascii").isprintable() and b" " not in name
    return name.lower() if printable else b""


_remembered_name = lru_cache(maxsize=512)(_plain_name)  # all fields of all messages have some dozens of names


def with_crlf(content: bytes) -> bytes:
    """The same with CRLF for each bare LF: a message as it would travel. Never for what came by SMTP."""
    return _BARE_LF.sub(b"\r\n", content)
