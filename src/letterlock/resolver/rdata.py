"""RDATA: as bytes, to check a signature over, and read as far as its type allows (RFC 3597, RFC 4034 section 6.2).

A record that cannot be read as what its type says stays as opaque bytes beside the others: it makes itself unusable,
and nobody else (RFC 6698 section 4.1, RFC 4035 section 5.2); and the signature over all of them still holds.
"""

import functools
import re
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdata import GenericRdata, Rdata
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TLSA import TLSA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.dnskeybase import Flag
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.known_names import restore
from letterlock.resolver.wire import Names, Unreadable

_IN = dns.rdataclass.IN
_NAME, _STRING = "name", "string"
_Layout = tuple[int | str, ...]
_set = object.__setattr__  # as in known_names
_R = TypeVar("_R", bound=Rdata)

MAX_REMEMBERED = 1024  # records: some hundred zones' keys and denials, of one to two KB each
MAX_REMEMBERED_OCTETS = 2048  # of a record: the longest keys have a quarter of it; others of 64 KB would fill 64 MB
RRSIG_HEAD = struct.Struct("!HBBIIIH")  # RFC 4034 section 3.1
_NSEC3_HEAD = struct.Struct("!BBHB")  # RFC 5155 section 3.2
_MAX_BITMAP_OCTETS = 32  # RFC 4034 section 4.1.2: 256 types in a window
_WORDS = struct.Struct("!8H")  # an IPv6 address
_ZERO_WORDS = re.compile("(?::0){2,}")
_DS_HEAD = struct.Struct("!HBB")  # RFC 4034 section 5.1
_DS_OCTETS = {1: 4 + 20, 2: 4 + 32, 4: 4 + 48}  # by digest type; of others, dnspython decides
_KEY_HEAD = struct.Struct("!HBB")  # RFC 4034 section 2.1
_TLSA_OCTETS = {1: 3 + 32, 2: 3 + 64}  # by matching type: SHA-256 and SHA-512 (RFC 6698 section 2.1.3)
_SOA_NUMBERS = struct.Struct("!5I")  # RFC 1035 section 3.3.13

# Where names lie in RDATA: those of RFC 1035, which may be compressed, and those that a receiver should decompress all
# the same (RFC 3597 section 4, RFC 4034 sections 3.1.7 and 4.1.1). What follows the layout is taken as it is.
_LAYOUTS: dict[int, _Layout] = {
    **dict.fromkeys(
        (
            RdataType.NS, RdataType.MD, RdataType.MF, RdataType.CNAME, RdataType.MB, RdataType.MG, RdataType.MR,
            RdataType.PTR, RdataType.DNAME, RdataType.NSEC, RdataType.NXT,
        ),
        (_NAME,),
    ),
    **dict.fromkeys((RdataType.MINFO, RdataType.RP, RdataType.SOA), (_NAME, _NAME)),
    **dict.fromkeys((RdataType.MX, RdataType.AFSDB, RdataType.RT, RdataType.KX), (2, _NAME)),
    RdataType.PX: (2, _NAME, _NAME),
    RdataType.SRV: (6, _NAME),
    RdataType.NAPTR: (4, _STRING, _STRING, _STRING, _NAME),
    RdataType.RRSIG: (18, _NAME),
    RdataType.SIG: (18, _NAME),
}  # fmt: skip
_CASE_MATTERS = frozenset({RdataType.NSEC})  # RFC 6840 section 5.1: this one is not lower-cased to be signed


@frozen_dataclass(frozen=True, slots=True)
class RRset:
    """Records of one owner and type. `canonical` is their RDATA as it is signed, in order, each once."""

    name: dns.name.Name
    rdtype: RdataType
    ttl: int
    records: tuple[Rdata, ...]
    canonical: tuple[bytes, ...]

    @classmethod
    def of(cls, rrset: dns.rrset.RRset) -> "RRset":
        """The same as dnspython has it."""
        records = tuple(rrset)
        canonical = sorted({record.to_digestable(dns.name.root) for record in records})
        return cls(rrset.name, rrset.rdtype, rrset.ttl, records, tuple(canonical))

    def __iter__(self) -> Iterator[Rdata]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


