"""The Message-ID of a message (RFC 5322 section 3.6.4), for the log: found without parsing the header."""

import re

MAX_SEARCHED_OCTETS = 65_536  # of the header: more is no header that a person or a usual program wrote
MAX_OCTETS = 998  # a line (RFC 5322 section 2.1.1)
_FIELD = re.compile(rb"(?:\A|\n)message-id[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE)
_NAME = b"message-id"
_USUAL = b"\nMessage-ID:"


def message_id_of(content: bytes) -> str | None:
    """The value of the first Message-ID field, without white space around it; None when there is no such field."""
    end = content.find(b"\r\n\r\n", 0, MAX_SEARCHED_OCTETS)
    stop = MAX_SEARCHED_OCTETS if end < 0 else end
    at = content.find(_USUAL, 0, stop)
    found = _FIELD.match(content, at, stop) if at >= 0 else _find(content, stop)
    if found is None:
        return None
    return b" ".join(found[1].split())[:MAX_OCTETS].decode("utf-8", "backslashreplace")


def _find(content: bytes, stop: int) -> re.Match[bytes] | None:
    """The field in any spelling. Not by a search with the expression, which costs twenty times as much as `lower`."""
    header = content[:stop].lower()
    at = 0 if header.startswith(_NAME) else header.find(b"\n" + _NAME)
    while at >= 0:
        found = _FIELD.match(content, at, stop)
        if found is not None:
            return found
        at = header.find(b"\n" + _NAME, at + 1)
    return None
