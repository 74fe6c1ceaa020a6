"""Does a presented chain match a TLSA RRset (RFC 6698, RFC 7671, RFC 7672). Pure; for opportunistic DANE."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.verification import Store

from letterlock.identity.certificates import InvalidCertificate, parse_certificate, read_spki, spki, subject_of
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.names import match_names, say_names
from letterlock.identity.path import MAX_CHAIN_CERTIFICATES, NoPath, build_path
from letterlock.identity.pkix import readable
from letterlock.identity.signature import signed_by
from letterlock.identity.tlsa import TLSARecord

MAX_RECORDS = 50
DIGEST_ORDER = (2, 1)  # strongest first: SHA2-512, SHA2-256

DANE_TA, DANE_EE = 2, 3
CERT, SPKI = 0, 1
FULL = 0
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
_DIGEST_NAMES = {0: "SHA2-256", 1: "SHA2-256", 2: "SHA2-512"}  # Full(0) is shown as a digest
_DIGEST_OCTETS = {1: 32, 2: 64}


@dataclass(frozen=True, slots=True, kw_only=True)
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
    """
    return tuple(one for one in dict.fromkeys(records[:MAX_RECORDS]) if _is_usable(one))


def strongest_records(records: Sequence[TLSARecord], order: Sequence[int] = DIGEST_ORDER) -> tuple[TLSARecord, ...]:
    """Digest agility (RFC 7671 section 9): of each usage and selector Full(0) and the strongest digest that is there.

    `records` are usable ones; `order` are matching types, strongest first.
    """
    best: dict[tuple[int, int], int] = {}
    for one in records:
        if one.matching_type != FULL:
            group = (one.usage, one.selector)
            best[group] = min(best.get(group, len(order)), order.index(one.matching_type))
    return tuple(
        one
        for one in records
        if one.matching_type == FULL or order.index(one.matching_type) == best[one.usage, one.selector]
    )


def match_dane(
    chain: Sequence[bytes], records: Sequence[TLSARecord], references: Sequence[str], now: float
) -> DaneMatch | DaneMismatch:
    """Verify a presented chain (DER, the server's own first) against a TLSA RRset at `now` (seconds since 1970).

    DANE-EE(3): the server's certificate or key is the named one; names, dates and the rest of the chain do not matter
    (RFC 7672 section 3.1.1). DANE-TA(2): a path with valid signatures, dates and constraints leads to the named
    authority, which the server sends, or which a `2 0 0` or `2 1 0` record holds whole; and the certificate speaks for
    one of `references` (A-labels, RFC 7672 section 3.2.2). Unusable records are left out here too.

    At most MAX_RECORDS records and MAX_CHAIN_CERTIFICATES certificates are looked at.
    """
    if not chain:
        return _mismatch([], MismatchKind.NO_CERTIFICATE, "the server presented no certificate", None)
    leaf, key = _read_leaf(chain[0])
    wanted = strongest_records(usable_records(records))
    for record in wanted:  # DANE-EE first: it costs one comparison
        if record.usage == DANE_EE and _associated(record, chain[0], key):
            return DaneMatch(record=record, depth=0, reference=None)
    others = readable(chain[1:MAX_CHAIN_CERTIFICATES])
    misses: list[RecordMismatch] = []
    for record in sorted(wanted, key=lambda one: -one.usage):
        result: DaneMatch | RecordMismatch
        if record.usage == DANE_EE:
            result = _say_other_end_entity(record, chain[0], key)
        elif leaf is None:
            result = RecordMismatch(record, MismatchKind.MALFORMED, "the server's certificate cannot be read")
        else:
            result = _match_authority(record, leaf, others, references, now)
        if isinstance(result, DaneMatch):
            return result
        misses.append(result)
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


def _read_leaf(der: bytes) -> tuple[x509.Certificate | None, bytes | None]:
    """The server's certificate and its SubjectPublicKeyInfo, as far as they can be read.

    DANE-EE needs the key alone, so a certificate with, say, a malformed subject can still match.
    """
    try:
        key = read_spki(der)
    except InvalidCertificate:
        return None, None
    try:
        return parse_certificate(der), key
    except InvalidCertificate:
        return None, key


