"""RDATA: as bytes, to check a signature over, and read as far as its type allows (RFC 3597, RFC 4034 section 6.2).

A record that cannot be read as what its type says stays as opaque bytes beside the others: it makes itself unusable,
and nobody else (RFC 6698 section 4.1, RFC 4035 section 5.2); and the signature over all of them still holds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdata import GenericRdata, Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.resolver.wire import Names, Unreadable

_IN = dns.rdataclass.IN
_NAME, _STRING = "name", "string"
_Layout = tuple[int | str, ...]

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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
    plain, canonical = _expanded(names, rdtype, start, end)
    try:
        return dns.rdata.from_wire(_IN, rdtype, plain, 0, len(plain)), canonical
    except (dns.exception.DNSException, ValueError):
        return GenericRdata(_IN, rdtype, plain), canonical


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
