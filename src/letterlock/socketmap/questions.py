"""Requests (`NAME SP KEY`) and replies of the socketmap protocol (socketmap_table(5))."""

from letterlock.socketmap.netstrings import MAX_REPLY_OCTETS, netstring

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


class BadReply(ValueError):
    """What a server answered is no reply of the protocol."""


class TemporaryReply(Exception):
    """The server does not know; `str()` is its reason. Mail is put off for it, as Postfix does for PERM, too."""


def request(name: str, key: str) -> bytes:
    """The question for a key of a map, framed."""
    return netstring(f"{name} {key}".encode())


def read_reply(frame: bytes) -> str | None:
    """What the map has; None: it has no such key. Raises BadReply, TemporaryReply."""
    word, _, rest = frame.partition(b" ")
    try:
        text = rest.decode()
    except UnicodeDecodeError:
        raise BadReply("a reply that is not UTF-8") from None
    match word:
        case b"OK":
            return text
        case b"NOTFOUND":
            return None
        case b"TEMP" | b"TIMEOUT" | b"PERM":
            raise TemporaryReply(_printable(text).decode() or word.decode())
    raise BadReply("a reply that is neither OK, NOTFOUND, TEMP, TIMEOUT nor PERM")
