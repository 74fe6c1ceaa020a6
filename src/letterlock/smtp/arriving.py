"""Content that is too large to wait for its end: looked through once, piece by piece, as it arrives."""

import re

from letterlock.mail.checked_content import LargeContent
from letterlock.mail.replies import Reply
from letterlock.smtp import server_replies as say
from letterlock.smtp.content import count_hops, has_bare_line_ends, has_long_line
from letterlock.smtp.server_events import ServerLimits

# Of a header section, which stays in memory whole; mail systems write some 10 KB, and accept 100 to 256.
MAX_HEADER_OCTETS = 1 << 20
# A line that is neither a field's first line nor its continuation ends the header section (RFC 5322 section 2.2).
_NO_FIELD = re.compile(rb"^(?![!-9;-~]++[ \t]*+:)[^ \t]", re.MULTILINE)


class ArrivingContent:
    """The content of one message so far. `take` is given whole lines, without the dots that were put before them."""

    __slots__ = ("_limits", "_pieces", "_waiting", "ascii_only", "dotless", "head", "held_octets", "octets")

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._waiting: bytes = b""  # of a header section whose end has not come
        self._pieces: list[bytes] = []
        self.head: bytes | None = None
        self.octets = 0
        self.held_octets = 0
        self.ascii_only = True
        self.dotless = True

    def take(self, lines: bytes, *, dotless: bool, last: bool = False) -> Reply | None:
        """Add lines; the reply that refuses the message for them. `dotless`: none begins with a dot."""
        self.octets += len(lines)
        if self.octets > self._limits.max_message_octets:
            return say.TOO_LARGE
        if (fault := fault_of_lines(lines, self._limits)) is not None:
            return fault
        self.held_octets += len(lines)
        self.ascii_only = self.ascii_only and lines.isascii()
        self.dotless = self.dotless and dotless
        if self.head is None:
            return self._look_for_body(lines, last=last)
        self._pieces.append(lines)
        return None

    def _look_for_body(self, lines: bytes, *, last: bool) -> Reply | None:
        """Tell the header section from what follows; the reply to a header section that is none."""
        header = self._waiting + lines if self._waiting else lines
        end = 0 if header.startswith(b"\r\n") else header.find(b"\r\n\r\n") + 2
        if end == 1:
            self._waiting = header
            if len(header) < MAX_HEADER_OCTETS and not last:
                return None
            if len(header) >= MAX_HEADER_OCTETS and _NO_FIELD.search(header) is None:
                return say.HEADER_TOO_LARGE
            self._begin_body(header, b"")
        else:
            self._begin_body(header[: end + 2], header[end + 2 :])
        return say.TOO_MANY_HOPS if count_hops(self.head or b"") >= self._limits.max_hops else None

    def _begin_body(self, head: bytes, rest: bytes) -> None:
        self.head, self._waiting = head, b""
        if rest:
            self._pieces.append(rest)

    def hand_over(self) -> list[bytes]:
        """The pieces behind the header section, to be written to the disk; this content has them no more."""
        pieces, self._pieces = self._pieces, []
        self.held_octets -= sum(map(len, pieces))
        return pieces

    def whole(self) -> LargeContent:
        """The content, whose end has come, but for what was handed over: its octets count that too.

        What is in it is handed over thereby: nobody can write it to the disk a second time.
        """
        pieces = (self.head or b"", *self.hand_over())
        return LargeContent(pieces=pieces, octets=self.octets, ascii_only=self.ascii_only, dotless=self.dotless)


def fault_of_lines(lines: bytes, limits: ServerLimits) -> Reply | None:
    """Why lines of a content are not accepted."""
    if has_bare_line_ends(lines):
        return say.BARE_IN_CONTENT
    if not limits.accept_nul and b"\0" in lines:
        return say.NUL_IN_CONTENT
    return say.TEXT_LINE_TOO_LONG if has_long_line(lines, limits.max_text_line_octets) else None


def fault_of(content: bytes, limits: ServerLimits) -> Reply | None:
    """Why a whole content is not accepted."""
    if len(content) > limits.max_message_octets:
        return say.TOO_LARGE
    if (fault := fault_of_lines(content, limits)) is not None:
        return fault
    return say.TOO_MANY_HOPS if count_hops(content) >= limits.max_hops else None
