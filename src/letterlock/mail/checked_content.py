"""Message content that was looked through once, so that nobody has to do it again: its type says what is known."""


class CheckedContent(bytes):
    """Content with CRLF line ends only, which ends with one unless it is empty (RFC 5321 section 2.3.8)."""

    __slots__ = ()

    def below(self, fields: bytes) -> "CheckedContent":
        """This content with header fields put before it, which are as well formed."""
        return type(self)(fields + self)


class DotlessContent(CheckedContent):
    """The same, and no line of it begins with a dot: it travels as it is (RFC 5321 section 4.5.2)."""

    __slots__ = ()


def has_utf8_header(content: bytes) -> bool:
    """Whether the header section has octets beyond ASCII (RFC 6532)."""
    end = content.find(b"\r\n\r\n")
    return not (content.isascii() or (content if end < 0 else content[:end]).isascii())
