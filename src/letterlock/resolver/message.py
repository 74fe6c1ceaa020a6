"""Queries as wire, and replies as signed RRsets. A reply is matched strictly to its query (RFC 5452)."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.resolver.answer import FailureKind, Question

EDNS_PAYLOAD = 1232
MAX_MESSAGE_OCTETS = 65_535
MAX_RECORDS = 250  # parsing more would hold up everybody else; nothing that mail needs comes near

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_EDNS = struct.pack("!BHHIH", 0, dns.rdatatype.OPT, EDNS_PAYLOAD, dns.flags.DO, 0)  # RFC 6891 section 6.1.2

Key = tuple[dns.name.Name, dns.rdatatype.RdataType]


@dataclass(frozen=True, slots=True)
class SignedRRset:
    """An RRset and the RRSIGs that came with it, nothing proven yet."""

    rrset: dns.rrset.RRset
    signatures: tuple[RRSIG, ...]

    @property
    def name(self) -> dns.name.Name:
        """The owner name."""
        return self.rrset.name

    @property
    def rdtype(self) -> dns.rdatatype.RdataType:
        """The type."""
        return self.rrset.rdtype


@dataclass(frozen=True, slots=True)
class Reply:
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


def read_reply(wire: bytes, question: Question, message_id: int) -> Reply | Fault:
    """Parse a reply; what does not answer exactly this query, or cannot be parsed, is a Fault. AD is ignored."""
    if len(wire) > MAX_MESSAGE_OCTETS:
        return Fault(FailureKind.MALFORMED, f"the reply is longer than {MAX_MESSAGE_OCTETS} octets")
    if len(wire) >= _HEADER.size and sum(_HEADER.unpack_from(wire)[3:]) > MAX_RECORDS:
        return Fault(FailureKind.MALFORMED, f"the reply has more than {MAX_RECORDS} records")
    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=False)
    except (dns.exception.DNSException, ValueError) as error:
        return Fault(FailureKind.MALFORMED, f"the reply cannot be parsed: {error!s}")
    wrong = _mismatch(message, question, message_id)
    if wrong:
        return Fault(FailureKind.MALFORMED, f"the reply does not match the query: {wrong}")
    return _accept(message, question, len(wire))


def _mismatch(message: dns.message.Message, question: Question, message_id: int) -> str | None:
    if message.id != message_id:
        return "another id"
    if not message.flags & dns.flags.QR or message.opcode() != dns.opcode.QUERY:
        return "not a response"
    if message.flags & dns.flags.TC:
        return "truncated"
    asked = [(each.name, each.rdtype, each.rdclass) for each in message.question]
    if asked != [(question.name, question.rdtype, dns.rdataclass.IN)]:
        return "another question"
    return None


def _accept(message: dns.message.Message, question: Question, octets: int) -> Reply | Fault:
    ede = next((int(option.code) for option in message.options if isinstance(option, dns.edns.EDEOption)), None)
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        text = dns.rcode.to_text(rcode)
        return Fault(FailureKind.SERVFAIL, f"the upstream answered {text} for {question}", ede)
    signatures = _signatures(message)
    return Reply(rcode, _signed(message.answer, signatures), _signed(message.authority, signatures), octets, ede)


def _signatures(message: dns.message.Message) -> dict[Key, dict[RRSIG, None]]:
    """All signatures, in whatever section a server put them: each proves itself or proves nothing."""
    found: dict[Key, dict[RRSIG, None]] = {}
    for rrset in (*message.answer, *message.authority, *message.additional):
        if rrset.rdtype == dns.rdatatype.RRSIG and rrset.rdclass == dns.rdataclass.IN:
            ours = {each: None for each in rrset if isinstance(each, RRSIG)}
            found.setdefault((rrset.name, rrset.covers), {}).update(ours)
    return found


def _signed(section: list[dns.rrset.RRset], signatures: Mapping[Key, Iterable[RRSIG]]) -> dict[Key, SignedRRset]:
    return {
        (rrset.name, rrset.rdtype): SignedRRset(rrset, tuple(signatures.get((rrset.name, rrset.rdtype), ())))
        for rrset in section
        if rrset.rdclass == dns.rdataclass.IN and rrset.rdtype != dns.rdatatype.RRSIG and len(rrset)
    }
