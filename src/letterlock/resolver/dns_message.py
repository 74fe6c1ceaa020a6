"""Queries as wire, and replies as signed RRsets. A reply is matched strictly to its query (RFC 5452).

Only the parts of a reply that a lookup can need are read: the RRset asked for, aliases, denials, and their signatures.
Anything else in it, however odd, is ignored.
"""

import functools
import struct
from collections.abc import Sequence

import dns.flags
import dns.name
import dns.rcode
import dns.rdataclass
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.answer import FailureKind, Question
from letterlock.resolver.known_names import KnownName
from letterlock.resolver.rdata import RRset, SignedRRset, kind_of, read_rdata, soa_minimum
from letterlock.resolver.wire import Frame, Frames, Names, Unreadable, read_frames

EDNS_PAYLOAD = 1232  # fits the 1,280 bytes that each IPv6 link carries, less 48 of headers (DNS flag day 2020)
MAX_MESSAGE_OCTETS = 65_535  # the length field over TCP has 16 bits (RFC 1035 section 4.2.2)

_IN, _RRSIG = dns.rdataclass.IN, RdataType.RRSIG
_ALIASES = frozenset({RdataType.CNAME, RdataType.DNAME})
_DENIALS = frozenset({RdataType.NSEC, RdataType.NSEC3, RdataType.SOA})
_NOTHING: frozenset[RdataType] = frozenset()
# Plain numbers: enum's operators are slow, and each reply needs some.
_QR, _TC, _OPCODE = int(dns.flags.QR), int(dns.flags.TC), 0x7800  # RFC 1035 section 4.1.1; QUERY is opcode 0
_NOERROR, _NXDOMAIN = dns.rcode.NOERROR, dns.rcode.NXDOMAIN
# What each query has after its id, and after its name and type: flags and counts; class and OPT (RFC 6891 6.1.2).
_HEAD = struct.pack("!5H", dns.flags.RD | dns.flags.CD, 1, 0, 0, 1)
_TAIL = struct.pack("!HBHHIH", _IN, 0, RdataType.OPT, EDNS_PAYLOAD, dns.flags.DO, 0)

_Grouped = dict[tuple[bytes, int], list[Frame]]  # by the owner's key and the type


class Section:
    """The RRsets of one section by owner and type. Each is read when it is first asked for: many never are."""

    __slots__ = ("_grouped", "_names", "_read", "_signatures")

    def __init__(self, grouped: _Grouped, names: Names, signatures: _Grouped) -> None:
        self._grouped = grouped
        self._names = names
        self._signatures = signatures
        self._read: dict[tuple[bytes, int], SignedRRset] = {}

    def __bool__(self) -> bool:
        return bool(self._grouped)

    def find(self, name: dns.name.Name, rdtype: RdataType) -> SignedRRset | None:
        """The RRset, if it is there."""
        if not self._grouped:
            return None
        key = (name.key if type(name) is KnownName else name.to_digestable()), rdtype
        frames = self._grouped.get(key)
        if frames is None:
            return None
        found = self._read.get(key)
        if found is None:
            rrset = _rrset(name, rdtype, frames, self._names)
            signatures = self._signatures.get(key)
            found = SignedRRset(rrset, () if signatures is None else _signatures(signatures, self._names))
            self._read[key] = found
        return found

    def __getitem__(self, key: tuple[dns.name.Name, RdataType]) -> SignedRRset:
        """The RRset, which must be there."""
        found = self.find(*key)
        if found is None:
            raise KeyError(key)
        return found

    def has(self, name: dns.name.Name, rdtype: RdataType) -> bool:
        """Whether the RRset is there."""
        return (name.to_digestable(), rdtype) in self._grouped

    def keys(self, *rdtypes: RdataType) -> list[tuple[KnownName, RdataType]]:
        """Owner and type of the RRsets of some types, in the order in which they came."""
        found = []
        for (_, kind), frames in self._grouped.items():
            if kind in rdtypes:
                found.append((frames[0].owner, kind_of(kind)))
        return found

    def soa_limits(self, owner: KnownName) -> tuple[int, int]:
        """The least minimum of an owner's SOA records, as far as they can be read (else 0), and their least TTL."""
        frames = self._grouped.get((owner.key, RdataType.SOA), [])
        minima, ttls = [], []
        for frame in frames:
            ttls.append(frame.ttl)
            minimum = soa_minimum(self._names, frame.start, frame.end)
            if minimum is not None:
                minima.append(minimum)
        return min(minima, default=0), min(ttls, default=0)

    def rrsets(self) -> tuple[SignedRRset, ...]:
        """All RRsets, in the order in which they came."""
        found = [self.find(frames[0].owner, kind_of(kind)) for (_, kind), frames in self._grouped.items()]
        return tuple([each for each in found if each is not None])


