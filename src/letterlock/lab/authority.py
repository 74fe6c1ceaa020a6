"""The holder of a zone's key: makes it, publishes its DS, signs with it (RFC 4034)."""

from dataclasses import dataclass

import dns.dnssec
import dns.name
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm, DSDigest
from dns.rdtypes.dnskeybase import Flag

HOUR = 3600  # in seconds
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Validity:
    """When a signature holds, in seconds since 1970."""

    inception: int
    expiration: int

    @classmethod
    def around(cls, now: float) -> "Validity":
        """From an hour ago, for clocks that are wrong, until in a month, for a lab that stays up."""
        return cls(int(now) - HOUR, int(now) + 30 * DAY)


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """One key that signs keys and zone alike, ECDSA P-256 with SHA-256 (RFC 6605)."""

    private: ec.EllipticCurvePrivateKey
    dnskey: dns.rdtypes.ANY.DNSKEY.DNSKEY

    @classmethod
    def make(cls) -> "ZoneKey":
        """A fresh key."""
        private = ec.generate_private_key(ec.SECP256R1())
        flags = Flag.ZONE | Flag.SEP
        return cls(private, dns.dnssec.make_dnskey(private.public_key(), Algorithm.ECDSAP256SHA256, flags))

    def ds(self, zone: dns.name.Name) -> dns.rdtypes.ANY.DS.DS:
        """What the parent publishes, or a validator trusts, of this key (RFC 4034 section 5)."""
        return dns.dnssec.make_ds(zone, self.dnskey, DSDigest.SHA256)

    def sign(self, rrset: dns.rrset.RRset, zone: dns.name.Name, validity: Validity) -> dns.rrset.RRset:
        """The RRSIG RRset over an RRset of the zone (RFC 4034 section 3)."""
        signature = dns.dnssec.sign(
            rrset, self.private, zone, self.dnskey, inception=validity.inception, expiration=validity.expiration
        )
        return dns.rrset.from_rdata(rrset.name, rrset.ttl, signature)
