"""Octets from a server -> replies (RFC 5321 section 4.2). Bounded: the server is not to be trusted."""

import functools
import re

from letterlock.mail.replies import Reply

MAX_REPLY_LINE_OCTETS = 2048  # chosen: RFC 5321 section 4.5.3.1.5 has 512, and servers that exceed it get through
MAX_REPLY_LINES = 128  # chosen: EHLO replies have ten to twenty lines; a reply without end would fill memory
_MAX_KNOWN_OCTETS = 512  # of replies that are recognised as a whole: EHLO has 200 to 400
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\0\r\n]*))?\r?\n")
_CONTROLS = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x09}


class MalformedReply(Exception):
    """The server sent something that is not a reply, or is longer than the limits."""


class ReplyParser:
    """Collects octets and gives whole replies.

    Line ends are CRLF; a bare LF is taken for one, since it can confuse nobody but us. NUL and a bare CR are errors.
    Other control characters become `?`; octets that are no UTF-8 become escapes.
    """

    def __init__(self, *, max_line_octets: int = MAX_REPLY_LINE_OCTETS, max_lines: int = MAX_REPLY_LINES) -> None:
        self._max_line_octets = max_line_octets
        self._max_lines = max_lines
        self._buffer = b""  # nothing, when all lines in it were taken
        self._at = 0  # where in it the next line begins
        self._code: int | None = None
        self._lines: list[str] = []
        self._known: list[Reply] = []  # what was recognised as a whole, and not handed out yet
        self._recognises = (max_line_octets, max_lines) == (MAX_REPLY_LINE_OCTETS, MAX_REPLY_LINES)

    @property
    def pending(self) -> bool:
        """Whether octets have come that belong to no reply handed out yet."""
        return bool(self._known or self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """Add octets."""
        if data.find(b"\n") + 1 < len(data) <= _MAX_KNOWN_OCTETS and self._recognises and not self.pending:
            self._known.extend(_replies(data))
            if self._known:
                return
        self._buffer, self._at = self._buffer[self._at :] + data, 0

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None when more octets are needed. Raises MalformedReply."""
        if self._known:
            return self._known.pop(0)
        if not self._buffer:
            return None
        while (end := self._buffer.find(b"\n", self._at, self._at + self._max_line_octets) + 1) > 0:
            line, last = _line(self._buffer[self._at : end])
            if end == len(self._buffer):
                self._buffer, end = b"", 0
            self._at = end
            if last and not self._lines:
                return line
            self._take(line.code, line.lines[0])
            if last:
                reply = Reply(line.code, tuple(self._lines))
                self._code, self._lines = None, []
                return reply
        if len(self._buffer) - self._at >= self._max_line_octets:
            raise MalformedReply(f"a reply line longer than {self._max_line_octets} octets")
        return None

    def _take(self, code: int, text: str) -> None:
        if self._code not in (None, code):
            raise MalformedReply(f"a reply whose code changes from {self._code} to {code}")
        if len(self._lines) >= self._max_lines:
            raise MalformedReply(f"a reply of more than {self._max_lines} lines")
        self._code = code
        self._lines.append(text)


@functools.lru_cache(maxsize=256)  # at most 512 octets each: servers say the same to every client, most of the time
def _replies(octets: bytes) -> tuple[Reply, ...]:
    """The replies that make up these octets; none unless they are whole replies and nothing else, as they should be."""
    if not octets.endswith(b"\n"):
        return ()
    replies: list[Reply] = []
    lines: list[str] = []
    code = 0  # of the lines that have come
    for octets_of_line in octets[:-1].split(b"\n"):
        try:
            line, last = _line(octets_of_line + b"\n")
        except MalformedReply:  # raised where it is read
            return ()
        if lines and line.code != code:
            return ()
        code = line.code
        lines.append(line.lines[0])
        if last:
            replies.append(Reply(code, tuple(lines)))
            lines.clear()
    return () if lines else tuple(replies)


@functools.lru_cache(maxsize=256)  # a line is bounded by the parser; servers repeat the same few lines
def _line(line: bytes) -> tuple[Reply, bool]:
    """A line with its line end as a reply of one line, and whether it is a reply's last. Raises MalformedReply."""
    found = _LINE.fullmatch(line)
    if found is not None:
        return Reply(int(found[1]), (_readable(found[3] or b""),)), found[2] != b"-"
    line = line[:-1].removesuffix(b"\r")
    if b"\0" in line or b"\r" in line:
        raise MalformedReply("a reply with NUL or a bare CR in it")
    raise MalformedReply(f"not an SMTP reply: {_readable(line[:60])!r}")


def _readable(octets: bytes) -> str:
    text = octets.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.translate(_CONTROLS)
