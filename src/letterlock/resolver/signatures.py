"""One RRset, its signatures and a zone's keys: does a signature hold? (RFC 4035 section 5.3, RFC 4034)

Everything that `dns.dnssec.validate` leaves open is here: the signer must be the zone that is being proven, the clock
is an argument, colliding key tags and failing signatures are counted, keys must be zone keys and not revoked.
"""

import functools
from collections.abc import Sequence

import cryptography.exceptions
import dns.dnssec
import dns.dnssecalgs
import dns.dnssectypes
import dns.exception
import dns.name
import dns.rdatatype
from dns.dnssecalgs.base import GenericPublicKey
from dns.rdata import Rdata
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.frozen import frozen_dataclass
from letterlock.resolver.budget import OutOfBudget, Spending
from letterlock.resolver.known_names import known
from letterlock.resolver.number_names import algorithm_name, type_name, utc
from letterlock.resolver.rdata import RRSIG_HEAD, KnownKey, SignedRRset, opaque

ALGORITHMS = frozenset({5, 7, 8, 10, 13, 14, 15, 16})
SHA1_ALGORITHMS = frozenset({5, 7})  # accepted by default: treating them as insecure would let TLSA records vanish
DIGESTS = frozenset({1, 2, 4})  # SHA-1, SHA-256 and SHA-384 (registry of DS digest types)
MAX_RSA_OCTETS = 520  # 4096 bits and the exponent: verification of larger ones is a way to make us work
DS_HEAD_OCTETS = 4  # key tag, algorithm, digest type (RFC 4034 section 5.1)
_PROTOCOL = 3  # the only one (RFC 4034 section 2.1.2)
ZONE_KEY, REVOKED = 0x0100, 0x0080  # flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011 section 7)
# Chosen: key, signature and data of an RRset of some ten records. With a whole reply in each, those that are remembered
# would take 256 MB.
MAX_CHECKED_OCTETS = 4096
# Half of the 32-bit number space: the farthest that serial numbers compare (RFC 1982 section 3.2).
_SERIAL_HALF = 1 << 31


