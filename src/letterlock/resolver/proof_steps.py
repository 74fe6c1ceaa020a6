"""The steps of proofs: what each holds, and how it reads (RFC 4033 section 2, RFC 4035 section 5, RFC 5155 section 8).

A step is made for every signature and every zone cut, and read when somebody asks for an explanation. So it holds
numbers and names, and the sentence is made when it is read.

Codes: `anchor`, `ds`, `dnskey`, `signature`, `no-ds`, `denial`, `wildcard`, `unsupported`, `iterations`,
`negative-anchor`.
"""

import functools
from collections.abc import Sequence

import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from letterlock.resolver.answer import Absence, Facts, ProofStep, Security, StepKind
from letterlock.resolver.denial import Denied, Denying, by_nsec3, text_of
from letterlock.resolver.number_names import algorithm_name, digest_name, type_name, utc
from letterlock.resolver.rdata import SignedRRset
from letterlock.resolver.signatures import key_tag
from letterlock.resolver.trust_anchors import NegativeAnchor

_DsNumbers = tuple[int, int, int]  # key tag, algorithm, digest type


def signature_step(zone: dns.name.Name, signed: SignedRRset, signature: RRSIG) -> ProofStep:
    """A signature that holds."""
    rrset = signed.rrset
    times = signature.inception, signature.expiration
    values = (rrset.name, rrset.rdtype, signature.key_tag, signature.algorithm, *times)
    return ProofStep.of(_SIGNATURE, zone, Security.SECURE, values)


def _signature_detail(
    _: str, owner: dns.name.Name, rdtype: RdataType, tag: int, algorithm: int, _inception: int, expiration: int
) -> str:
    by = f"key {tag} ({algorithm_name(algorithm)})"
    return f"{owner} {type_name(rdtype)} is signed by {by}, valid until {utc(expiration)}"


def _signature_facts(
    owner: dns.name.Name, rdtype: RdataType, tag: int, algorithm: int, inception: int, expiration: int
) -> Facts:
    return (
        ("rrset", f"{owner} {type_name(rdtype)}"),
        ("key_tag", tag),
        ("algorithm", algorithm_name(algorithm)),
        ("inception", utc(inception)),
        ("expiration", utc(expiration)),
    )


def anchor_step(zone: dns.name.Name, tags: Sequence[int]) -> ProofStep:
    """A zone that has trust anchors, and their key tags."""
    return ProofStep.of(_ANCHOR, zone, Security.SECURE, tuple(tags))


def _anchor_detail(_: str, *tags: int) -> str:
    return f"trust anchor {', '.join(dict.fromkeys(map(str, tags)))}"


def _anchor_facts(*tags: int) -> Facts:
    return tuple(("key_tag", tag) for tag in tags)


def ds_step(zone: dns.name.Name, parent: dns.name.Name, chosen: Sequence[DS], records: Sequence[DS]) -> ProofStep:
    """The DS records of a zone in its parent; `chosen` are those to go by, if any can be used."""
    every = tuple(map(_ds_numbers, records))
    shown = tuple(map(_ds_numbers, chosen)) or every
    return ProofStep.of(_CHILD, zone, Security.SECURE, (parent, every if shown == every else shown, every))


def _ds_numbers(ds: DS) -> _DsNumbers:
    return ds.key_tag, ds.algorithm, ds.digest_type


def _ds_detail(_: str, parent: dns.name.Name, chosen: Sequence[_DsNumbers], _records: Sequence[_DsNumbers]) -> str:
    return f"DS {', '.join(f'{tag} ({digest_name(digest)})' for tag, _, digest in chosen)} in {parent}"


def _ds_facts(_: dns.name.Name, _chosen: Sequence[_DsNumbers], records: Sequence[_DsNumbers]) -> Facts:
    return tuple(("ds", f"{tag} {algorithm} {digest}") for tag, algorithm, digest in records)


def dnskey_step(zone: dns.name.Name, keys: tuple[DNSKEY, ...], signer: DNSKEY, signature: RRSIG) -> ProofStep:
    """The keys of a zone, signed by one that its parent or an anchor names. They are the very tuple that is used."""
    return ProofStep.of(_KEYS, zone, Security.SECURE, (keys, key_tag(signer), signature.expiration))


def _dnskey_detail(_: str, keys: Sequence[DNSKEY], signer: int, _expiration: int) -> str:
    return f"keys {', '.join(map(key_text, keys))}, signed by {signer}"


def _dnskey_facts(keys: Sequence[DNSKEY], signer: int, expiration: int) -> Facts:
    return (*(("key", key_text(key)) for key in keys), ("signed_by", signer), ("expiration", utc(expiration)))


@functools.lru_cache(maxsize=4096)  # the keys of zones in use, mostly two for each
def key_text(key: DNSKEY) -> str:
    """`4711 (KSK, ECDSAP256SHA256)`."""
    kind = "KSK" if key.flags & 1 else "ZSK"
    return f"{key_tag(key)} ({kind}, {algorithm_name(key.algorithm)})"


