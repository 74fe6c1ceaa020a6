"""Requests (`NAME SP KEY`) and replies of the socketmap protocol (socketmap_table(5))."""

from letterlock.socketmap.netstrings import MAX_REPLY_OCTETS

NOT_FOUND = b"NOTFOUND "  # the space stays, even with nothing behind it
_MAX_REASON = 200  # Postfix logs as many characters of a reason, and no more


def read_request(frame: bytes) -> tuple[bytes, bytes] | None:
    """The name of the map and the key; None if this is no request."""
    name, space, key = frame.partition(b" ")
    return (name, key) if name and space else None


def ok(data: str) -> bytes:
    """A reply with what was found; a temporary failure if that is more than Postfix reads."""
    reply = b"OK " + data.encode()
    return reply if len(reply) <= MAX_REPLY_OCTETS else temporary("the answer is longer than Postfix reads")


def temporary(reason: str) -> bytes:
    """A reply that makes Postfix try again later; the reason appears in its log."""
    return b"TEMP " + _printable(reason)


def permanent(reason: str) -> bytes:
    """A reply to a question that will never have an answer. Postfix defers mail for it all the same."""
    return b"PERM " + _printable(reason)


def _printable(text: str) -> bytes:
    """One line of ASCII, cut to what Postfix logs."""
    line = "".join(each if " " <= each <= "~" else "?" for each in text)
    return line[:_MAX_REASON].encode("ascii")
