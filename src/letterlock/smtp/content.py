"""Message content as it travels after DATA: its end, dots and lines (RFC 5321 sections 2.3.8, 4.5.2, 4.5.3.1.6)."""

from io import IncrementalNewlineDecoder

END_OF_CONTENT = b"\r\n.\r\n"
_CRLF_ONLY = (None, "\r\n")
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
    """Whether a CR or LF stands anywhere but in CRLF (RFC 5321 section 2.3.8).

    Python's text files keep a note of the kinds of line ends that they met: one loop in C, where replacing or counting
    takes two to ten times as long.
    """
    met = IncrementalNewlineDecoder(None, translate=False)
    for start in range(0, len(content), LOOK_OCTETS):
        end = start + LOOK_OCTETS
        met.decode(content[start:end].decode("latin-1"), final=end >= len(content))
    return met.newlines not in _CRLF_ONLY


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
    if content.startswith(b"\r\n"):  # no header section
        return 0
    end = content.find(b"\r\n\r\n")
    header = b"\r\n" + (content if end < 0 else content[:end])
    return header.lower().count(b"\r\nreceived:")