def no_ds_step(zone: dns.name.Name, parent: dns.name.Name, denied: Denied) -> ProofStep:
    """A delegation without DS records."""
    kind = _NO_DS_BY_NSEC3 if by_nsec3(denied.by) else _NO_DS_BY_NSEC
    return ProofStep.of(kind, zone, Security.INSECURE, (parent, denied.by))


def _no_ds_detail(_: str, parent: dns.name.Name, by: Denying) -> str:
    return f"no DS in {parent}, proven by {text_of(by)}"


def _no_ds_facts(_: dns.name.Name, by: Denying) -> Facts:
    return (("denial", text_of(by)),)


def denial_step(zone: dns.name.Name, name: dns.name.Name, rdtype: RdataType, denied: Denied) -> ProofStep:
    """A proven absence."""
    kind = _DENIAL_BY_NSEC3 if by_nsec3(denied.by) else _DENIAL_BY_NSEC
    return ProofStep.of(kind, zone, denied.security, (name, rdtype, denied.absence, denied.by))


def _denial_detail(_: str, name: dns.name.Name, rdtype: RdataType, absence: Absence, by: Denying) -> str:
    return f"{name} {type_name(rdtype)} is absent ({absence}): {text_of(by)}"


def _denial_facts(_: dns.name.Name, _rdtype: RdataType, absence: Absence, by: Denying) -> Facts:
    return ("absence", absence.value), ("denial", text_of(by))


def wildcard_step(zone: dns.name.Name, owner: dns.name.Name, wildcard: dns.name.Name, closer: Denied) -> ProofStep:
    """An RRset that was made from a wildcard, and the proof that nothing closer exists."""
    return ProofStep.of(_WILDCARD, zone, closer.security, (owner, wildcard, closer.by))


def _wildcard_detail(_: str, owner: dns.name.Name, wildcard: dns.name.Name, by: Denying) -> str:
    return f"{owner} comes from {wildcard}; nothing closer exists: {text_of(by)}"


def _wildcard_facts(_: dns.name.Name, wildcard: dns.name.Name, by: Denying) -> Facts:
    return ("wildcard", str(wildcard)), ("denial", text_of(by))


def unsupported_step(zone: dns.name.Name) -> ProofStep:
    """A zone that is signed in no way that can be checked here."""
    return ProofStep.of(_UNSUPPORTED, zone, Security.INSECURE, ())


def _unsupported_detail(_: str) -> str:
    return "no DS record or anchor has an algorithm and a digest that are supported here"


def iterations_step(zone: dns.name.Name, iterations: int, max_iterations: int) -> ProofStep:
    """A zone whose NSEC3 records have too many iterations, where that counts as unsigned."""
    return ProofStep.of(_ITERATIONS, zone, Security.INSECURE, (iterations, max_iterations))


def iterations_text(zone: str, iterations: int, max_iterations: int) -> str:
    """What is wrong with such records."""
    return f"NSEC3 of {zone} has {iterations} iterations, more than {max_iterations}"


def negative_anchor_step(negative: NegativeAnchor) -> ProofStep:
    """A zone that the operator takes for unsigned."""
    return ProofStep.of(_NEGATIVE_ANCHOR, negative.zone, Security.INSECURE, (negative.until, negative.reason))


def _negative_anchor_detail(_: str, until: float, reason: str) -> str:
    return f"taken for unsigned until {utc(until)}: {reason}"


def _no_facts(*_: object) -> Facts:
    return ()


_SIGNATURE = StepKind("signature", "RFC 4035 section 5.3", _signature_detail, _signature_facts)
_ANCHOR = StepKind("anchor", "RFC 4033 section 2", _anchor_detail, _anchor_facts)
_CHILD = StepKind("ds", "RFC 4035 section 5.2", _ds_detail, _ds_facts)
_KEYS = StepKind("dnskey", "RFC 4035 section 5.2", _dnskey_detail, _dnskey_facts)
_NO_DS_BY_NSEC = StepKind("no-ds", "RFC 4035 section 5.2", _no_ds_detail, _no_ds_facts)
_NO_DS_BY_NSEC3 = StepKind("no-ds", "RFC 5155 section 8.6", _no_ds_detail, _no_ds_facts)
_DENIAL_BY_NSEC = StepKind("denial", "RFC 4035 section 5.4", _denial_detail, _denial_facts)
_DENIAL_BY_NSEC3 = StepKind("denial", "RFC 5155 section 8", _denial_detail, _denial_facts)
_WILDCARD = StepKind("wildcard", "RFC 4035 section 5.3.4", _wildcard_detail, _wildcard_facts)
_UNSUPPORTED = StepKind("unsupported", "RFC 6840 section 5.2", _unsupported_detail, _no_facts)
_ITERATIONS = StepKind("iterations", "RFC 9276 section 3.2", iterations_text, _no_facts)
_NEGATIVE_ANCHOR = StepKind("negative-anchor", "RFC 7646", _negative_anchor_detail, _no_facts)
