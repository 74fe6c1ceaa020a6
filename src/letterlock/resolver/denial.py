"""Authenticated denial of existence: what a set of NSEC or NSEC3 records proves (RFC 4035 5.4, RFC 5155 8, RFC 6840 4).

Every record here has been validated as the zone's own before. The functions say what is proven, or None: a proof that
is not complete proves nothing.
"""

import base64
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.answer import Absence, Security
from letterlock.resolver.budget import Spending
from letterlock.resolver.known_names import KnownName, ancestor, as_known, known

SHA1 = 1  # the only hash algorithm of NSEC3 (RFC 5155 section 11)
OPT_OUT = 0x01  # the only flag of an NSEC3 record (RFC 5155 section 3.1.2.1)
CHEAP_ITERATIONS = 10  # chosen: RFC 9276 section 3.1 asks for 0; up to this, hashing many names costs little
_LETTERS = b"0123456789abcdefghijklmnopqrstuv"
_TO_BASE32HEX = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _LETTERS)
_PAIRS = [bytes((one, other)) for one in _LETTERS for other in _LETTERS]  # of each ten bits
_NS, _SOA, _DS = dns.rdatatype.NS, dns.rdatatype.SOA, dns.rdatatype.DS
_CNAME, _DNAME = dns.rdatatype.CNAME, dns.rdatatype.DNAME


Denying = tuple[tuple[dns.name.Name, dns.name.Name] | tuple[bytes, bool], ...]
"""The records of a denial, for its text: owner and next name of NSEC; of NSEC3 the hash, and whether it opts out."""


@frozen_dataclass(frozen=True, slots=True)
class Denied:
    """A proven absence, how secure it is (INSECURE: only up to an opt-out span), and by which records.

    `delegation`: the name is a zone cut without DS. `empty`: the name exists and has no data at all.
    """

    absence: Absence
    security: Security
    by: Denying
    delegation: bool = False


@frozen_dataclass(frozen=True, slots=True)
class _Hashed:
    """One NSEC3 record: the hash of its owner name and of the next one, in base32hex as an owner has it."""

    hash: bytes
    end: bytes
    record: NSEC3


@dataclass(slots=True)
class Denials:
    """The validated NSEC and NSEC3 records of one zone, out of one reply."""

    zone: dns.name.Name
    nsec: list[tuple[dns.name.Name, NSEC]] = field(default_factory=list)
    nsec3: list[_Hashed] = field(default_factory=list)
    too_many_iterations: int = 0

    def add(self, owner: dns.name.Name, record: NSEC | NSEC3, max_iterations: int) -> None:
        """Take a validated record in; an NSEC3 record that may not be used is passed over (RFC 5155 8.1, 8.2)."""
        if isinstance(record, NSEC):
            if owner.is_subdomain(self.zone) and record.next.is_subdomain(self.zone):
                self.nsec.append((owner, record))
            return
        if record.algorithm != SHA1 or record.flags & ~OPT_OUT or len(owner.labels) != len(self.zone.labels) + 1:
            return
        if record.iterations > max_iterations:
            self.too_many_iterations = max(self.too_many_iterations, record.iterations)
            return
        if not self.nsec3 or _parameters(self.nsec3[0].record) == _parameters(record):
            end = base32hex(record.next)
            self.nsec3.append(_Hashed(owner.labels[0].lower(), end, record))

    def __bool__(self) -> bool:
        return bool(self.nsec or self.nsec3)

    @property
    def cheap(self) -> bool:
        """Whether these records can be tried on many names without much hashing."""
        return not self.nsec3 or self.nsec3[0].record.iterations <= CHEAP_ITERATIONS


def by_nsec3(by: Denying) -> bool:
    """Whether it is NSEC3 records that deny."""
    return isinstance(by[0][0], bytes)


def text_of(by: Denying) -> str:
    """The records of a denial, in words."""
    return ", ".join(
        f"{owner.decode()} NSEC3{' opt-out' if other else ''}" if isinstance(owner, bytes) else f"{owner} NSEC {other}"
        for owner, other in by
    )


def _parameters(record: NSEC3) -> tuple[int, int, bytes]:
    return record.algorithm, record.iterations, record.salt


def has_type(record: NSEC | NSEC3, rdtype: dns.rdatatype.RdataType) -> bool:
    """Whether a type bit is set."""
    window, at = rdtype >> 8, rdtype >> 3 & 31
    for number, bitmap in record.windows:
        if number == window:
            return len(bitmap) > at and bool(bitmap[at] << (rdtype & 7) & 0x80)
    return False


def _parent_side(record: NSEC | NSEC3) -> bool:
    """Whether a record speaks of a delegation from above (RFC 6840 section 4.1)."""
    return has_type(record, _NS) and not has_type(record, _SOA)


