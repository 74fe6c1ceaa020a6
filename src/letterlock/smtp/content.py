"""Message content as it travels after DATA: its end, dots and lines (RFC 5321 sections 2.3.8, 4.5.2, 4.5.3.1.6)."""

END_OF_CONTENT = b"\r\n.\r\n"
CR = 0x0D  # carriage return
LOOK_OCTETS = 1 << 18  # looked through at once: a copy of so much is made, which stays in the processor's cache


def unstuff_dots(content: bytes) -> bytes:
    """Remove the dot that the client put before every line that began with one.

    It begins with a line.
    """
    return content[content[:1] == b"." :].replace(b"\r\n.", b"\r\n")


def has_dotted_line(content: bytes | bytearray) -> bool:
    """Whether a line begins with a dot. It begins with a line."""
    return content.startswith(b".") or b"\r\n." in content


def has_bare_line_ends(content: bytes) -> bool:
    """Whether a CR or LF stands anywhere but in CRLF (RFC 5321 section 2.3.8)."""
    for start in range(0, len(content), LOOK_OCTETS):
        end = start + LOOK_OCTETS
        piece = content[start : end + (content[end - 1 : end] == b"\r")]  # with the LF of a CR at its end
        if start and piece[:1] == b"\n" and content[start - 1] == CR:
            piece = piece[1:]
        rest = piece.replace(b"\r\n", b"")  # bytes.count is slow at finding one octet many times
        if b"\r" in rest or b"\n" in rest:
            return True
    return False


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
