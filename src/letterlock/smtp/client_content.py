"""Message content on its way out: line ends and dots (RFC 5321 sections 2.3.8 and 4.5.2)."""


def has_bare_line_ends(content: bytes) -> bool:
    """Whether a CR or LF stands anywhere but in CRLF (RFC 5321 section 2.3.8)."""
    pairs = content.count(b"\r\n")
    return content.count(b"\r") != pairs or content.count(b"\n") != pairs


def stuff_dots(content: bytes) -> bytes:
    """Double the dot that begins a line, and end the last line (RFC 5321 section 4.5.2)."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed if not stuffed or stuffed.endswith(b"\r\n") else stuffed + b"\r\n"