def _denies_type(record: NSEC | NSEC3, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
    """Whether the record of this very name proves that it does not have the type."""
    if has_type(record, rdtype) or has_type(record, _CNAME):  # RFC 6840 section 4.3: an alias would have been followed
        return False
    if rdtype == _DS:  # the child's own record, with its SOA, says nothing of the parent's DS (RFC 6840 section 4.1)
        return not has_type(record, _SOA) or name == dns.name.root
    return not _parent_side(record)


def deny_type(
    denials: Denials, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, spending: Spending
) -> Denied | None:
    """Prove NODATA for a name and type, by the name's own record, an empty non-terminal, or a wildcard."""
    return _nsec_nodata(denials, name, rdtype) or _nsec3_nodata(denials, name, rdtype, spending)


def deny_name(denials: Denials, name: dns.name.Name, spending: Spending) -> Denied | None:
    """Prove NXDOMAIN: neither the name nor a wildcard that would match it exists."""
    return _nsec_nxdomain(denials, name) or _nsec3_nxdomain(denials, name, spending)


def deny_closer(denials: Denials, name: dns.name.Name, encloser: dns.name.Name, spending: Spending) -> Denied | None:
    """Prove that a wildcard below `encloser` was the best match for a name (RFC 4035 5.3.4, RFC 5155 8.8)."""
    for owner, record in denials.nsec:
        if _covers(owner, record, name, denials.zone) and _closest_encloser(owner, record, name) == encloser:
            return Denied(Absence.NXDOMAIN, Security.SECURE, ((owner, record.next),))
    covering = _covering(denials, ancestor(name, len(encloser.labels) + 1), spending)
    if covering is None:
        return None
    return Denied(Absence.NXDOMAIN, _opt_out_security(covering), _by_hashes(covering))


# --- NSEC ------------------------------------------------------------------------------------------------------------


def _covers(owner: dns.name.Name, record: NSEC, name: dns.name.Name, zone: dns.name.Name) -> bool:
    """Whether a name that may be denied by this record lies between its owner and the next name."""
    if not name.is_subdomain(zone) or name <= owner:
        return False
    if name.is_subdomain(owner) and (_parent_side(record) or has_type(record, _DNAME)):
        return False  # RFC 6840 section 4.1: below a delegation or a DNAME another zone, or other names, decide
    return bool(name < record.next or record.next == zone)


def _closest_encloser(owner: dns.name.Name, record: NSEC, name: dns.name.Name) -> dns.name.Name:
    """The longest ancestor that a covered name shares with the names at both ends of the span: it exists."""
    shared = max(_shared_labels(name, owner), _shared_labels(name, record.next))
    return ancestor(name, shared)


def _shared_labels(one: dns.name.Name, other: dns.name.Name) -> int:
    return one.fullcompare(other)[2]


def _nsec_nodata(denials: Denials, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Denied | None:
    for owner, record in denials.nsec:
        if owner == name:
            if not _denies_type(record, name, rdtype):
                return None  # the name's own record counts, and no other
            cut = _parent_side(record)
            return Denied(Absence.NODATA, Security.SECURE, ((owner, record.next),), delegation=cut)
        if _covers(owner, record, name, denials.zone):
            if record.next.is_subdomain(name):  # an empty non-terminal
                return Denied(Absence.NODATA, Security.SECURE, ((owner, record.next),))
            wildcard = _wildcard(_closest_encloser(owner, record, name))
            match = next((each for at, each in denials.nsec if at == wildcard), None)
            if wildcard and match and _denies_type(match, wildcard, rdtype) and not _parent_side(match):
                by = (owner, record.next), (wildcard, match.next)
                return Denied(Absence.NODATA, Security.SECURE, by)
    return None


def _nsec_nxdomain(denials: Denials, name: dns.name.Name) -> Denied | None:
    for owner, record in denials.nsec:
        if not _covers(owner, record, name, denials.zone) or record.next.is_subdomain(name):
            continue
        wildcard = _wildcard(_closest_encloser(owner, record, name))
        for at, other in denials.nsec:
            if wildcard and _covers(at, other, wildcard, denials.zone) and not other.next.is_subdomain(wildcard):
                first = owner, record.next
                by = (first,) if at == owner else (first, (at, other.next))
                return Denied(Absence.NXDOMAIN, Security.SECURE, by)
    return None


def _wildcard(encloser: dns.name.Name) -> dns.name.Name | None:
    """`*.encloser`, or None when that is too long to be a name, and so cannot exist."""
    try:
        return known((b"*", *encloser.labels))
    except dns.name.NameTooLong:  # RFC 4592 section 2.1.1: a name has 255 octets at most
        return None


# --- NSEC3 -----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)  # the names and records of the lookups at about the same time
def base32hex(octets: bytes) -> bytes:
    """Octets in base32hex, lower case (RFC 4648 section 7), two letters at a time where there is no padding."""
    if len(octets) % 5:
        return base64.b32encode(octets).translate(_TO_BASE32HEX)
    text = b""
    for at in range(0, len(octets), 5):
        bits = int.from_bytes(octets[at : at + 5], "big")
        text += _PAIRS[bits >> 30] + _PAIRS[bits >> 20 & 1023] + _PAIRS[bits >> 10 & 1023] + _PAIRS[bits & 1023]
    return text


def nsec3_hash(name: dns.name.Name, salt: bytes, iterations: int) -> bytes:
    """The hash of a name in base32hex, lower case (RFC 5155 section 5)."""
    digest = hashlib.sha1(name.to_digestable() + salt).digest()  # noqa: S324  # the protocol's hash, not ours to choose
    for _ in range(iterations):
        digest = hashlib.sha1(digest + salt).digest()  # noqa: S324
    return base32hex(digest)


def _hash(denials: Denials, name: dns.name.Name, spending: Spending) -> bytes:
    """The hash of a name as the zone makes it; paid for once in a lookup."""
    record = denials.nsec3[0].record
    key = (name.key if type(name) is KnownName else name.to_digestable()), record.salt, record.iterations
    hashed = spending.hashed.get(key)
    if hashed is None:
        spending.spend("hashes", record.iterations + 1)
        hashed = spending.hashed[key] = nsec3_hash(name, record.salt, record.iterations)
    return hashed


def _matching(denials: Denials, name: dns.name.Name, spending: Spending) -> _Hashed | None:
    hashed = _hash(denials, name, spending)
    for each in denials.nsec3:
        if each.hash == hashed:
            return each
    return None


def _covering(denials: Denials, name: dns.name.Name, spending: Spending) -> _Hashed | None:
    if not denials.nsec3:
        return None
    hashed = _hash(denials, name, spending)
    for each in denials.nsec3:
        if _span_holds(each, hashed):
            return each
    return None


def _span_holds(each: _Hashed, hashed: bytes) -> bool:
    if each.hash < each.end:
        return each.hash < hashed < each.end
    return hashed > each.hash or hashed < each.end  # the last record of the zone, or its only one


def _opt_out_security(covering: _Hashed) -> Security:
    return Security.INSECURE if covering.record.flags & OPT_OUT else Security.SECURE


def _by_hashes(*records: _Hashed) -> Denying:
    return tuple([(each.hash, bool(each.record.flags & OPT_OUT)) for each in records])


def _candidates(denials: Denials, name: dns.name.Name) -> Iterator[KnownName]:
    """The name and its ancestors down to the zone, longest first."""
    return reversed(as_known(name).lineage()[len(denials.zone.labels) - 1 :])


@frozen_dataclass(frozen=True, slots=True)
class _Encloser:
    name: dns.name.Name
    closest: _Hashed
    next_closer: _Hashed


def _prove_encloser(denials: Denials, name: dns.name.Name, spending: Spending) -> _Encloser | None:
    """The closest encloser proof (RFC 5155 section 8.3) for a name that itself has no record."""
    if not denials.nsec3 or not name.is_subdomain(denials.zone):
        return None
    for candidate in _candidates(denials, name):
        match = _matching(denials, candidate, spending)
        if match is None:
            continue
        if candidate == name or _parent_side(match.record) or has_type(match.record, _DNAME):
            return None  # the name exists, or is below a delegation or a DNAME (RFC 5155 section 8.3)
        covering = _covering(denials, ancestor(name, len(candidate.labels) + 1), spending)
        return _Encloser(candidate, match, covering) if covering else None
    return None


def _nsec3_nodata(
    denials: Denials, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, spending: Spending
) -> Denied | None:
    if not denials.nsec3 or not name.is_subdomain(denials.zone):
        return None
    match = _matching(denials, name, spending)
    if match is not None:
        if not _denies_type(match.record, name, rdtype):
            return None
        cut = _parent_side(match.record)
        return Denied(Absence.NODATA, Security.SECURE, _by_hashes(match), delegation=cut)
    proof = _prove_encloser(denials, name, spending)
    if proof is None:
        return None
    opted_out = _opt_out_security(proof.next_closer) is Security.INSECURE
    if opted_out and rdtype == _DS:  # RFC 5155 section 8.6: an unsigned delegation may be there, wildcard or not
        return Denied(Absence.NODATA, Security.INSECURE, _by_hashes(proof.next_closer), delegation=True)
    wildcard = _wildcard(proof.name)
    at_wildcard = _matching(denials, wildcard, spending) if wildcard else None
    if wildcard and at_wildcard:
        if not _denies_type(at_wildcard.record, wildcard, rdtype) or _parent_side(at_wildcard.record):
            return None
        by = _by_hashes(proof.next_closer, at_wildcard)
        return Denied(Absence.NODATA, _opt_out_security(proof.next_closer), by)
    if opted_out:  # RFC 5155 section 8.9
        return Denied(Absence.NODATA, Security.INSECURE, _by_hashes(proof.next_closer))
    return None


def _nsec3_nxdomain(denials: Denials, name: dns.name.Name, spending: Spending) -> Denied | None:
    proof = _prove_encloser(denials, name, spending)
    if proof is None:
        return None
    wildcard = _wildcard(proof.name)
    at_wildcard = _covering(denials, wildcard, spending) if wildcard else proof.closest
    if at_wildcard is None:
        return None
    by = _by_hashes(proof.closest, proof.next_closer, at_wildcard)
    return Denied(Absence.NXDOMAIN, _opt_out_security(proof.next_closer), by)
