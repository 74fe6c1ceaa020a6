"""A signed zone as it is published, whoever signed it, and what its authority answers from it.

The records come from a signer's output. Nothing is signed here and nothing is checked: an authority serves what it has.
"""

import base64
import bisect
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rrset import RRset

TTL = 300
_BASE32HEX = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")


def nsec3_hash(name: Name, salt: bytes, iterations: int) -> bytes:
    """The raw hash of a name (RFC 5155 section 5)."""
    digest = hashlib.sha1(name.to_digestable() + salt, usedforsecurity=False).digest()
    for _ in range(iterations):
        digest = hashlib.sha1(digest + salt, usedforsecurity=False).digest()
    return digest


def hash_label(digest: bytes) -> bytes:
    """A hash as the first label of an NSEC3 owner."""
    return base64.b32encode(digest).translate(_BASE32HEX)


def renamed(rrset: RRset, owner: Name) -> RRset:
    """The same records at another name."""
    return dns.rrset.from_rdata_list(owner, rrset.ttl, list(rrset))


def above(name: Name, stop: Name) -> Iterator[Name]:
    """The ancestors of a name, longest first, down to and with `stop`."""
    return (name.split(size)[1] for size in range(len(name) - 1, len(stop) - 1, -1))


@dataclass
class Content:
    """RRsets by name and type, and the signatures over them."""

    origin: Name
    sets: dict[Name, dict[RdataType, RRset]] = field(default_factory=dict)
    signatures: dict[tuple[Name, RdataType], list[RRSIG]] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str, origin: Name) -> "Content":
        """Read a signer's output."""
        zone = dns.zone.from_text(text, origin=origin, relativize=False, check_origin=False)
        content = cls(origin)
        for name, node in zone.nodes.items():
            for rdataset in node:
                for rdata in rdataset:
                    content.add(name, rdataset.ttl, rdata)
        return content

    def add(self, name: Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
        """Put a record in, signatures where they belong."""
        if isinstance(rdata, RRSIG):
            self.signatures.setdefault((name, rdata.type_covered), []).append(rdata)
            return
        held = self.sets.setdefault(name, {})
        if rdata.rdtype not in held:
            held[rdata.rdtype] = dns.rrset.RRset(name, dns.rdataclass.IN, rdata.rdtype)
        held[rdata.rdtype].add(rdata, ttl)

    # --- what is there ---

    @cached_property
    def cuts(self) -> frozenset[Name]:
        """The delegations."""
        return frozenset(name for name, held in self.sets.items() if RdataType.NS in held and name != self.origin)

    @cached_property
    def existing(self) -> frozenset[Name]:
        """Owner names and empty non-terminals, without glue and without NSEC3 owners."""
        owners = [
            name
            for name, held in self.sets.items()
            if set(held) != {RdataType.NSEC3} and not any(name != cut and name.is_subdomain(cut) for cut in self.cuts)
        ]
        return frozenset(each for name in owners for each in (name, *above(name, self.origin)))

    @cached_property
    def _nsec_owners(self) -> list[Name]:
        return sorted(name for name, held in self.sets.items() if RdataType.NSEC in held)

    @cached_property
    def _nsec3_owners(self) -> list[Name]:
        return sorted(name for name, held in self.sets.items() if RdataType.NSEC3 in held)

    @cached_property
    def _nsec3(self) -> NSEC3 | None:
        owner = next(iter(self._nsec3_owners), None)
        record = self.sets[owner][RdataType.NSEC3][0] if owner else None
        assert record is None or isinstance(record, NSEC3)
        return record

    def get(self, name: Name, rdtype: RdataType) -> list[RRset]:
        """An RRset with its signatures; empty when it is not there."""
        found = self.sets.get(name, {}).get(rdtype)
        if found is None:
            return []
        signatures = self.signatures.get((name, rdtype), [])
        return [found, *([dns.rrset.from_rdata_list(name, found.ttl, signatures)] if signatures else [])]

    def encloser(self, name: Name) -> Name:
        """The closest encloser: the longest ancestor, or the name itself, that exists."""
        return next(each for each in (name, *above(name, self.origin)) if each in self.existing)

    def wildcard(self, name: Name) -> Name | None:
        """The wildcard that a name which does not exist is made from."""
        wild = Name((b"*", *self.encloser(name).labels))
        return wild if wild in self.sets else None

    # --- denial ---

    def nsec_for(self, name: Name) -> list[RRset]:
        """The NSEC that matches or covers a name."""
        owners = self._nsec_owners
        return self.get(owners[bisect.bisect_right(owners, name) - 1], RdataType.NSEC) if owners else []

    def _hash_owner(self, name: Name) -> Name:
        assert self._nsec3 is not None
        digest = nsec3_hash(name, self._nsec3.salt, self._nsec3.iterations)
        return Name((hash_label(digest), *self.origin.labels))

    def nsec3_for(self, name: Name) -> list[RRset]:
        """The NSEC3 that matches or covers a name."""
        owners = self._nsec3_owners
        return self.get(owners[bisect.bisect_right(owners, self._hash_owner(name)) - 1], RdataType.NSEC3)

    def _provable(self, name: Name) -> Name:
        """The closest encloser that has an NSEC3 record: opt-out leaves some out."""
        owners = frozenset(self._nsec3_owners)
        ups = (name, *above(name, self.origin))
        return next((each for each in ups if self._hash_owner(each) in owners), self.origin)

    def deny(self, name: Name, *, exists: bool, wildcard: bool) -> list[RRset]:
        """SOA and proof of NODATA (`exists`), wildcard NODATA (`wildcard`) or NXDOMAIN."""
        soa = self.get(self.origin, RdataType.SOA)
        if self._nsec_owners:
            proof = self._by_nsec(name, exists=exists)
        elif self._nsec3 is not None:
            proof = self._by_nsec3(name, exists=exists)
        else:
            return soa
        return [*soa, *once(proof)]

    def deny_closer(self, name: Name) -> list[RRset]:
        """That nothing closer than the wildcard exists."""
        if self._nsec_owners:
            return self.nsec_for(name)
        if self._nsec3 is None:
            return []
        return self.nsec3_for(name.split(len(self.encloser(name)) + 1)[1])

    def _by_nsec(self, name: Name, *, exists: bool) -> list[RRset]:
        if exists:
            return self.nsec_for(name)
        return [*self.nsec_for(name), *self.nsec_for(Name((b"*", *self.encloser(name).labels)))]

    def _by_nsec3(self, name: Name, *, exists: bool) -> list[RRset]:
        provable = self._provable(name)
        if provable == name:
            return self.nsec3_for(name)
        closer = name.split(len(provable) + 1)[1]
        proof = [*self.nsec3_for(provable), *self.nsec3_for(closer)]
        return proof if exists else [*proof, *self.nsec3_for(Name((b"*", *provable.labels)))]


def once(rrsets: list[RRset]) -> list[RRset]:
    """Without repetitions."""
    return list({(each.name, each.rdtype, each.covers): each for each in rrsets}.values())
