"""Lines that are too long for mail, broken where that changes nothing, or as little as can be (RFC 5322 section 2.1.1).

A header line is folded before white space that it has: unfolded again it is the same (section 2.2.3). A structured
field without any is folded behind a comma or a semicolon, or between two message ids, where a space means nothing
(section 3.2.2). Other text is broken between two characters of UTF-8, and never inside an encoded word (RFC 2047): a
line end and a space are added. An address is never broken: such a message is refused.
"""

from letterlock.sendmail.exits import DATAERR, Failure

MAX_LINE_OCTETS = 998  # RFC 5322 section 2.1.1, without CRLF
MAX_BLANKS = 400  # a longer run in a line that is too long becomes one space, so that no line is of blanks alone
MAX_ENCODED_WORD_OCTETS = 75  # RFC 2047 section 2
_BLANKS = b" \t"
_ADDRESSES = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
_STRUCTURED = frozenset(
    {
        *_ADDRESSES,
        *(b"resent-" + name for name in _ADDRESSES),
        *(b"message-id", b"resent-message-id", b"in-reply-to", b"references", b"date", b"resent-date", b"received"),
        *(b"content-type", b"content-disposition", b"content-id", b"mime-version", b"dkim-signature", b"return-path"),
        *(b"disposition-notification-to", b"list-unsubscribe", b"authentication-results"),
    }
)


def fold_field(name: bytes, text: bytes) -> bytes:
    """A header field, all its lines with LF between them, and its name in lower case. Raises Failure (DATAERR)."""
    if len(text) <= MAX_LINE_OCTETS:
        return text
    return b"\n".join(_fold_line(name, line) for line in text.split(b"\n"))


def break_lines(text: bytes) -> bytes:
    """A body, its lines ending with LF."""
    lines = text.split(b"\n")
    if max(map(len, lines)) <= MAX_LINE_OCTETS:
        return text
    return b"\n".join(map(_break_line, lines))


def _fold_line(name: bytes, line: bytes) -> bytes:
    if len(line) <= MAX_LINE_OCTETS:
        return line
    line = _without_long_blanks(line)
    parts: list[bytes] = []
    while len(line) > MAX_LINE_OCTETS:
        at = _blank_to_fold_at(line)
        if at:
            parts.append(line[:at])
            line = line[at:]
            continue
        at = _last_separator(line) if name in _STRUCTURED else _character_boundary(line)
        if not at:
            shown = name.decode("ascii", "replace")
            what = f"{shown}: has a word of more than {MAX_LINE_OCTETS} bytes, which no line of mail can hold"
            raise Failure(DATAERR, f"{what}; nothing was sent")
        parts.append(line[:at])
        line = b" " + line[at:]
    return b"\n".join([*parts, line])


def _without_long_blanks(line: bytes) -> bytes:
    line = line.rstrip(_BLANKS)
    if b" " * MAX_BLANKS not in line.replace(b"\t", b" "):
        return line
    words = line.replace(b"\t", b" ").split(b" ")
    text = b" ".join(word for word in words if word)
    return b" " + text if line[:1] in (b" ", b"\t") else text


def _blank_to_fold_at(line: bytes) -> int:
    """The last white space in a full line that has other text before it; 0 if there is none."""
    first = len(line) - len(line.lstrip(_BLANKS))
    at = max(line.rfind(b" ", first, MAX_LINE_OCTETS + 1), line.rfind(b"\t", first, MAX_LINE_OCTETS + 1))
    return max(at, 0)


def _last_separator(line: bytes) -> int:
    """Behind the last comma or semicolon, or between `>` and `<`, outside quotes and comments; 0 if there is none."""
    found = depth = at = 0
    quoted = False
    while at < MAX_LINE_OCTETS - 1:
        letter = line[at : at + 1]
        if letter == b"\\" and (quoted or depth):
            at += 1
        elif letter == b'"' and not depth:
            quoted = not quoted
        elif letter == b"(" and not quoted:
            depth += 1
        elif letter == b")" and depth:
            depth -= 1
        elif not (quoted or depth) and (letter in (b",", b";") or line[at : at + 2] == b"><"):
            found = at + 1
        at += 1
    return found


def _character_boundary(line: bytes) -> int:
    """The last place in a full line that is in no character of UTF-8 and in no encoded word."""
    at = _utf8_boundary(line)
    start = line.rfind(b"=?", max(1, at - MAX_ENCODED_WORD_OCTETS), at + 1)
    return start if start > 0 and b"?=" in line[start + 2 : start + MAX_ENCODED_WORD_OCTETS] else at


def _utf8_boundary(line: bytes) -> int:
    at = MAX_LINE_OCTETS
    while at > MAX_LINE_OCTETS - 4 and line[at] & 0xC0 == 0x80:  # inside a character of UTF-8 (RFC 3629 section 3)
        at -= 1
    return at if line[at] & 0xC0 != 0x80 else MAX_LINE_OCTETS  # no UTF-8: anywhere


def _break_line(line: bytes) -> bytes:
    """A line of a body: before white space that it has, else between two characters."""
    parts: list[bytes] = []
    while len(line) > MAX_LINE_OCTETS:
        at = _blank_to_fold_at(line)
        added = b"" if at else b" "
        at = at or _utf8_boundary(line)
        parts.append(line[:at])
        line = added + line[at:]
    return b"\n".join([*parts, line])
