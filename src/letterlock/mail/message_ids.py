"""The Message-ID of a message (RFC 5322 section 3.6.4), for the log: found without parsing the header."""

import re

MAX_SEARCHED_OCTETS = 65_536  # of the header: more is no header that a person or a usual program wrote
MAX_OCTETS = 998  # a line (RFC 5322 section 2.1.1)
_FIELD = re.compile(rb"(?:\A|\n)message-id[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE)
_USUAL = (b"\nMessage-ID:", b"\nMessage-Id:", b"\nmessage-id:")  # found much faster than by the expression


def message_id_of(content: bytes) -> str | None:
    """The value of the first Message-ID field, without white space around it; None when there is no such field."""
    end = content.find(b"\r\n\r\n", 0, MAX_SEARCHED_OCTETS)
    stop = MAX_SEARCHED_OCTETS if end < 0 else end
    at = -1
    for name in _USUAL:
        at = content.find(name, 0, stop)
        if at >= 0:
            break
    found = _FIELD.match(content, at, stop) if at >= 0 else _FIELD.search(content, 0, stop)
    if found is None:
        return None
    return b" ".join(found[1].split())[:MAX_OCTETS].decode("utf-8", "backslashreplace")
