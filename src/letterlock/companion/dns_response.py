"""Responses to queries as wire: an answer with its signatures, a failure with its extended error (RFC 8914)."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.flags
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from letterlock.companion.dns_query import HEADER, BadQuery, Edns, Query
from letterlock.mail.printable import printable
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure
from letterlock.resolver.dns_message import EDNS_PAYLOAD, DNSReply
from letterlock.resolver.rdata import SignedRRset, record_octets

MAX_MESSAGE_OCTETS = 65_535  # the length field over TCP has 16 bits
_RR = struct.Struct("!HHIH")
_OPTION = struct.Struct("!2H")
_OPT = struct.Struct("!BHHBBHH")
_TTL_AT = 4  # within _RR
_QNAME = b"\xc0\x0c"  # a pointer to the name in the question
_COOKIE, _EDE = 10, 15  # RFC 7873 section 4, RFC 8914 section 2
_MAX_EXTRA_TEXT = 120  # chosen: a sentence, and the message stays small
_IN = dns.rdataclass.IN
_PROOF_TYPES = frozenset({dns.rdatatype.NSEC, dns.rdatatype.NSEC3})
_EDE_OF: dict[FailureKind, int] = {
    FailureKind.BOGUS: 6,
    FailureKind.TIMEOUT: 22,  # no reachable authority
    FailureKind.NO_UPSTREAM: 23,  # network error
    FailureKind.SERVFAIL: 22,
    FailureKind.MALFORMED: 24,  # invalid data
    FailureKind.BUDGET: 0,  # other; the text says which limit
}
NOT_SUPPORTED, PROHIBITED, BUSY = 21, 18, 0
"""RFC 8914 sections 4.22 and 4.19; no code is for a server with too much to do."""


@dataclass(frozen=True, slots=True)
class Extended:
    """An extended DNS error."""

    code: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """A response without its id, the client's spelling of the question, and OPT; TTLs are patched into it.

    `records` follows the question. `ttl_offsets` are counted from the start of `records`.
    """

    rcode: int
    secure: bool
    answers: int
    authorities: int
    records: bytes
    ttl_offsets: tuple[int, ...]
    error: Extended | None = None

    def aged(self, ttl: int) -> bytes:
        """The records with another TTL."""
        wire = bytearray(self.records)
        for at in self.ttl_offsets:
            wire[at : at + 4] = ttl.to_bytes(4, "big")
        return bytes(wire)


def answer_body(answer: Answer, name: bytes, *, do: bool) -> Body:
    """The body for a validated answer. All its records get the TTL of the whole."""
    sections = answer.sections
    given = sections.answer if sections is not None else ()
    proofs = sections.authority if sections is not None else ()
    rcode = dns.rcode.NXDOMAIN if answer.absence is Absence.NXDOMAIN else dns.rcode.NOERROR
    return _body(rcode, given, proofs, name, answer.ttl, do=do, secure=answer.secure)


def unvalidated_body(reply: DNSReply, name: bytes, *, do: bool) -> Body:
    """The body for what the upstream said, for a client that checks it itself."""
    answer, authority = reply.answer.rrsets(), reply.authority.rrsets()
    ttl = min((each.rrset.ttl for each in (*answer, *authority)), default=0)
    return _body(reply.rcode, answer, authority, name, ttl, do=do, secure=False)


def failure_body(failure: LookupFailure) -> Body:
    """SERVFAIL, and why."""
    code = failure.ede if failure.ede is not None else _EDE_OF[failure.kind]
    return error_body(dns.rcode.SERVFAIL, Extended(code, failure.detail))


def error_body(rcode: int, error: Extended | None = None) -> Body:
    """A body without records."""
    return Body(rcode, secure=False, answers=0, authorities=0, records=b"", ttl_offsets=(), error=error)


def _body(
    rcode: int,
    given: Sequence[SignedRRset],
    proofs: Iterable[SignedRRset],
    name: bytes,
    ttl: int,
    *,
    do: bool,
    secure: bool,
) -> Body:
    wire, offsets = bytearray(), list[int]()
    answers = _write(wire, offsets, given, name, ttl, do=do)
    authority = [each for each in proofs if do or each.rdtype not in _PROOF_TYPES]
    authorities = _write(wire, offsets, authority, name, ttl, do=do)
    return Body(rcode, secure, answers, authorities, bytes(wire), tuple(offsets))


def _write(
    wire: bytearray, offsets: list[int], rrsets: Iterable[SignedRRset], name: bytes, ttl: int, *, do: bool
) -> int:
    count = 0
    for signed in rrsets:
        owner = signed.name.to_wire() or b""  # never None without a file to write to
        owner = _QNAME if owner.lower() == name else owner
        records = [(signed.rdtype, record_octets(each)) for each in signed.rrset]
        if do:
            records += [(dns.rdatatype.RRSIG, record_octets(each)) for each in signed.signatures]
        for rdtype, data in records:
            wire += owner
            offsets.append(len(wire) + _TTL_AT)
            wire += _RR.pack(rdtype, _IN, ttl, len(data)) + data
        count += len(records)
    return count


def response(query: Query, body: Body, records: bytes, most: int, cookie: bytes | None) -> bytes:
    """The whole message; more than `most` octets are cut to a header with TC, question and OPT (RFC 2181 section 9)."""
    opt = _opt(query.edns, body.rcode, cookie, body.error)
    size = HEADER.size + len(query.question) + len(records) + len(opt)
    flags = _flags(query.flags, body.rcode)
    if body.secure and query.wants_ad:
        flags |= dns.flags.AD
    if size <= most:
        header = HEADER.pack(query.message_id, flags, 1, body.answers, body.authorities, bool(opt))
        return header + query.question + records + opt
    opt = _opt(query.edns, body.rcode, cookie, None)
    flags = (flags | dns.flags.TC) & ~dns.flags.AD
    return HEADER.pack(query.message_id, flags, 1, 0, 0, bool(opt)) + query.question + opt


def refusal(query: Query | BadQuery, rcode: int, cookie: bytes | None = None) -> bytes:
    """An error without more than the question: never longer than the query by more than an OPT record."""
    opt = _opt(query.edns, rcode, cookie, None)
    flags = _flags(query.flags, rcode)
    header = HEADER.pack(query.message_id, flags, bool(query.question), 0, 0, bool(opt))
    return header + query.question + opt


def truncated_response(query: Query, cookie: bytes | None) -> bytes:
    """Ask again over TCP, which proves where the client is."""
    opt = _opt(query.edns, dns.rcode.NOERROR, cookie, None)
    flags = _flags(query.flags, dns.rcode.NOERROR) | dns.flags.TC
    return HEADER.pack(query.message_id, flags, 1, 0, 0, bool(opt)) + query.question + opt


def _flags(asked: int, rcode: int) -> int:
    """QR and RA; the client's RD, CD and opcode; the low bits of the response code."""
    kept = asked & (dns.flags.RD | dns.flags.CD | 0x7800)
    return int(dns.flags.QR) | int(dns.flags.RA) | kept | (rcode & 0xF)


def _opt(edns: Edns | None, rcode: int, cookie: bytes | None, error: Extended | None) -> bytes:
    """Our OPT record; none for a client without EDNS (RFC 6891 section 6.1.1)."""
    if edns is None:
        return b""
    options = b"" if cookie is None else _OPTION.pack(_COOKIE, len(cookie)) + cookie
    if error is not None:
        text = printable(error.text)[:_MAX_EXTRA_TEXT].encode()
        options += _OPTION.pack(_EDE, 2 + len(text)) + error.code.to_bytes(2, "big") + text
    flags = int(dns.flags.DO) if edns.do else 0
    opt = _OPT.pack(0, dns.rdatatype.OPT, EDNS_PAYLOAD, rcode >> 4, 0, flags, len(options))
    return opt + options
