"""Zones, signed or not, that can prove what is not there: by NSEC (RFC 4034, 4035) or by NSEC3 (RFC 5155).

A zone here has no glue (nobody in the lab follows delegations) and no wildcards. NSEC3 follows RFC 9276: no extra
iterations, no salt; opt-out is not used, so every insecure delegation has a matching record.
"""

import bisect
from collections.abc import Iterator
from enum import StrEnum

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdatatype import RdataType

from letterlock.lab.authority import Validity, ZoneKey

TTL = 300  # chosen: longer than any trial
_SHA1 = 1  # the only hash of NSEC3 (RFC 5155 section 11)
_WILDCARD = dns.name.from_text("*", None)


class Denial(StrEnum):
    """How a signed zone proves that something is not there."""

    NSEC = "nsec"
    NSEC3 = "nsec3"


class Zone:
    """One zone: add records and delegations, then `publish`, then ask.

    Without a key it is unsigned: its answers carry no signatures and its denials no proof.
    """

    def __init__(self, origin: str, *, key: ZoneKey | None = None, denial: Denial = Denial.NSEC) -> None:
        self.origin = dns.name.from_text(origin)
        self.key = key
        self.denial = denial
        self.rrsets: dict[dns.name.Name, dict[RdataType, dns.rrset.RRset]] = {}
        self._cuts: set[dns.name.Name] = set()
        self._signatures: dict[tuple[dns.name.Name, RdataType], dns.rrset.RRset] = {}
        self._chain: list[dns.name.Name] = []
        self._hashes: dict[dns.name.Name, dns.name.Name] = {}
        self._existing: set[dns.name.Name] = set()
        self._validity = Validity(0, 0)
        self.add(origin, "SOA", f"ns.nic.test. hostmaster.nic.test. 1 7200 3600 1209600 {TTL}")
        self.add(origin, "NS", "ns.nic.test.")

    def add(self, owner: str, rdtype: str, *rdata: str) -> None:
        """Add an RRset. Names are absolute, or relative to the zone."""
        name = dns.name.from_text(owner, self.origin)
        rrset = dns.rrset.from_text_list(
            name, TTL, dns.rdataclass.IN, rdtype, rdata, origin=self.origin, relativize=False
        )
        self.rrsets.setdefault(name, {})[rrset.rdtype] = rrset

    def delegate(self, child: "Zone") -> None:
        """Hand a name to a child zone: securely when the child has a key (RFC 4035 section 2.4)."""
        self._cuts.add(child.origin)
        self.add(child.origin.to_text(), "NS", "ns.nic.test.")
        if child.key:
            self.add(child.origin.to_text(), "DS", child.key.ds(child.origin).to_text())

    def publish(self, validity: Validity) -> None:
        """Make the chain of denial; signatures are made when they are asked for. Nothing may be added afterwards."""
        self._validity = validity
        self._existing = {ancestor for name in self.rrsets for ancestor in self._up(name)}
        if self.key is None:
            return
        self.add(self.origin.to_text(), "DNSKEY", self.key.dnskey.to_text())
        if self.denial is Denial.NSEC:
            self._link_names()
        else:
            self._link_hashes()

    # --- asking ------------------------------------------------------------------------------------------------------

    def rrset(self, name: dns.name.Name, rdtype: RdataType) -> dns.rrset.RRset | None:
        """The RRset, if there is one."""
        return self.rrsets.get(name, {}).get(rdtype)

    def exists(self, name: dns.name.Name) -> bool:
        """Whether the name is there, be it only as an empty non-terminal (RFC 4592 section 2.2.2)."""
        return name in self._existing

    def with_signature(self, rrset: dns.rrset.RRset) -> list[dns.rrset.RRset]:
        """The RRset, and its RRSIG RRset where it is signed."""
        key = (rrset.name, rrset.rdtype)
        if self.key is None or (rrset.name in self._cuts and rrset.rdtype not in (RdataType.DS, RdataType.NSEC)):
            return [rrset]
        if key not in self._signatures:
            self._signatures[key] = self.key.sign(rrset, self.origin, self._validity)
        return [rrset, self._signatures[key]]

    def deny(self, name: dns.name.Name) -> list[dns.rrset.RRset]:
        """The authority section that says that a name, or the type asked for, is not there, with its proof."""
        owners = [self.origin]
        section = self.with_signature(self.rrsets[self.origin][RdataType.SOA])
        if self.key is None:
            return section
        prove = self._nsec_proof if self.denial is Denial.NSEC else self._nsec3_proof
        for owner in prove(name):
            if owner not in owners[1:]:
                owners.append(owner)
                rdtype = RdataType.NSEC if self.denial is Denial.NSEC else RdataType.NSEC3
                section += self.with_signature(self.rrsets[owner][rdtype])
        return section

    def _nsec_proof(self, name: dns.name.Name) -> Iterator[dns.name.Name]:
        """Owners of the NSEC records: RFC 4035 section 3.1.3.1 (no data), 3.1.3.2 (no name)."""
        yield self._at_or_before(name)
        if not self.exists(name):
            encloser, _ = self._closest(name)
            yield self._at_or_before(_WILDCARD.concatenate(encloser))

    def _nsec3_proof(self, name: dns.name.Name) -> Iterator[dns.name.Name]:
        """Owners of the NSEC3 records: RFC 5155 section 7.2.3 (no data), 7.2.2 (no name)."""
        if self.exists(name):
            yield self._hashes[name]
            return
        encloser, next_closer = self._closest(name)
        yield self._hashes[encloser]
        yield self._at_or_before(self._hashed(next_closer))
        yield self._at_or_before(self._hashed(_WILDCARD.concatenate(encloser)))

    def _closest(self, name: dns.name.Name) -> tuple[dns.name.Name, dns.name.Name]:
        """The closest encloser of a name that is not there, and the next closer name (RFC 5155 section 1.3)."""
        next_closer = name
        while not self.exists(next_closer.parent()):
            next_closer = next_closer.parent()
        return next_closer.parent(), next_closer

    def _at_or_before(self, name: dns.name.Name) -> dns.name.Name:
        """The owner in the chain that is, or comes last before, the name; the last of all comes before the first."""
        return self._chain[bisect.bisect_right(self._chain, name) - 1]

    # --- chaining ----------------------------------------------------------------------------------------------------

    def _up(self, name: dns.name.Name) -> Iterator[dns.name.Name]:
        while name != self.origin:
            yield name
            name = name.parent()
        yield name

    def _link_names(self) -> None:
        self._chain = sorted(self.rrsets)
        for owner, following in zip(self._chain, self._chain[1:] + self._chain[:1], strict=True):
            types = " ".join(rdtype.name for rdtype in self.rrsets[owner])
            self.add(owner.to_text(), "NSEC", f"{following} {types} RRSIG NSEC")

    def _link_hashes(self) -> None:
        self.add(self.origin.to_text(), "NSEC3PARAM", "1 0 0 -")
        types = {name: self._types_for_nsec3(name) for name in self._existing}
        self._hashes = {name: self._hashed(name) for name in self._existing}
        self._chain = sorted(self._hashes.values())
        following = dict(zip(self._chain, self._chain[1:] + self._chain[:1], strict=True))
        for name, owner in self._hashes.items():
            digest = following[owner].labels[0].decode()
            self.add(owner.to_text(), "NSEC3", f"1 0 0 - {digest} {types[name]}")

    def _types_for_nsec3(self, name: dns.name.Name) -> str:
        """The types at a name; RRSIG only where something is signed (RFC 5155 section 7.1)."""
        types = [rdtype.name for rdtype in self.rrsets.get(name, {})]
        unsigned = not types or (name in self._cuts and "DS" not in types)
        return " ".join(types if unsigned else [*types, "RRSIG"])

    def _hashed(self, name: dns.name.Name) -> dns.name.Name:
        label = dns.dnssec.nsec3_hash(name, None, 0, _SHA1).lower()
        return dns.name.from_text(label, self.origin)
