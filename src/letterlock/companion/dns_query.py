"""A DNS query as a client sent it (RFC 1035 section 4.1, RFC 6891), read strictly: what is odd gets an error code."""

import struct
from dataclasses import dataclass

import dns.flags
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

HEADER = struct.Struct("!6H")
MIN_UDP_OCTETS = 512  # RFC 6891 section 6.2.3: a smaller payload size counts as this
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!HHIH")
_OPTION = struct.Struct("!2H")
_COOKIE = 10  # RFC 7873 section 4
_MAX_NAME = 255  # RFC 1035 section 2.3.4
_POINTER = 0xC0  # RFC 1035 section 4.1.4
_RESPONSE = int(dns.flags.QR)
_OPCODE = 0x7800  # the bits of the flags that hold it (RFC 1035 section 4.1.1)
_MAX_EXTRA = 8  # records behind the question: an OPT, a signature of the query, and little else


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record of a query (RFC 6891 section 6.1).

    `payload` is the size of a UDP response that the client takes, in octets; `do` asks for DNSSEC records; `cookie` is
    what its option holds, of a length that RFC 7873 allows.
    """

    payload: int
    do: bool
    cookie: bytes | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `question` is its wire, name, type and class, in the client's spelling; `name` is in lower case."""

    message_id: int
    flags: int
    question: bytes
    name: bytes
    rdtype: int
    edns: Edns | None

    @property
    def do(self) -> bool:
        """Whether signatures are wanted (RFC 4035 section 3.2.1)."""
        return self.edns is not None and self.edns.do

    @property
    def cd(self) -> bool:
        """Whether the client checks for itself (RFC 4035 section 3.2.2)."""
        return bool(self.flags & dns.flags.CD)

    @property
    def wants_ad(self) -> bool:
        """Whether AD means something to the client (RFC 6840 section 5.7)."""
        return self.do or bool(self.flags & dns.flags.AD)


@dataclass(frozen=True, slots=True)
class BadQuery:
    """A message that is answered with an error code; `question` where it could be read."""

    message_id: int
    flags: int
    rcode: dns.rcode.Rcode
    question: bytes = b""
    edns: Edns | None = None


class _Malformed(Exception):
    """The message ends too early, or is no query by its grammar."""


def read_query(wire: bytes) -> Query | BadQuery | None:
    """Read a query; None for what must not be answered at all: a response, or not even a header."""
    if len(wire) < HEADER.size:
        return None
    message_id, flags, questions, answers, authorities, extra = HEADER.unpack_from(wire)
    if flags & _RESPONSE:
        return None
    if flags & _OPCODE:
        return BadQuery(message_id, flags, dns.rcode.NOTIMP)
    if questions != 1 or answers or authorities or extra > _MAX_EXTRA:  # RFC 9619: one question
        return BadQuery(message_id, flags, dns.rcode.FORMERR)
    question = b""
    try:
        end = _name_end(wire, HEADER.size)
        question = _question(wire, end + _QUESTION.size)
        edns, version = _edns(wire, end + _QUESTION.size, extra)
    except _Malformed:
        return BadQuery(message_id, flags, dns.rcode.FORMERR, question)
    rdtype, rdclass = _QUESTION.unpack_from(question, len(question) - _QUESTION.size)
    if version:
        return BadQuery(message_id, flags, dns.rcode.BADVERS, question, edns)
    if rdclass != dns.rdataclass.IN or not flags & dns.flags.RD:
        return BadQuery(message_id, flags, dns.rcode.REFUSED, question, edns)
    name = question[: -_QUESTION.size].lower()  # the octets that tell lengths are below 64, and are no letters
    return Query(message_id, flags, question, name, rdtype, edns)


def _question(wire: bytes, end: int) -> bytes:
    """The question as it came. Raises _Malformed."""
    if len(wire) < end:
        raise _Malformed
    return wire[HEADER.size : end]


def _name_end(wire: bytes, at: int) -> int:
    """Where a name without pointers ends. Raises _Malformed."""
    start = at
    while at < len(wire) and at - start < _MAX_NAME:
        length = wire[at]
        at += 1 + length
        if not length:
            return at
        if length & _POINTER:
            break
    raise _Malformed


def _edns(wire: bytes, at: int, count: int) -> tuple[Edns | None, int]:
    """The OPT record and its version; there may be one, of the root. Raises _Malformed."""
    found: tuple[Edns, int] | None = None
    for _ in range(count):
        end = _name_end(wire, at)
        if len(wire) < end + _RECORD.size:
            raise _Malformed
        rdtype, payload, ttl, length = _RECORD.unpack_from(wire, end)
        start = end + _RECORD.size
        if len(wire) < start + length:
            raise _Malformed
        if rdtype == dns.rdatatype.OPT:
            if found is not None or end != at + 1:
                raise _Malformed
            cookie = _cookie(wire[start : start + length])
            found = Edns(max(payload, MIN_UDP_OCTETS), bool(ttl & dns.flags.DO), cookie), ttl >> 16 & 0xFF
        at = start + length
    if at != len(wire):
        raise _Malformed
    return found or (None, 0)


def _cookie(options: bytes) -> bytes | None:
    """The COOKIE option; other options mean nothing here. Raises _Malformed (RFC 7873 section 5.2.2)."""
    at, found = 0, None
    while at < len(options):
        if at + _OPTION.size > len(options):
            raise _Malformed
        code, length = _OPTION.unpack_from(options, at)
        at += _OPTION.size
        value = options[at : at + length]
        if len(value) < length:
            raise _Malformed
        if code == _COOKIE and found is None:
            # RFC 7873 section 4: the client's 8, or with 8 to 32 of the server's
            if length != 8 and not 16 <= length <= 40:
                raise _Malformed
            found = value
        at += length
    return found