@frozen_dataclass(frozen=True, slots=True)
class SignedRRset:
    """An RRset and the RRSIGs that came with it, nothing proven yet."""

    rrset: RRset
    signatures: tuple[RRSIG, ...]

    @property
    def name(self) -> dns.name.Name:
        """The owner name."""
        return self.rrset.name

    @property
    def rdtype(self) -> RdataType:
        """The type."""
        return self.rrset.rdtype


def read_rdata(names: Names, rdtype: RdataType, start: int, end: int) -> tuple[Rdata, bytes]:
    """A record's RDATA, read or opaque, and its canonical form."""
    reader = _READERS.get(rdtype)
    if reader is not None:
        try:
            read = reader(names, start, end)
        except (Unreadable, IndexError, struct.error):
            read = None
        if read is not None:
            return read
    plain, canonical = _expanded(names, rdtype, start, end)
    parsed = _parsed if len(plain) <= MAX_REMEMBERED_OCTETS else _parsed.__wrapped__
    return parsed(rdtype, plain), canonical


@functools.lru_cache(None)
def _algorithm(number: int) -> Algorithm:
    """A DNSSEC algorithm; there are 256."""
    return Algorithm.make(number)


@functools.lru_cache(None)  # there are 256
def _digest_type(number: int) -> DSDigest:
    return DSDigest.make(number)


@functools.lru_cache(64)  # flags that are used are four
def _key_flags(number: int) -> Flag:
    return Flag(number)


@functools.lru_cache(1024)  # types that are used are far fewer
def kind_of(rdtype: int) -> RdataType:
    """The type of a number."""
    return RdataType.make(rdtype)


def _built(kind: type[_R], rdtype: RdataType, **values: object) -> _R:
    """A record of values that are known to fit, as unpickling makes it: the constructor takes ten times as long."""
    record = kind.__new__(kind)
    _set(record, "rdclass", _IN)
    _set(record, "rdtype", rdtype)
    _set(record, "rdcomment", None)
    for field, value in values.items():
        _set(record, field, value)
    return record


