"""What a presented chain holds and proves, for people who publish TLSA records: shown whether or not it was judged."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from letterlock.identity.certificates import CertificateSummary, InvalidCertificate, describe, parse_certificate
from letterlock.identity.dane import DaneMatch, match_dane, strongest_records, usable_records
from letterlock.identity.handshake import Completed
from letterlock.identity.path import MAX_CHAIN_CERTIFICATES
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_pkix
from letterlock.identity.tlsa import TLSARecord
from letterlock.inspect.probe import ByHand, Probe, reference_names
from letterlock.policy.require import tlsa_records
from letterlock.resolver import Answer

MAX_RECORDS_SHOWN = 20  # chosen: real hosts have two to six


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One certificate of a chain; without a `summary` it cannot be read, for the reason in `fault`."""

    summary: CertificateSummary | None
    key: str | None
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One TLSA record held against the chain."""

    record: TLSARecord
    matches: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the chain holds, what it proves by each TLSA record, and by PKIX (None: there was no name to verify).

    `left_out` counts the certificates that are not shown."""

    chain: tuple[ChainLink, ...]
    left_out: int
    held: tuple[Held, ...]
    pkix: PkixMatch | PkixMismatch | None


def look_at(probed: Probe, by_hand: ByHand, now: float) -> Findings:
    """Hold the presented chain against the TLSA records and the trust roots, at `now` (seconds since 1970)."""
    chain = probed.handshake.chain if isinstance(probed.handshake, Completed) else ()
    names = reference_names(by_hand, probed.target)
    return Findings(
        chain=tuple(_shown(der) for der in chain[:MAX_CHAIN_CERTIFICATES]),
        left_out=max(0, len(chain) - MAX_CHAIN_CERTIFICATES),
        held=_hold(records_in_sight(probed, by_hand), chain, names, now) if chain else (),
        pkix=verify_pkix(chain, names, by_hand.roots, now) if chain and names else None,
    )


def records_in_sight(probed: Probe, by_hand: ByHand) -> tuple[TLSARecord, ...]:
    """The TLSA records that were given, else those in DNS."""
    answer = probed.target.tlsa
    return by_hand.records or (tlsa_records(answer) if isinstance(answer, Answer) else ())


def _shown(der: bytes) -> ChainLink:
    try:
        return ChainLink(summary=describe(der), key=_key(der))
    except InvalidCertificate as error:
        return ChainLink(summary=None, key=None, fault=str(error))


def _key(der: bytes) -> str:
    """The kind and the size of a certificate's key."""
    try:
        key = parse_certificate(der).public_key()
    except (UnsupportedAlgorithm, ValueError):  # by a curve or an encoding that the library has not
        return "of a kind that is not known here"
    match key:
        case rsa.RSAPublicKey():
            return f"RSA, {key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            return f"EC, {key.curve.name}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case dsa.DSAPublicKey():
            return f"DSA, {key.key_size} bits"
    return type(key).__name__


def _hold(records: Sequence[TLSARecord], chain: Sequence[bytes], names: Sequence[str], now: float) -> tuple[Held, ...]:
    usable = usable_records(records)
    strongest = strongest_records(usable)
    return tuple(_held(one, usable, strongest, chain, names, now) for one in records[:MAX_RECORDS_SHOWN])


def _held(
    record: TLSARecord,
    usable: Sequence[TLSARecord],
    strongest: Sequence[TLSARecord],
    chain: Sequence[bytes],
    names: Sequence[str],
    now: float,
) -> Held:
    if record not in usable:
        return Held(record=record, matches=False, detail="not usable for mail [RFC 7672 section 3.1]")
    if record not in strongest:
        detail = "not looked at: there is a record like it with a stronger digest [RFC 7671 section 9]"
        return Held(record=record, matches=False, detail=detail)
    found = match_dane(chain, (record,), names, now)
    if isinstance(found, DaneMatch):
        return Held(record=record, matches=True, detail=_where(found))
    return Held(record=record, matches=False, detail=found.detail)


def _where(found: DaneMatch) -> str:
    by = "its authority, which it need not send" if found.depth is None else f"certificate {found.depth}"
    return f"{by}, for {found.reference}" if found.reference else by
