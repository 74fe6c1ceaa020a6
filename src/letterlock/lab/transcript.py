"""The conversation as the attacker saw it: DNS, SMTP and HTTPS in the order in which they happened.

What goes through TLS that does not end at the attacker is shown as what it is to them: octets. Everything here was sent
by somebody who may be hostile, so it is escaped before anybody's terminal sees it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_RECORD_NAMES = {20: "ChangeCipherSpec", 21: "alert", 22: "handshake", 23: "encrypted data"}  # RFC 8446 section 5.1
_RECORD_HEADER_OCTETS = 5  # RFC 8446 section 5.1: type, version, length
MAX_LINE_COLUMNS = 200  # chosen: a line of a message; longer ones are cut
MAX_RECORD_COLUMNS = 60  # chosen: keys and digests are long, and nobody reads them to the end
_PROOFS = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}


class Speaker(StrEnum):
    """Whose words a line has."""

    CLIENT = "C"  # the server under test
    SERVER = "S"  # the one who answered it
    NOTE = "*"  # what the attacker does


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `channel`: where it was seen; `inside`: inside TLS; `bad`: the attacker's work, or their loot."""

    channel: str
    speaker: Speaker
    text: str
    inside: bool = False
    bad: bool = False


@dataclass(slots=True)
class Transcript:
    """What was seen so far; `paused` while nobody attacks yet. In the DNS only questions about `domains` count."""

    domains: tuple[str, ...] = ()
    lines: list[Line] = field(default_factory=list)
    paused: bool = False
    _connections: int = 0

    def note(self, text: str) -> None:
        """Something that the attacker does."""
        self._add(Line("", Speaker.NOTE, text, bad="attacker" in text))

    def dns(self, query: dns.message.Message, honest: dns.message.Message, given: dns.message.Message | None) -> None:
        """One question, what is true, and what was answered."""
        question = query.question[0]
        if self.domains and not any(question.name.is_subdomain(dns.name.from_text(each)) for each in self.domains):
            return
        asked = f"{question.name.to_text(omit_final_dot=True)} {dns.rdatatype.to_text(question.rdtype)}"
        self._add(Line("DNS", Speaker.CLIENT, asked))
        forged = given is None or _content(given) != _content(honest)
        for text in ["(no answer)"] if given is None else _shown(given):
            self._add(Line("DNS", Speaker.SERVER, text + (" (forged)" if forged else ""), bad=forged))

    def connection(self, name: str, *, attackers: bool) -> "ConnectionTranscript":
        """A new connection to somebody; `attackers`: TLS ends at an attacker, who can read what is in it."""
        self._connections += not self.paused
        return ConnectionTranscript(self, f"{name}, connection {self._connections}", attackers=attackers)

    def _add(self, line: Line) -> None:
        if not self.paused:
            self.lines.append(line)

    def add(self, channel: str, speaker: Speaker, data: bytes, *, readable: bool, inside: bool) -> None:
        """What was sent on a connection."""
        for text in _lines_of(data) if readable else _records_of(data):
            self._add(Line(channel, speaker, text, inside=inside and readable))


@dataclass(slots=True)
class ConnectionTranscript:
    """One connection, as its server sees it: a `raw_smtp.Watch`."""

    transcript: Transcript
    channel: str
    attackers: bool
    tls: bool = False

    def received(self, data: bytes, *, readable: bool) -> None:
        """Octets from the client."""
        self._add(Speaker.CLIENT, data, readable=readable)

    def sent(self, data: bytes, *, readable: bool) -> None:
        """Octets to the client."""
        self._add(Speaker.SERVER, data, readable=readable)

    def _add(self, speaker: Speaker, data: bytes, *, readable: bool) -> None:
        self.tls = self.tls or not readable
        opaque = not readable or (self.tls and not self.attackers) or (not self.tls and _is_tls(data))
        self.transcript.add(self.channel, speaker, data, readable=not opaque, inside=self.tls)


def _is_tls(data: bytes) -> bool:
    """Whether octets are TLS records that are passed on."""
    return len(data) >= _RECORD_HEADER_OCTETS and data[0] in _RECORD_NAMES and data[1] == 3


def _lines_of(data: bytes) -> Iterator[str]:
    for line in data.split(b"\r\n"):
        if line:
            text = _cut(line.decode("ascii", "backslashreplace"), MAX_LINE_COLUMNS)
            yield "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[:columns]}..."


def _records_of(data: bytes) -> Iterator[str]:
    """TLS records by their kinds; what is in them cannot be read."""
    kinds: list[str] = []
    at = 0
    while at + _RECORD_HEADER_OCTETS <= len(data) and data[at] in _RECORD_NAMES:
        kinds.append(_RECORD_NAMES[data[at]])
        at += _RECORD_HEADER_OCTETS + int.from_bytes(data[at + 3 : at + 5])
    yield f"[TLS: {', '.join(dict.fromkeys(kinds)) or 'encrypted data'}; {len(data)} bytes]"


def _content(message: dns.message.Message) -> tuple[int, list[str]]:
    return message.rcode(), sorted(rrset.to_text() for rrset in (*message.answer, *message.authority))


def _shown(message: dns.message.Message) -> list[str]:
    """The answer in few words: records, and whether they came with signatures."""
    signed = any(rrset.rdtype in _PROOFS for rrset in (*message.answer, *message.authority))
    records = [text for rrset in message.answer if rrset.rdtype not in _PROOFS for text in _records(rrset)]
    what = records or [f"{dns.rcode.to_text(message.rcode())}, no records"]
    return [f"{each}{', signed' if signed else ''}" for each in what]


def _records(rrset: dns.rrset.RRset) -> list[str]:
    kind = dns.rdatatype.to_text(rrset.rdtype)
    return [_cut(f"{kind} {rdata.to_text()}", MAX_RECORD_COLUMNS) for rdata in rrset]
