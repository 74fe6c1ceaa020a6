"""A message from standard input, made fit for SMTP: line ends, the dot, missing headers, lines that are too long."""

import os
import time

from letterlock.sendmail.exits import DATAERR, NOINPUT, Failure
from letterlock.sendmail.folding import break_lines, fold_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

READ_OCTETS = 65_536  # chosen: what a pipe of Linux holds (pipe(7))
MAX_FIELDS = 10_000  # chosen: far more than mail has, and few enough to hold in memory
_DROPPED = frozenset({b"bcc", b"resent-bcc", b"return-path"})
_FIELD_NAME = frozenset(range(33, 127)) - {ord(":")}  # RFC 5322 section 2.2
_MBOX = b"From "  # what opens a message in an mbox, passed over
_RECIPIENTS = (b"to", b"cc", b"bcc")


def read_message(file: int, *, ignore_dots: bool, max_octets: int) -> bytes:
    """Everything up to the end of the file, or to a line with a lone dot; lines end with LF.

    A CR that belongs to no CRLF becomes a space: no server takes it, and progress bars are full of it. So does NUL,
    which no message may have (RFC 2045 section 2.8). Raises Failure (NOINPUT, DATAERR).
    """
    held = bytearray(b"\n")  # so that a dot in the first line stands behind a line end too
    while (end := -1 if ignore_dots else _lone_dot(held)) < 0:
        before = len(held)
        try:
            held += os.read(file, READ_OCTETS)
        except OSError as error:
            raise Failure(NOINPUT, f"the message cannot be read: {error.strerror}") from None
        if len(held) == before:
            break
        if len(held) > max_octets:
            raise Failure(DATAERR, f"the message is larger than {max_octets} octets; it was not sent")
    if end < 0:
        end = _dot_at_the_end(held) if not ignore_dots else len(held)
    return bytes(held[1:end]).replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\0", b" ")


def _lone_dot(held: bytearray) -> int:
    """Where the line with a lone dot begins, among what was not looked at before; or -1."""
    start = max(0, len(held) - READ_OCTETS - 4)
    found = [at for at in (held.find(b"\n.\n", start), held.find(b"\n.\r\n", start)) if at >= 0]
    return min(found) + 1 if found else -1


def _dot_at_the_end(held: bytearray) -> int:
    """A lone dot as last line, without its line end."""
    return len(held) - 1 if held.endswith(b"\n.") else len(held)


def _field_name(line: bytes, *, first: bool) -> bytes:
    """The name of the header field that begins here, in lower case; nothing when no field does."""
    if first and line.startswith((b"From ", b">From ")):
        return _MBOX
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return name.lower() if colon and name and _FIELD_NAME.issuperset(name) else b""


class SubmittedMessage:
    """Header fields, each with its name in lower case and all its lines, and the body; lines end with LF.

    Raises Failure (DATAERR) for more than MAX_FIELDS.
    """

    __slots__ = ("_body", "_fields")

    def __init__(self, raw: bytes) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        at = start = 0
        name = b""
        while at < len(raw):
            end = raw.find(b"\n", at)
            end = len(raw) if end < 0 else end
            if raw[at : at + 1] not in (b" ", b"\t") or not name:
                self._keep(name, raw[start : max(start, at - 1)])
                name, start = _field_name(raw[at:end], first=not at), at
                if not name:
                    break
            at = end + 1
        else:
            self._keep(name, raw[start : len(raw) - raw.endswith(b"\n")])
        self._body = raw[at:].removeprefix(b"\n")

    def _keep(self, name: bytes, text: bytes) -> None:
        if len(self._fields) >= MAX_FIELDS:
            raise Failure(DATAERR, f"the header has more than {MAX_FIELDS} fields; nothing was sent")
        if name and name != _MBOX:
            self._fields.append((name, text))

    @property
    def prefix(self) -> bytes:
        """`Resent-` for a message that was sent once already (RFC 5322 section 3.6.6)."""
        names = (b"resent-from", b"resent-to", b"resent-cc", b"resent-bcc", b"resent-date", b"resent-message-id")
        return b"Resent-" if any(name in names for name, _ in self._fields) else b""

    def recipient_lists(self) -> "Iterable[str]":
        """The contents of To, Cc and Bcc; for a message sent again, of Resent-To, Resent-Cc and Resent-Bcc."""
        prefix = self.prefix.lower()
        for name, text in self._fields:
            if name.removeprefix(prefix) in _RECIPIENTS and name.startswith(prefix):
                yield text.partition(b":")[2].decode("utf-8", "surrogateescape")

    def complete(self, *, sender: str, full_name: str, hostname: str) -> None:
        """Add From, Date and Message-ID where they are missing (RFC 5322 section 3.6); drop Bcc and Return-Path."""
        prefix = self.prefix
        self._fields = [field for field in self._fields if field[0] not in _DROPPED]
        address = f"{display_name(full_name)} <{sender}>" if full_name else sender
        self._add(
            prefix + b"Message-ID", f"<{time.strftime('%Y%m%d%H%M%S', time.gmtime())}.{os.urandom(8).hex()}@{hostname}>"
        )
        self._add(prefix + b"Date", time.strftime("%a, %d %b %Y %H:%M:%S %z", time.localtime()))
        self._add(prefix + b"From", address)

    def _add(self, name: bytes, value: str) -> None:
        if not any(each == name.lower() for each, _ in self._fields):
            self._fields.insert(0, (name.lower(), name + b": " + value.encode("utf-8", "surrogateescape")))

    def wire(self) -> bytes:
        """As it goes over SMTP, without the final dot: CRLF, doubled dots, no line that is too long.

        Raises Failure (DATAERR) for a header field that cannot be folded.
        """
        fields = (fold_field(name, text) for name, text in self._fields)
        text = b"\n".join([*fields, b"", break_lines(self._body)])
        if text and not text.endswith(b"\n"):
            text += b"\n"
        return _doubled(text).replace(b"\n", b"\r\n")


def _doubled(text: bytes) -> bytes:
    text = text.replace(b"\n.", b"\n..")
    return b"." + text if text.startswith(b".") else text


def display_name(name: str) -> str:
    """A person's name as a phrase of RFC 5322, or as encoded words of RFC 2047 when it is not ASCII."""
    if name.isascii():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"' if set(name) & set('()<>[]:;@\\,."') else name
    import binascii  # noqa: PLC0415  # rarely needed

    words = [name[at : at + 10].encode("utf-8", "replace") for at in range(0, len(name), 10)]  # at most 75 characters
    return " ".join(f"=?UTF-8?B?{binascii.b2a_base64(word, newline=False).decode()}?=" for word in words)
