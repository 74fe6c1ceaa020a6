"""What names a message: its subject, its Message-ID and those before it. All of it is bounded and safe."""

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header

MAX_SUBJECT_CHARACTERS = 120  # what a mail program's list shows of it, and more
MAX_SUBJECT_OCTETS = 4_096  # looked at
MAX_ID_OCTETS = 250  # fits a line with room to spare (RFC 5322 section 2.1.1)
MAX_REFERENCES = 20  # chosen: mail programs show no deeper thread
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
_FIELD = re.compile(rb"^(subject|message-id|references|in-reply-to)[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Original:
    """A message by its names; what it does not have, or has in a form that nobody reads, is empty."""

    subject: str = ""
    message_id: str = ""
    references: tuple[str, ...] = ()

    @property
    def thread(self) -> tuple[str, ...]:
        """The References of an answer to it (RFC 5322 section 3.6.4)."""
        return (*self.references, *([self.message_id] if self.message_id else []))


def names_of(header: bytes) -> Original:
    """The names of a message, from its header section with CRLF line ends; of a repeated field the first counts."""
    found: dict[str, bytes] = {}
    for match in _FIELD.finditer(header.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")):
        found.setdefault(match[1].decode().lower(), match[2])
    ids = _ids(found.get("message-id", b""))
    before = _ids(found.get("references", b"")) or _ids(found.get("in-reply-to", b""))[:1]
    return Original(_subject(found.get("subject", b"")), ids[0] if ids else "", tuple(before[-MAX_REFERENCES:]))


def _ids(value: bytes) -> list[str]:
    return [each for each in _MESSAGE_ID.findall(value.decode("ascii", "replace")) if len(each) <= MAX_ID_OCTETS]


def _subject(value: bytes) -> str:
    """In one line of printable characters, encoded words decoded (RFC 2047)."""
    raw = value[:MAX_SUBJECT_OCTETS].decode("utf-8", "replace")
    try:
        text = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, ValueError):  # no encoded words, but something that looks like them
        text = raw
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return shown if len(shown) <= MAX_SUBJECT_CHARACTERS else shown[:MAX_SUBJECT_CHARACTERS].rstrip() + "..."


def subject_field(text: str) -> str:
    """The value of a Subject field: folded, and in encoded words when it is not ASCII."""
    charset = "us-ascii" if text.isascii() else "utf-8"
    return Header(text, charset, maxlinelen=75, header_name="Subject").encode(linesep="\r\n")
