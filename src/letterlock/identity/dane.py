"""Does a presented chain match a TLSA RRset (RFC 6698, RFC 7671, RFC 7672). Pure; for opportunistic DANE."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from letterlock.frozen import frozen_dataclass
from letterlock.identity.certificate_names import match_names, say_names
from letterlock.identity.certificates import (
    MAX_REMEMBERED_CHAIN_OCTETS,
    InvalidCertificate,
    parse_certificate,
    read_spki,
)
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.path import MAX_CHAIN_CERTIFICATES, Anchors, NoPath, build_path, remembered_anchors
from letterlock.identity.pkix import readable
from letterlock.identity.presented import PresentedChain
from letterlock.identity.signers import OutOfSignatures, SignatureBudget
from letterlock.identity.tlsa import CERT, DANE_EE, DANE_TA, DIGESTS, FULL, SPKI, TLSARecord, refuse_other_records

MAX_RECORDS = 50  # chosen: real RRsets have two to six; this bounds the work of one judgement
DIGEST_ORDER = (2, 1)  # strongest first: SHA2-512, SHA2-256

_DIGEST_NAMES = {0: "SHA2-256", 1: "SHA2-256", 2: "SHA2-512"}  # Full(0) is shown as a digest
_DIGEST_OCTETS = {1: 32, 2: 64}


@frozen_dataclass(frozen=True, slots=True, kw_only=True)
class DaneMatch:
    """The chain matches `record`, by its certificate at `depth` (0 is the server's own; None: an anchor not sent).

    `reference` is the name that the certificate speaks for; None for DANE-EE(3), which does not look at names.
    """

    record: TLSARecord
    depth: int | None
    reference: str | None

    @property
    def by(self) -> str:
        """`dane-ee` or `dane-ta`."""
        return "dane-ee" if self.record.usage == DANE_EE else "dane-ta"

    def __str__(self) -> str:
        return self.record.short if self.reference is None else f"{self.record.short} for {self.reference}"


@dataclass(frozen=True, slots=True)
class RecordMismatch:
    """Why one record did not match, for people in `detail`."""

    record: TLSARecord
    kind: MismatchKind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaneMismatch:
    """No record matches. `kind` is that of the nearest miss; `presented_spki` the SHA2-256 of the server's key."""

    kind: MismatchKind
    detail: str
    presented_spki: str | None
    records: tuple[RecordMismatch, ...]


def usable_records(records: Sequence[TLSARecord]) -> tuple[TLSARecord, ...]:
    """The records that opportunistic DANE can use, each once, of the first MAX_RECORDS (RFC 7672 section 3.1).

    Usages 2 and 3, selectors 0 and 1, matching types 0 to 2, a digest of the right length, or a certificate or key
    that can be read. The rest is as if it were not there (RFC 6698 section 2.1), but not as if nothing were there.
    Raises TypeError for anything but TLSARecord, such as the records of dnspython.
    """
    refuse_other_records(records)
    return tuple([one for one in dict.fromkeys(records[:MAX_RECORDS]) if _is_usable(one)])


def strongest_records(records: Sequence[TLSARecord], order: Sequence[int] = DIGEST_ORDER) -> tuple[TLSARecord, ...]:
    """Digest agility (RFC 7671 section 9): of each usage and selector Full(0) and the strongest digest that is there.

    `records` are usable ones; `order` are matching types, strongest first.
    """
    if len(records) < 2:
        return tuple(records)
    best: dict[tuple[int, int], int] = {}
    for one in records:
        if one.matching_type != FULL:
            group = (one.usage, one.selector)
            best[group] = min(best.get(group, len(order)), order.index(one.matching_type))
    return tuple(
        [
            one
            for one in records
            if one.matching_type == FULL or order.index(one.matching_type) == best[one.usage, one.selector]
        ]
    )


def match_dane(
    chain: Sequence[bytes], records: Sequence[TLSARecord], references: Sequence[str], now: float
) -> DaneMatch | DaneMismatch:
    """Verify a presented chain (DER, the server's own first) against a TLSA RRset at `now` (seconds since 1970).

    DANE-EE(3): the server's certificate or key is the named one; names, dates and the rest of the chain do not matter
    (RFC 7672 section 3.1.1). DANE-TA(2): a path with valid signatures, dates and constraints leads to the named
    authority, which the server sends, or which a `2 0 0` or `2 1 0` record holds whole; and the certificate speaks for
    one of `references` (A-labels, RFC 7672 section 3.2.2). Unusable records are left out here too.

    At most MAX_RECORDS records and MAX_CHAIN_CERTIFICATES certificates are looked at, and MAX_SIGNATURE_CHECKS
    signatures are checked. The strength of the server's key counts for DANE-TA(2) only: with DANE-EE(3) the owner of
    the domain has published that very key, and a handshake with it is what the records ask for (RFC 7671 section 5.1).
    Raises TypeError for anything but TLSARecord, such as the records of dnspython.
    """
    wanted = strongest_records(usable_records(records))
    if not chain:
        return _mismatch([], MismatchKind.NO_CERTIFICATE, "the server presented no certificate", None)
    key = _read_key(chain[0])
    shown: dict[tuple[int, int], bytes | None] = {}  # hashed once for all records of a kind
    for record in wanted:  # DANE-EE first: it costs one comparison
        kind = record.selector, record.matching_type
        if record.usage != DANE_EE:
            continue
        if kind not in shown:
            shown[kind] = _association(*kind, chain[0], key)
        if shown[kind] == record.data:
            return DaneMatch(record=record, depth=0, reference=None)
    leaf = None if key is None else _read_leaf(chain[0])
    authorities = [one for one in wanted if one.usage == DANE_TA]
    found: DaneMatch | list[RecordMismatch]
    if leaf is None:
        found = _same(authorities, MismatchKind.MALFORMED, "the server's certificate cannot be read")
    else:
        octets = sum(map(len, chain)) + sum(len(one.data) for one in authorities)
        small = octets <= MAX_REMEMBERED_CHAIN_OCTETS
        presented = PresentedChain(leaf, readable(chain[1:MAX_CHAIN_CERTIFICATES]), small=small)
        found = _match_authorities(authorities, presented, references, now) if authorities else []
    if isinstance(found, DaneMatch):
        return found
    misses = [_say_other_end_entity(one, chain[0], key) for one in wanted if one.usage == DANE_EE]
    misses += found
    digest = hashlib.sha256(key).hexdigest() if key else None
    if not misses:
        return _mismatch([], MismatchKind.NO_MATCH, "none of the TLSA records is usable", digest)
    nearest = max(misses, key=lambda miss: _NEARNESS.index(miss.kind))
    return _mismatch(misses, nearest.kind, nearest.detail, digest)


_NEARNESS = tuple(MismatchKind)


def _mismatch(
    misses: Sequence[RecordMismatch], kind: MismatchKind, detail: str, presented_spki: str | None
) -> DaneMismatch:
    return DaneMismatch(kind=kind, detail=detail, presented_spki=presented_spki, records=tuple(misses))


def _read_key(der: bytes) -> bytes | None:
    """The SubjectPublicKeyInfo of the server's certificate.

    DANE-EE needs that alone, so a certificate with, say, a malformed subject can still match.
    """
    try:
        return read_spki(der)
    except InvalidCertificate:  # nothing to compare: only a record of the whole certificate can match
        return None


def _read_leaf(der: bytes) -> x509.Certificate | None:
    """The server's certificate, if all of it can be read."""
    try:
        return parse_certificate(der)
    except InvalidCertificate:  # no path begins there: told as malformed
        return None


def _is_usable(record: TLSARecord) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERT, SPKI):
        return False
    if record.matching_type == FULL:
        return _is_certificate(record.data) if record.selector == CERT else _is_key(record.data)
    return len(record.data) == _DIGEST_OCTETS.get(record.matching_type)


