"""Queries as wire, and replies as signed RRsets. A reply is matched strictly to its query (RFC 5452).

Only the parts of a reply that a lookup can need are read: the RRset asked for, aliases, denials, and their signatures.
Anything else in it, however odd, is ignored.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.flags
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.resolver.answer import FailureKind, Question
from letterlock.resolver.rdata import RRset, SignedRRset, read_rdata
from letterlock.resolver.wire import Frame, Frames, Names, Unreadable, read_frames

EDNS_PAYLOAD = 1232  # fits the 1,280 bytes that each IPv6 link carries, less 48 of headers (DNS flag day 2020)
MAX_MESSAGE_OCTETS = 65_535  # the length field over TCP has 16 bits (RFC 1035 section 4.2.2)

_IN, _RRSIG = dns.rdataclass.IN, RdataType.RRSIG
_ALIASES = frozenset({RdataType.CNAME, RdataType.DNAME})
_DENIALS = frozenset({RdataType.NSEC, RdataType.NSEC3, RdataType.SOA})
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_EDNS = struct.pack("!BHHIH", 0, RdataType.OPT, EDNS_PAYLOAD, dns.flags.DO, 0)  # RFC 6891 section 6.1.2

Key = tuple[dns.name.Name, RdataType]


@dataclass(frozen=True, slots=True)
class DNSReply:
    """A reply that answers its question: response code, answer and authority by owner and type."""

    rcode: dns.rcode.Rcode
    answer: dict[Key, SignedRRset]
    authority: dict[Key, SignedRRset]
    octets: int
    ede: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """No usable reply to a query, and why."""

    kind: FailureKind
    detail: str
    ede: int | None = None


def query_wire(question: Question, message_id: int) -> bytes:
    """A query with RD, DO and CD, EDNS payload 1232: the upstream shall fetch, and believe nothing for us."""
    header = _HEADER.pack(message_id, dns.flags.RD | dns.flags.CD, 1, 0, 0, 1)
    name = question.name.to_wire() or b""  # never None without a file to write to
    return header + name + _QUESTION.pack(question.rdtype, dns.rdataclass.IN) + _EDNS


def truncated(wire: bytes) -> bool:
    """Whether the TC bit is set: the whole answer is to be had over TCP."""
    return len(wire) > 2 and bool(wire[2] & 0x02)


def read_reply(wire: bytes, question: Question, message_id: int) -> DNSReply | Fault:
    """Read a reply; what does not answer exactly this query, or is not whole, is a Fault. AD is ignored."""
    if len(wire) > MAX_MESSAGE_OCTETS:
        return Fault(FailureKind.MALFORMED, f"the reply is longer than {MAX_MESSAGE_OCTETS} octets")
    try:
        frames = read_frames(wire)
    except Unreadable as error:
        return Fault(FailureKind.MALFORMED, f"the reply cannot be parsed: {error}")
    wrong = _mismatch(frames, question, message_id)
    if wrong:
        return Fault(FailureKind.MALFORMED, f"the reply does not match the query: {wrong}")
    rcode = dns.rcode.Rcode.make(frames.rcode)
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        text = dns.rcode.to_text(rcode)
        return Fault(FailureKind.SERVFAIL, f"the upstream answered {text} for {question}", frames.ede)
    answered = _ALIASES | {question.rdtype}
    signatures = _signatures(frames, answered | _DENIALS)
    return DNSReply(
        rcode=rcode,
        answer=_signed(frames.answer, answered, frames.names, signatures),
        authority=_signed(frames.authority, _DENIALS, frames.names, signatures),
        octets=len(wire),
        ede=frames.ede,
    )


def _mismatch(frames: Frames, question: Question, message_id: int) -> str | None:
    if frames.message_id != message_id:
        return "another id"
    if not frames.flags & dns.flags.QR or dns.opcode.from_flags(frames.flags) != dns.opcode.QUERY:
        return "not a response"
    if frames.flags & dns.flags.TC:
        return "truncated"
    if frames.questions != ((question.name, question.rdtype, _IN),):
        return "another question"
    return None


def _signatures(frames: Frames, kinds: frozenset[RdataType]) -> dict[Key, dict[bytes, RRSIG]]:
    """The signatures over these types, in whatever section a server put them: each proves itself or nothing."""
    found: dict[Key, dict[bytes, RRSIG]] = {}
    for frame in (*frames.answer, *frames.authority, *frames.additional):
        if frame.rdtype == _RRSIG and frame.rdclass == _IN:
            covered = int.from_bytes(frames.names.wire[frame.start : min(frame.start + 2, frame.end)], "big")
            if covered in kinds:
                record, canonical = read_rdata(frames.names, _RRSIG, frame.start, frame.end)
                if isinstance(record, RRSIG):
                    found.setdefault((frame.owner, record.type_covered), {})[canonical] = record
    return found


def _signed(
    section: Iterable[Frame],
    kinds: frozenset[RdataType],
    names: Names,
    signatures: dict[Key, dict[bytes, RRSIG]],
) -> dict[Key, SignedRRset]:
    """The RRsets of these types in a section."""
    grouped: dict[Key, list[Frame]] = {}
    for frame in section:
        if frame.rdtype in kinds and frame.rdclass == _IN:
            grouped.setdefault((frame.owner, RdataType.make(frame.rdtype)), []).append(frame)
    return {
        key: SignedRRset(_rrset(key, frames, names), tuple(signatures.get(key, {}).values()))
        for key, frames in grouped.items()
    }


def _rrset(key: Key, frames: Sequence[Frame], names: Names) -> RRset:
    """One RRset: records that are the same count once, and the lowest TTL holds (RFC 2181 section 5)."""
    records: dict[bytes, Rdata] = {}
    for frame in frames:
        record, canonical = read_rdata(names, key[1], frame.start, frame.end)
        records.setdefault(canonical, record)
    ttl = min(frame.ttl for frame in frames)
    return RRset(key[0], key[1], ttl, tuple(records.values()), tuple(sorted(records)))