def _rrsig(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    wire = names.wire
    signer, at = names.read(start + RRSIG_HEAD.size)
    if at > end:
        return None
    covered, algorithm, labels, ttl, expiration, inception, tag = RRSIG_HEAD.unpack_from(wire, start)
    record = _built(
        RRSIG,
        RdataType.RRSIG,
        type_covered=kind_of(covered),
        algorithm=_algorithm(algorithm),
        labels=labels,
        original_ttl=ttl,
        expiration=expiration,
        inception=inception,
        key_tag=tag,
        signer=signer,
        signature=wire[at:end],
    )
    return record, wire[start : start + RRSIG_HEAD.size] + signer.to_digestable() + wire[at:end]


def _mx(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    exchange, at = names.read(start + 2)
    if at != end:
        return None
    preference = names.wire[start : start + 2]
    record = _built(MX, RdataType.MX, preference=int.from_bytes(preference, "big"), exchange=exchange)
    return record, preference + exchange.to_digestable()


def _soa(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    mname, at = names.read(start)
    rname, at = names.read(at)
    if at + _SOA_NUMBERS.size != end:
        return None
    serial, refresh, retry, expire, minimum = _SOA_NUMBERS.unpack_from(names.wire, at)
    record = _built(
        SOA,
        RdataType.SOA,
        mname=mname,
        rname=rname,
        serial=serial,
        refresh=refresh,
        retry=retry,
        expire=expire,
        minimum=minimum,
    )
    return record, mname.to_digestable() + rname.to_digestable() + names.wire[at:end]


def soa_minimum(names: Names, start: int, end: int) -> int | None:
    """The last number of a SOA record, for which its names need not be made; None where it cannot be read."""
    try:
        numbers = names.after(names.after(start))
    except Unreadable:
        numbers = end  # as it is odd, the general way decides
    if numbers + _SOA_NUMBERS.size == end:
        return int.from_bytes(names.wire[end - 4 : end], "big")
    record, _ = read_rdata(names, RdataType.SOA, start, end)
    return record.minimum if isinstance(record, SOA) else None


def _a(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    octets = names.wire[start:end]
    if len(octets) != 4:
        return None
    return _built(A, RdataType.A, address=".".join(map(str, octets))), octets


def _aaaa(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    octets = names.wire[start:end]
    if len(octets) != _WORDS.size or not octets[0]:  # those that begin with zeros may have an IPv4 address in them
        return None
    text = ":%x:%x:%x:%x:%x:%x:%x:%x" % _WORDS.unpack(octets)  # noqa: UP031  # the quickest, for a tuple
    if zeros := _ZERO_WORDS.findall(text):  # RFC 5952 section 4.2: the longest, the first of equals
        head, _, tail = text.partition(max(zeros, key=len))
        text = f"{head}:{tail or ':'}"
    return _built(AAAA, RdataType.AAAA, address=text[1:]), octets


def _txt(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    wire, at = names.wire, start
    strings: list[bytes] = []
    while at < end:
        after = at + 1 + wire[at]
        strings.append(wire[at + 1 : after])
        at = after
    if at != end or not strings:
        return None
    return _built(TXT, RdataType.TXT, strings=tuple(strings)), wire[start:end]


def _tlsa(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    octets = names.wire[start:end]
    if len(octets) != _TLSA_OCTETS.get(octets[2]):
        return None
    usage, selector, mtype = octets[:3]
    return _built(TLSA, RdataType.TLSA, usage=usage, selector=selector, mtype=mtype, cert=octets[3:]), octets


def _ds(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    octets = names.wire[start:end]
    key_tag, algorithm, digest_type = _DS_HEAD.unpack_from(octets)
    if len(octets) != _DS_OCTETS.get(digest_type):
        return None
    record = _built(
        DS,
        RdataType.DS,
        key_tag=key_tag,
        algorithm=_algorithm(algorithm),
        digest_type=_digest_type(digest_type),
        digest=octets[_DS_HEAD.size :],
    )
    return record, octets


def _nsec(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    following, at = names.read(start)
    windows = _windows(names.wire, at, end)
    if windows is None:
        return None
    # RFC 6840 section 5.1: the name is not lower-cased to be signed
    canonical = (following.to_wire() or b"") + names.wire[at:end]
    return _built(NSEC, RdataType.NSEC, next=following, windows=windows), canonical


def _nsec3(names: Names, start: int, end: int) -> tuple[Rdata, bytes] | None:
    wire = names.wire
    algorithm, flags, iterations, salt_octets = _NSEC3_HEAD.unpack_from(wire, start)
    salt_end = start + _NSEC3_HEAD.size + salt_octets
    hash_start = salt_end + 1
    hash_end = hash_start + wire[salt_end]
    windows = _windows(wire, hash_end, end)
    if windows is None or hash_end == hash_start:
        return None
    record = _built(
        NSEC3,
        RdataType.NSEC3,
        algorithm=algorithm,
        flags=flags,
        iterations=iterations,
        salt=wire[start + _NSEC3_HEAD.size : salt_end],
        next=wire[hash_start:hash_end],
        windows=windows,
    )
    return record, wire[start:end]


def _windows(wire: bytes, at: int, end: int) -> tuple[tuple[int, bytes], ...] | None:
    """The bitmaps of types (RFC 4034 section 4.1.2); None where anything about them is odd."""
    windows: list[tuple[int, bytes]] = []
    while at < end:
        number, octets = wire[at], wire[at + 1]
        bitmap = wire[at + 2 : at + 2 + octets]
        at += 2 + octets
        if not 1 <= octets <= _MAX_BITMAP_OCTETS or at > end or not bitmap[-1]:
            return None
        if windows and number <= windows[-1][0]:
            return None
        windows.append((number, bitmap))
    return tuple(windows) if at == end else None


# What nearly every reply has. A record with anything odd about it is left to the general way, and to dnspython.
_READERS: dict[int, Callable[[Names, int, int], tuple[Rdata, bytes] | None]] = {
    RdataType.RRSIG: _rrsig,
    RdataType.MX: _mx,
    RdataType.SOA: _soa,
    RdataType.A: _a,
    RdataType.AAAA: _aaaa,
    RdataType.TXT: _txt,
    RdataType.TLSA: _tlsa,
    RdataType.DS: _ds,
    RdataType.NSEC: _nsec,
    RdataType.NSEC3: _nsec3,
}


@functools.lru_cache(MAX_REMEMBERED)
def _parsed(rdtype: RdataType, plain: bytes) -> Rdata:
    """RDATA without compression as a record. A zone's keys come with many replies."""
    if rdtype == RdataType.DNSKEY and len(plain) >= _KEY_HEAD.size:
        return _key(plain)
    try:
        record = dns.rdata.from_wire(_IN, rdtype, plain, 0, len(plain))
    except (dns.exception.DNSException, ValueError):
        return GenericRdata(_IN, rdtype, plain)
    return record


def _key(plain: bytes) -> "KnownKey":
    flags, protocol, algorithm = _KEY_HEAD.unpack_from(plain)
    return _built(
        KnownKey,
        RdataType.DNSKEY,
        flags=_key_flags(flags),
        protocol=protocol,
        algorithm=_algorithm(algorithm),
        key=plain[_KEY_HEAD.size :],
        _hash=hash(plain),
        tag=_key_tag(plain),
    )


def _key_tag(plain: bytes) -> int:
    """The key tag of a DNSKEY record's RDATA (RFC 4034 appendix B)."""
    if plain[3] == Algorithm.RSAMD5:
        return int.from_bytes(plain[-3:-1], "big")
    even = plain if len(plain) % 2 == 0 else plain + b"\0"
    total: int = sum(struct.unpack(f"!{len(even) // 2}H", even))
    return total + (total >> 16) & 0xFFFF


class KnownKey(DNSKEY):
    """A DNSKEY record that remembers its hash and its key tag (RFC 4034 appendix B)."""

    __slots__ = ("_hash", "tag")

    _hash: int
    tag: int

    def __init__(  # dnspython makes changed copies by the names of these
        self, rdclass: RdataClass, rdtype: RdataType, flags: int, protocol: int, algorithm: int, key: bytes
    ) -> None:
        super().__init__(rdclass, rdtype, flags, protocol, algorithm, key)  # type: ignore[no-untyped-call]  # theirs
        restore(self, {"_hash": hash(self.to_digestable()), "tag": self.key_id()})

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, DNSKEY) and self.to_digestable() == other.to_digestable())


def opaque(record: Rdata) -> bytes | None:
    """The RDATA of a record that could not be read as what its type says; None for one that could."""
    return record.data if isinstance(record, GenericRdata) else None


def record_octets(record: Rdata) -> bytes:
    """The RDATA of a record, whether it could be read or not."""
    octets = opaque(record)
    return octets if octets is not None else record.to_wire() or b""  # never None without a file to write to


def _expanded(names: Names, rdtype: RdataType, start: int, end: int) -> tuple[bytes, bytes]:
    """RDATA without compression, as it came and in canonical form; unreadable RDATA stays as it is in both."""
    raw, layout = names.wire[start:end], _LAYOUTS.get(rdtype)
    if layout is None:
        return raw, raw
    at, plain, canonical = start, b"", b""
    for part in layout:
        try:
            name, after = names.read(at) if part == _NAME else (None, at + _length(part, names.wire, at))
        except (Unreadable, IndexError):
            return raw, raw
        if after > end:
            return raw, raw
        octets = names.wire[at:after] if name is None else name.to_wire() or b""
        plain += octets
        canonical += octets if name is None or rdtype in _CASE_MATTERS else name.to_digestable()
        at = after
    return plain + names.wire[at:end], canonical + names.wire[at:end]


def _length(part: int | str, wire: bytes, at: int) -> int:
    return part if isinstance(part, int) else 1 + wire[at]
