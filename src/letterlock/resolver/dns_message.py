"""Queries as wire, and replies as signed RRsets. A reply is matched strictly to its query (RFC 5452).

Only the parts of a reply that a lookup can need are read: the RRset asked for, aliases, denials, and their signatures.
Anything else in it, however odd, is ignored.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

import dns.flags
import dns.name
import dns.rcode
import dns.rdataclass
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.answer import FailureKind, Question
from letterlock.resolver.rdata import RRset, SignedRRset, kind_of, read_rdata
from letterlock.resolver.wire import Frame, Frames, Names, Unreadable, read_frames

EDNS_PAYLOAD = 1232  # fits the 1,280 bytes that each IPv6 link carries, less 48 of headers (DNS flag day 2020)
MAX_MESSAGE_OCTETS = 65_535  # the length field over TCP has 16 bits (RFC 1035 section 4.2.2)

_IN, _RRSIG = dns.rdataclass.IN, RdataType.RRSIG
_ALIASES = frozenset({RdataType.CNAME, RdataType.DNAME})
_DENIALS = frozenset({RdataType.NSEC, RdataType.NSEC3, RdataType.SOA})
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RD_CD = int(dns.flags.RD | dns.flags.CD)  # plain numbers: enum's operators are slow, and each query needs some
_QR, _TC, _OPCODE = int(dns.flags.QR), int(dns.flags.TC), 0x7800  # RFC 1035 section 4.1.1; QUERY is opcode 0
_NOERROR, _NXDOMAIN = dns.rcode.NOERROR, dns.rcode.NXDOMAIN
_EDNS = struct.pack("!BHHIH", 0, RdataType.OPT, EDNS_PAYLOAD, dns.flags.DO, 0)  # RFC 6891 section 6.1.2

Key = tuple[dns.name.Name, RdataType]


class Section(Mapping[Key, SignedRRset]):
    """The RRsets of one section by owner and type. Each is read when it is first asked for: many never are."""

    def __init__(self, grouped: dict[Key, list[Frame]], names: Names, signatures: dict[Key, list[Frame]]) -> None:
        self._grouped = grouped
        self._names = names
        self._signatures = signatures
        self._read: dict[Key, SignedRRset] = {}

    def __getitem__(self, key: Key) -> SignedRRset:
        found = self._read.get(key)
        if found is None:
            rrset = _rrset(key, self._grouped[key], self._names)
            found = self._read[key] = SignedRRset(rrset, _signatures(self._signatures.get(key, ()), self._names))
        return found

    def get(self, key: Key, default: SignedRRset | None = None) -> SignedRRset | None:  # type: ignore[override]  # narrower
        """The RRset, if it is there."""
        return self[key] if key in self._grouped else default

    def __contains__(self, key: object) -> bool:
        return key in self._grouped

    def __iter__(self) -> Iterator[Key]:
        return iter(self._grouped)

    def __len__(self) -> int:
        return len(self._grouped)


@frozen_dataclass(frozen=True, slots=True)
class DNSReply:
    """A reply that answers its question: response code, answer and authority by owner and type."""

    rcode: dns.rcode.Rcode
    answer: Mapping[Key, SignedRRset]
    authority: Mapping[Key, SignedRRset]
    octets: int
    ede: int | None = None


@frozen_dataclass(frozen=True, slots=True)
class Fault:
    """No usable reply to a query, and why."""

    kind: FailureKind
    detail: str
    ede: int | None = None


def query_wire(question: Question, message_id: int) -> bytes:
    """A query with RD, DO and CD, EDNS payload 1232: the upstream shall fetch, and believe nothing for us."""
    header = _HEADER.pack(message_id, _RD_CD, 1, 0, 0, 1)
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
    if frames.rcode not in (_NOERROR, _NXDOMAIN):
        text = dns.rcode.to_text(dns.rcode.Rcode.make(frames.rcode))
        return Fault(FailureKind.SERVFAIL, f"the upstream answered {text} for {question}", frames.ede)
    answered = _ALIASES | {question.rdtype}
    signatures = _signature_frames(frames, answered | _DENIALS)
    return DNSReply(
        rcode=_NXDOMAIN if frames.rcode else _NOERROR,
        answer=Section(_grouped(frames.answer, answered), frames.names, signatures),
        authority=Section(_grouped(frames.authority, _DENIALS), frames.names, signatures),
        octets=len(wire),
        ede=frames.ede,
    )


def _mismatch(frames: Frames, question: Question, message_id: int) -> str | None:
    if frames.message_id != message_id:
        return "another id"
    if not frames.flags & _QR or frames.flags & _OPCODE:
        return "not a response"
    if frames.flags & _TC:
        return "truncated"
    if frames.questions != ((question.name, question.rdtype, _IN),):
        return "another question"
    return None


def _signature_frames(frames: Frames, kinds: frozenset[RdataType]) -> dict[Key, list[Frame]]:
    """The signatures over these types, in whatever section a server put them: each proves itself or nothing."""
    found: dict[Key, list[Frame]] = {}
    wire = frames.names.wire
    for frame in (*frames.answer, *frames.authority, *frames.additional):
        if frame.rdtype == _RRSIG and frame.rdclass == _IN:
            covered = int.from_bytes(wire[frame.start : min(frame.start + 2, frame.end)], "big")
            if covered in kinds:
                found.setdefault((frame.owner, kind_of(covered)), []).append(frame)
    return found


def _signatures(frames: Sequence[Frame], names: Names) -> tuple[RRSIG, ...]:
    """The signatures that can be read, each once."""
    found: dict[bytes, RRSIG] = {}
    for frame in frames:
        record, canonical = read_rdata(names, _RRSIG, frame.start, frame.end)
        if isinstance(record, RRSIG):
            found[canonical] = record
    return tuple(found.values())


def _grouped(section: Iterable[Frame], kinds: frozenset[RdataType]) -> dict[Key, list[Frame]]:
    """The records of these types by owner and type."""
    grouped: dict[Key, list[Frame]] = {}
    for frame in section:
        if frame.rdtype in kinds and frame.rdclass == _IN:
            grouped.setdefault((frame.owner, kind_of(frame.rdtype)), []).append(frame)
    return grouped


def _rrset(key: Key, frames: Sequence[Frame], names: Names) -> RRset:
    """One RRset: records that are the same count once, and the lowest TTL holds (RFC 2181 section 5)."""
    records: dict[bytes, Rdata] = {}
    for frame in frames:
        record, canonical = read_rdata(names, key[1], frame.start, frame.end)
        records.setdefault(canonical, record)
    ttl = min(frame.ttl for frame in frames)
    return RRset(key[0], key[1], ttl, tuple(records.values()), tuple(sorted(records)))