def _is_usable(record: TLSARecord) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERT, SPKI):
        return False
    if record.matching_type == FULL:
        return _is_certificate(record.data) if record.selector == CERT else _is_key(record.data)
    return len(record.data) == _DIGEST_OCTETS.get(record.matching_type)


def _is_certificate(data: bytes) -> bool:
    try:
        parse_certificate(data)
    except InvalidCertificate:
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


def _associated(record: TLSARecord, certificate: bytes, key: bytes | None) -> bool:
    """Whether a certificate, or its key, is the one that the record names (RFC 6698 section 2.1)."""
    selected = certificate if record.selector == CERT else key
    if selected is None:
        return False
    if record.matching_type == FULL:
        return selected == record.data
    return _DIGESTS[record.matching_type](selected).digest() == record.data


def _say_other_end_entity(record: TLSARecord, certificate: bytes, key: bytes | None) -> RecordMismatch:
    selected = certificate if record.selector == CERT else key
    what = f"{'certificate' if record.selector == CERT else 'key'} with {_DIGEST_NAMES[record.matching_type]}"
    found = "one that cannot be read" if selected is None else _digest_text(record, selected)
    wanted = record.data.hex() if record.matching_type != FULL else _digest_text(record, record.data)
    detail = f"wanted the server's {what} {wanted}; presented: {found}"
    return RecordMismatch(record, MismatchKind.NO_MATCH, detail)


def _digest_text(record: TLSARecord, selected: bytes) -> str:
    return _DIGESTS[record.matching_type or 1](selected).hexdigest()


def _match_authority(
    record: TLSARecord,
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    references: Sequence[str],
    now: float,
) -> DaneMatch | RecordMismatch:
    anchors = _anchors(record, leaf, others)
    if not anchors:
        return RecordMismatch(record, MismatchKind.NO_MATCH, _say_not_sent(record, others))
    path = build_path(leaf, others, _store(tuple(anchors)), now)
    if isinstance(path, NoPath):
        kind = MismatchKind.EXPIRED if path.expired else MismatchKind.UNTRUSTED
        return RecordMismatch(record, kind, path.detail)
    common_name = not any(_constrains_names(one) for one in path.certificates)
    reference = match_names(leaf, references, common_name=common_name)
    if reference is None:
        names = say_names(leaf, common_name=common_name)
        return RecordMismatch(
            record, MismatchKind.WRONG_NAME, f"the certificate has {names}; wanted: {', '.join(references)}"
        )
    anchor = path.certificates[-1]
    return DaneMatch(record=record, depth=len(path.certificates) - 1 if anchor in others else None, reference=reference)


@functools.lru_cache(maxsize=256)
def _store(anchors: tuple[x509.Certificate, ...]) -> Store:
    return Store(list(anchors))


def _constrains_names(authority: x509.Certificate) -> bool:
    """Whether an authority may speak for some names only. That binds DNS-IDs; no common name may get around it."""
    return any(isinstance(one.value, x509.NameConstraints) for one in authority.extensions)


def _say_not_sent(record: TLSARecord, others: Sequence[x509.Certificate]) -> str:
    sent = ", ".join(subject_of(one) for one in others) or "none"
    return f"the authority of the record {record.short} is not in the presented chain (issuers sent: {sent})"


def _anchors(record: TLSARecord, leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificates at which a path may end (RFC 7671 sections 5.2.1 to 5.2.3).

    Those of the chain that the record names; else the one that it holds whole (`2 0 0`); else those that the bare key
    it holds has signed (`2 1 0`). The server's own certificate is nobody's authority.
    """
    named = [one for one in others if one != leaf and _associated(record, one.public_bytes(Encoding.DER), spki(one))]
    if named or record.matching_type != FULL:
        return named
    if record.selector == SPKI:
        return [one for one in (leaf, *others) if signed_by(one, record.data)]
    anchor = parse_certificate(record.data)
    return [anchor] if anchor != leaf else []