def _is_certificate(data: bytes) -> bool:
    try:
        parse_certificate(data)
    except InvalidCertificate:  # some records hold no certificate (RFC 7671 section 4)
        return False
    return True


def _is_key(data: bytes) -> bool:
    try:
        load_der_public_key(data)
    except UnsupportedAlgorithm:
        return True  # a key of a kind unknown to us can still be compared
    except ValueError:
        return False
    return True


def _association(selector: int, matching_type: int, certificate: bytes, key: bytes | None) -> bytes | None:
    """What a record has to hold to name a certificate or its key (RFC 6698 section 2.1); None if that is unreadable."""
    selected = certificate if selector == CERT else key
    if selected is None or matching_type == FULL:
        return selected
    return DIGESTS[matching_type](selected).digest()


def _say_other_end_entity(record: TLSARecord, certificate: bytes, key: bytes | None) -> RecordMismatch:
    selected = certificate if record.selector == CERT else key
    what = f"{'certificate' if record.selector == CERT else 'key'} with {_DIGEST_NAMES[record.matching_type]}"
    found = "one that cannot be read" if selected is None else _digest_text(record, selected)
    wanted = record.data.hex() if record.matching_type != FULL else _digest_text(record, record.data)
    detail = f"wanted the server's {what} {wanted}; presented: {found}"
    return RecordMismatch(record, MismatchKind.NO_MATCH, detail)


