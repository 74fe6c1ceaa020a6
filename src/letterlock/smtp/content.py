"""Message content as it travels after DATA: its end, dots and lines (RFC 5321 sections 2.3.8, 4.5.2, 4.5.3.1.6)."""

END_OF_CONTENT = b"\r\n.\r\n"


def unstuff_dots(content: bytes) -> bytes:
    """Remove the dot that the client put before every line that began with one.

    `content` begins with the CRLF of the line before it, and so does the result.
    """
    return content.replace(b"\r\n.", b"\r\n")


def has_bare_line_ends(content: bytes) -> bool:
    """Whether a CR or LF stands anywhere but in CRLF (RFC 5321 section 2.3.8)."""
    rest = content.replace(b"\r\n", b"")  # bytes.count is slow at finding one octet many times
    return b"\r" in rest or b"\n" in rest


def has_long_line(content: bytes, max_octets: int) -> bool:
    """Whether a line has more than `max_octets`, its CRLF included.

    Looks at one line end in every `max_octets`, the last one: what lies before it in that window cannot be longer.
    """
    start, end = 0, len(content)
    while end - start > max_octets:
        start = content.rfind(b"\n", start, start + max_octets) + 1
        if not start:
            return True
    return False


def count_hops(content: bytes) -> int:
    """How many Received fields the header section has (RFC 5321 section 6.3)."""
    end = content.find(b"\r\n\r\n")
    header = b"\r\n" + (content if end < 0 else content[:end])
    return header.lower().count(b"\r\nreceived:")