@frozen_dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds, the key that made it, and the wildcard owner if the RRset was expanded from one."""

    signature: RRSIG
    key: DNSKEY
    wildcard: dns.name.Name | None


@frozen_dataclass(frozen=True, slots=True)
class Unverified:
    """No signature holds. `ede` is the extended error that fits best (RFC 8914), `detail` a sentence."""

    ede: int
    detail: str


def serial_before(one: int, other: int) -> bool:
    """Whether the 32-bit time `one` is before the `other` by serial arithmetic (RFC 4034 section 3.1.5, RFC 1982)."""
    return one != other and (other - one) % (1 << 32) < _SERIAL_HALF


def key_tag(key: DNSKEY) -> int:
    """The key tag (RFC 4034 appendix B)."""
    return key.tag if isinstance(key, KnownKey) else key.key_id()


@functools.lru_cache(maxsize=1024)  # zones whose names are looked up at about the same time
def usable_keys(keys: tuple[DNSKEY, ...], algorithms: frozenset[int]) -> tuple[DNSKEY, ...]:
    """Zone keys of a supported algorithm that are not revoked (RFC 4034 section 2.1, RFC 5011 section 2.1)."""
    return tuple(
        key
        for key in keys
        if key.protocol == _PROTOCOL
        and key.flags & ZONE_KEY
        and not key.flags & REVOKED
        and key.algorithm in algorithms
    )


def verify(
    signed: SignedRRset,
    zone: dns.name.Name,
    keys: Sequence[DNSKEY],
    now: float,
    spending: Spending,
) -> Verified | Unverified:
    """Find one signature by one of the zone's keys that holds; any one is enough (RFC 6840 section 5.4).

    Raises OutOfBudget.
    """
    last: Unverified | None = None
    tried, most = 0, spending.budget.signatures_per_rrset
    for signature in signed.signatures:
        if signature.signer is not zone and signature.signer != zone:
            continue
        if tried >= most:
            raise OutOfBudget("signatures_per_rrset", most)
        tried += 1
        unfit = _unfit(signed, signature, now)
        if unfit:
            last = unfit
            continue
        result = _try_keys(signed, signature, keys, spending)
        if isinstance(result, Verified):
            return result
        last = result
    return last or Unverified(10, f"{_rrset(signed)} has no signature by {zone}")


def _rrset(signed: SignedRRset) -> str:
    return f"{signed.rrset.name} {type_name(signed.rrset.rdtype)}"


def _unfit(signed: SignedRRset, signature: RRSIG, now: float) -> Unverified | None:
    """Why a signature cannot be for this RRset at this time (RFC 4035 section 5.3.1)."""
    moment = int(now) % (1 << 32)
    labels = signed.rrset.name.labels
    owner_labels = len(labels) - 1 - (labels[0] == b"*")
    if signature.type_covered != signed.rrset.rdtype or not signed.rrset.name.is_subdomain(signature.signer):
        return Unverified(6, f"the signature over {_rrset(signed)} is for something else")
    if signature.labels > owner_labels or signature.labels < len(signature.signer.labels) - 1:
        return Unverified(6, f"the signature over {_rrset(signed)} counts {signature.labels} labels")
    if serial_before(signature.expiration, moment):
        return Unverified(7, f"the signature over {_rrset(signed)} expired at {utc(signature.expiration)}")
    if serial_before(moment, signature.inception):
        return Unverified(8, f"the signature over {_rrset(signed)} is not valid before {utc(signature.inception)}")
    return None


def _try_keys(
    signed: SignedRRset, signature: RRSIG, keys: Sequence[DNSKEY], spending: Spending
) -> Verified | Unverified:
    candidates = [key for key in keys if key.algorithm == signature.algorithm and key_tag(key) == signature.key_tag]
    if not candidates:
        return Unverified(9, f"{_rrset(signed)} is signed by the {_signer(signature)}, which the zone does not have")
    data, wildcard = signed_data(signed, signature)
    for number, key in enumerate(candidates):
        if number >= spending.budget.keys_per_tag:
            raise OutOfBudget("keys_per_tag", spending.budget.keys_per_tag)
        if _holds(key, signature.signature, data, spending):
            return Verified(signature, key, wildcard)
    return Unverified(6, f"the signature over {_rrset(signed)} by the {_signer(signature)} does not hold")


def _signer(signature: RRSIG) -> str:
    return f"{algorithm_name(signature.algorithm)} key {signature.key_tag} of {signature.signer}"


def _holds(key: DNSKEY, signature: bytes, data: bytes, spending: Spending) -> bool:
    spending.spend("signatures")
    octets = len(key.key) + len(signature) + len(data)
    held = (_cached_check if octets <= MAX_CHECKED_OCTETS else _cached_check.__wrapped__)(key, signature, data)
    if not held:
        spending.spend("failures")
    return held


# Chosen: what answers share comes in one after the other, and an entry takes half a kilobyte.
@functools.lru_cache(maxsize=4096)
def _cached_check(key: DNSKEY, signature: bytes, data: bytes) -> bool:
    """A pure function of its arguments, so that many lookups pay once for the same signature."""
    public_key = _public_key(key)
    if public_key is None:
        return False
    try:
        public_key.verify(signature, data)
    except (cryptography.exceptions.InvalidSignature, cryptography.exceptions.UnsupportedAlgorithm, ValueError):
        # fails closed: what cannot be checked proves nothing; a hardened OpenSSL refuses SHA-1, for one
        return False
    return True


@functools.lru_cache(maxsize=4096)  # the keys of zones in use, mostly two for each
def _public_key(key: DNSKEY) -> GenericPublicKey | None:
    """The key, parsed; None when it is not one."""
    if len(key.key) > MAX_RSA_OCTETS:
        return None
    try:
        return dns.dnssecalgs.get_algorithm_cls_from_dnskey(key).public_cls.from_dnskey(key)
    except (ValueError, IndexError, cryptography.exceptions.UnsupportedAlgorithm, dns.exception.DNSException):
        # fails closed: a key that cannot be read signs nothing
        return None


def signed_data(signed: SignedRRset, signature: RRSIG) -> tuple[bytes, dns.name.Name | None]:
    """The signed data (RFC 4034 section 3.1.8.1), and the wildcard owner of an expanded RRset."""
    owner, wildcard = signed.rrset.name, None
    labels = len(owner.labels) - 1
    if signature.labels < labels and not (owner.is_wild() and signature.labels == labels - 1):
        wildcard = known((b"*", *owner.labels[-(signature.labels + 1) :]))
        owner = wildcard
    head = RRSIG_HEAD.pack(
        signature.type_covered,
        signature.algorithm,
        signature.labels,
        signature.original_ttl,
        signature.expiration,
        signature.inception,
        signature.key_tag,
    )
    prefix = head + signature.signer.to_digestable()
    rr_head = owner.to_digestable() + signed.rrset.rdtype.to_bytes(2, "big") + b"\x00\x01"
    rr_head += signature.original_ttl.to_bytes(4, "big")
    records = [rr_head + len(each).to_bytes(2, "big") + each for each in signed.rrset.canonical]
    return prefix + b"".join(records), wildcard


@functools.lru_cache(maxsize=4096)  # a zone in use has one or two
def digest_matches(zone: dns.name.Name, key: DNSKEY, ds: DS) -> bool:
    """Whether a DS record speaks of this key (RFC 4034 section 5.1.4)."""
    if key.algorithm != ds.algorithm or key_tag(key) != ds.key_tag:
        return False
    try:
        made = dns.dnssec.make_ds(zone, key, dns.dnssectypes.DSDigest(ds.digest_type), validating=True)
    except (dns.exception.DNSException, ValueError):
        # an unknown digest: the record speaks of no key (RFC 4035 section 5.2)
        return False
    return bool(made.digest == ds.digest)


def chosen_ds(records: Sequence[DS], algorithms: frozenset[int]) -> tuple[DS, ...]:
    """The DS records to go by: supported ones, and no SHA-1 where something better is there (RFC 4509 section 3)."""
    supported = [ds for ds in records if ds.algorithm in algorithms and ds.digest_type in DIGESTS]
    better = [ds for ds in supported if ds.digest_type != 1]
    return tuple(better or supported)


def spoilt_ds(record: Rdata, algorithms: frozenset[int]) -> bool:
    """Whether a DS record has a supported algorithm and digest type, but no digest of the right length.

    No validator can follow it, but it shows that the zone is signed: alone it makes the zone bogus, and never insecure.
    """
    octets = opaque(record)
    return octets is not None and len(octets) >= DS_HEAD_OCTETS and octets[2] in algorithms and octets[3] in DIGESTS