def _digest_text(record: TLSARecord, selected: bytes) -> str:
    return DIGESTS[record.matching_type or 1](selected).hexdigest()


def _match_authorities(
    records: Sequence[TLSARecord], presented: PresentedChain, references: Sequence[str], now: float
) -> DaneMatch | list[RecordMismatch]:
    """Find one path to the authorities of all DANE-TA records; else why each of them does not match."""
    budget = SignatureBudget()
    try:
        anchors = {record: presented.anchors(record, budget) for record in records}
    except OutOfSignatures:
        return _same(records, MismatchKind.UNTRUSTED, "the records hold more keys than may be tried on its chain")
    sent = [one for one in records if anchors[one]]
    absent = [
        RecordMismatch(one, MismatchKind.NO_MATCH, presented.say_not_sent(one)) for one in records if not anchors[one]
    ]
    if not sent:
        return absent
    every = tuple(dict.fromkeys(anchor for record in sent for anchor in anchors[record]))
    ends = remembered_anchors(every) if presented.small else Anchors(every)
    path = build_path(presented.leaf, presented.others, ends, now, budget)
    if isinstance(path, NoPath):
        kind = MismatchKind.EXPIRED if path.expired else MismatchKind.UNTRUSTED
        return [*absent, *_same(sent, kind, path.detail)]
    anchor = path.certificates[-1]
    depth = len(path.certificates) - 1 if anchor in presented.others else None
    matching = next(one for one in sent if anchor in anchors[one])
    found = _match_reference(path.certificates, references)
    if isinstance(found, str):
        return DaneMatch(record=matching, depth=depth, reference=found)
    return [*absent, *_same(sent, MismatchKind.WRONG_NAME, found.detail)]


@frozen_dataclass(frozen=True, slots=True)
class _OtherNames:
    """The certificate speaks for none of the reference identifiers."""

    detail: str


def _match_reference(path: Sequence[x509.Certificate], references: Sequence[str]) -> str | _OtherNames:
    """The reference identifier that the server's certificate speaks for."""
    common_name = not any(_constrains_names(one) for one in path)
    reference = match_names(path[0], references, common_name=common_name)
    if reference is not None:
        return reference
    return _OtherNames(
        f"the certificate has {say_names(path[0], common_name=common_name)}; wanted: {', '.join(references)}"
    )


def _same(records: Sequence[TLSARecord], kind: MismatchKind, detail: str) -> list[RecordMismatch]:
    return [RecordMismatch(one, kind, detail) for one in records]


def _constrains_names(authority: x509.Certificate) -> bool:
    """Whether an authority may speak for some names only. That binds DNS-IDs; no common name may get around it."""
    return any(isinstance(one.value, x509.NameConstraints) for one in authority.extensions)