@frozen_dataclass(frozen=True, slots=True)
class DNSReply:
    """A reply that answers its question: response code, answer and authority by owner and type."""

    rcode: dns.rcode.Rcode
    answer: Section
    authority: Section
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
    name = question.name.to_wire() or b""  # never None without a file to write to
    return message_id.to_bytes(2, "big") + _HEAD + name + question.rdtype.to_bytes(2, "big") + _TAIL


def truncated(wire: bytes) -> bool:
    """Whether the TC bit is set: the whole answer is to be had over TCP."""
    return len(wire) > 2 and bool(wire[2] & 0x02)


def read_reply(wire: bytes, question: Question, message_id: int) -> DNSReply | Fault:
    """Read a reply; what does not answer exactly this query, or is not whole, is a Fault. AD is ignored."""
    if len(wire) > MAX_MESSAGE_OCTETS:
        return Fault(FailureKind.MALFORMED, f"the reply is longer than {MAX_MESSAGE_OCTETS} octets")
    try:
        frames = read_frames(wire, question.name if type(question.name) is KnownName else None)
    except Unreadable as error:
        return Fault(FailureKind.MALFORMED, f"the reply cannot be parsed: {error}")
    wrong = _mismatch(frames, question, message_id)
    if wrong:
        return Fault(FailureKind.MALFORMED, f"the reply does not match the query: {wrong}")
    if frames.rcode not in (_NOERROR, _NXDOMAIN):
        text = dns.rcode.to_text(dns.rcode.Rcode.make(frames.rcode))
        return Fault(FailureKind.SERVFAIL, f"the upstream answered {text} for {question}", frames.ede)
    answer, authority, signatures = _grouped(frames, *_wanted(question.rdtype))
    return DNSReply(
        _NXDOMAIN if frames.rcode else _NOERROR,
        Section(answer, frames.names, signatures),
        Section(authority, frames.names, signatures),
        len(wire),
        frames.ede,
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


@functools.lru_cache(1024)  # types that are used are far fewer
def _wanted(rdtype: RdataType) -> tuple[frozenset[RdataType], frozenset[RdataType]]:
    """The types that are wanted of an answer, and those whose signatures are."""
    answered = _ALIASES | {rdtype}
    return answered, answered | _DENIALS


def _grouped(
    frames: Frames, answered: frozenset[RdataType], signed: frozenset[RdataType]
) -> tuple[_Grouped, _Grouped, _Grouped]:
    """The records that are wanted by owner and type: answers, denials, and the signatures over both.

    Signatures are taken from whatever section a server put them into: each proves itself or nothing.
    """
    answer: _Grouped = {}
    authority: _Grouped = {}
    signatures: _Grouped = {}
    wire = frames.names.wire
    if frames.answer:  # mostly, one of the three has any
        _group(frames.answer, answered, answer, signed, signatures, wire)
    if frames.authority:
        _group(frames.authority, _DENIALS, authority, signed, signatures, wire)
    if frames.additional:
        _group(frames.additional, _NOTHING, {}, signed, signatures, wire)
    return answer, authority, signatures


def _group(
    section: Sequence[Frame],
    wanted: frozenset[RdataType],
    grouped: _Grouped,
    signed: frozenset[RdataType],
    signatures: _Grouped,
    wire: bytes,
) -> None:
    for frame in section:
        if frame.rdclass != _IN:
            continue
        if frame.rdtype in wanted:
            grouped.setdefault((frame.owner.key, frame.rdtype), []).append(frame)
        if frame.rdtype == _RRSIG:
            covered = int.from_bytes(wire[frame.start : min(frame.start + 2, frame.end)], "big")
            if covered in signed:
                signatures.setdefault((frame.owner.key, covered), []).append(frame)


def _signatures(frames: Sequence[Frame], names: Names) -> tuple[RRSIG, ...]:
    """The signatures that can be read, each once."""
    found: dict[bytes, RRSIG] = {}
    for frame in frames:
        record, canonical = read_rdata(names, _RRSIG, frame.start, frame.end)
        if isinstance(record, RRSIG):
            found[canonical] = record
    return tuple(found.values())


def _rrset(name: dns.name.Name, rdtype: RdataType, frames: Sequence[Frame], names: Names) -> RRset:
    """One RRset: records that are the same count once, and the lowest TTL holds (RFC 2181 section 5)."""
    if len(frames) == 1:  # as mostly
        [first] = frames
        record, canonical = read_rdata(names, rdtype, first.start, first.end)
        return RRset(name, rdtype, first.ttl, (record,), (canonical,))
    records: dict[bytes, Rdata] = {}
    for frame in frames:
        record, canonical = read_rdata(names, rdtype, frame.start, frame.end)
        records.setdefault(canonical, record)
    ttl = min([frame.ttl for frame in frames])
    return RRset(name, rdtype, ttl, tuple(records.values()), tuple(sorted(records)))
