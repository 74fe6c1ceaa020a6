"""Buffers unread input of a client: command lines, and message content up to its end."""

from enum import Enum

from letterlock.mail.checked_content import PIECE_OCTETS
from letterlock.smtp.content import END_OF_CONTENT

_OVERLAP = len(END_OF_CONTENT) - 1
_DOT_LINE = b"\r\n."


class LineFault(Enum):
    """A command line that cannot be one."""

    TOO_LONG = "too long"  # it was dropped, up to and with its CRLF
    BARE_LINE_END = "bare line end"  # where this line ends is ambiguous: do not read on


class Input:
    """The input buffer of a server session. It holds what one `feed` brought, and at most one unfinished line."""

    def __init__(self, *, max_command_octets: int) -> None:
        """`max_command_octets` counts a whole command line, CRLF included."""
        self._max_command_octets = max_command_octets
        self.octets = bytearray()  # what was read and not taken; the same object all the time, to be read only
        self._scanned = 0
        self._dotted = False
        self._ripe_at = PIECE_OCTETS
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self.octets += data

    def __len__(self) -> int:
        return len(self.octets)

    def next_line(self) -> bytes | LineFault | None:
        """The next command line without its CRLF, or what is wrong with it; None when more must be read."""
        octets = self.octets
        if not octets or (self._skipping and not self._skip()):
            return None
        end = octets.find(b"\n", 0, self._max_command_octets)
        if end < 0:
            return self._unfinished()
        if end == 0 or octets[end - 1] != 0x0D:  # CR
            return LineFault.BARE_LINE_END
        line = bytes(octets[: end - 1])
        del octets[: end + 1]
        return LineFault.BARE_LINE_END if b"\r" in line else line

    def _unfinished(self) -> LineFault | None:
        if len(self.octets) < self._max_command_octets:
            return None
        self._skipping = True
        self._skip()
        return LineFault.TOO_LONG

    def _skip(self) -> bool:
        """Drop the rest of a line that was too long; whether its end was there."""
        end = self.octets.find(b"\r\n")
        if end >= 0:
            del self.octets[: end + 2]
            self._skipping = False
        else:
            del self.octets[:-1]  # a CR may wait for its LF
        return not self._skipping

    def begin_content(self) -> None:
        """What follows is message content. The CRLF of the DATA line is its first: it may be part of CRLF.CRLF."""
        self.octets[:0] = b"\r\n"
        self._scanned = 0
        self._dotted = False
        self._ripe_at = PIECE_OCTETS

    @property
    def ripe(self) -> bool:
        """Whether there is so much content, though not its end, that `take_lines` is worth while."""
        return len(self.octets) >= self._ripe_at

    @property
    def dotted(self) -> bool:
        """Whether a line of the content, as far as it was looked at, begins with a dot."""
        return self._dotted

    def next_content(self) -> bytes | None:
        """Everything up to the end of the content, still dot-stuffed, with its last CRLF.

        None when more must be read.
        """
        end = self._find_end()
        if end is None:
            return None
        with memoryview(self.octets) as view:
            content = view[2 : end + 2].tobytes()
        del self.octets[: end + len(END_OF_CONTENT)]
        return content

    def take_lines(self) -> bytes:
        """The whole lines of content so far, still dot-stuffed, when `next_content` found no end.

        The CRLF of the last one is also left here: it may be the first of CRLF.CRLF.
        """
        end = self.octets.rfind(b"\r\n")
        with memoryview(self.octets) as view:
            lines = view[2 : end + 2].tobytes()
        del self.octets[:end]
        self._scanned = max(0, self._scanned - end)
        self._ripe_at = len(self.octets) + PIECE_OCTETS
        return lines

    @property
    def tail(self) -> bytes:
        """The unfinished line that `take_lines` left."""
        return bytes(self.octets[2:])

    def skip_content(self) -> bool:
        """Drop content; whether its end was there."""
        end = self._find_end()
        if end is None:
            del self.octets[:-_OVERLAP]
            self._scanned = 0
            return False
        del self.octets[: end + len(END_OF_CONTENT)]
        return True

    def take(self, at_most: int) -> bytes:
        """The next octets, `at_most` as many, as far as they have arrived, whatever they are."""
        with memoryview(self.octets) as view:
            octets = view[:at_most].tobytes()
        del self.octets[:at_most]
        return octets

    def _find_end(self) -> int | None:
        start = max(0, self._scanned - _OVERLAP)
        if not self._dotted:  # one look for both: most content has no line with a dot
            start = self.octets.find(_DOT_LINE, start)
            if start < 0:
                self._scanned = len(self.octets)
                return None
            found = self.octets[start : start + len(END_OF_CONTENT)]
            if found == END_OF_CONTENT:
                return start
            if END_OF_CONTENT.startswith(found):
                self._scanned = start + _OVERLAP
                return None
            self._dotted = True
        end = self.octets.find(END_OF_CONTENT, start)
        if end < 0:
            self._scanned = len(self.octets)
            return None
        return end
