"""The header field `TLS-Required: No` (RFC 8689 section 3): rather delivered than protected, says the sender."""

import re

MAX_HEADER_OCTETS = 1 << 18  # chosen: a header section with a hundred hops has 30 KB
_NAME = b"tls-required"
_FIELD = re.compile(rb"^TLS-Required[ \t]*:((?:[^\r\n]|\r\n[ \t])*)$", re.IGNORECASE | re.MULTILINE)


def says_no(content: bytes) -> bool:
    """Whether a message (CRLF line ends) has the field once, with the value `No`; several fields say nothing."""
    end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n", 0, MAX_HEADER_OCTETS)
    header = content[: end if end >= 0 else MAX_HEADER_OCTETS]
    if _NAME not in header.lower():  # as in nearly all messages: what follows costs ten times as much
        return False
    header = header.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    values = [found[1].strip().lower() for found in _FIELD.finditer(header.replace(b"\r\n", b"\n"))]
    return values == [b"no"]
