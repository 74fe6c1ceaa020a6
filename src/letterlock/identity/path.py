"""Certification paths (RFC 5280 section 6) for mail: built by `cryptography`, under an extension policy of our own.

Mail's authorities are laxer than the web's: own CAs made by one `openssl req -x509`, without key identifiers, leaves
without extended key usage. What stays strict: signatures and key sizes, dates, basicConstraints with cA on every
issuer, pathLen, keyCertSign and extended key usage where they stand, name constraints, unknown critical extensions.
Names are compared elsewhere (`letterlock.identity.names`), because DANE and PKIX have different rules for them.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from letterlock.identity.certificates import as_datetime, dates_of, subject_of, valid_at

MAX_CHAIN_CERTIFICATES = 16
MAX_PATH_DEPTH = 8
MAX_PATHS_KEPT = 512

_UNVERIFIABLE = (VerificationError, ValueError)  # ValueError: a part of a certificate that only the verifier reads
_SERVER_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True)
class CertificationPath:
    """The certificates from the server's own to the trust anchor."""

    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class NoPath:
    """No path to the trust anchors. `expired`: there is one but for the dates of a certificate."""

    detail: str
    expired: bool = False


_FOUND: dict[tuple[x509.Certificate, tuple[x509.Certificate, ...], Store], CertificationPath] = {}


def build_path(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], anchors: Store | None, now: float
) -> CertificationPath | NoPath:
    """Find a path from a server's certificate to one of the anchors, valid at `now` (seconds since 1970).

    A leaf that is itself an anchor needs no issuer. At most MAX_PATH_DEPTH issuers deep. A path that was found before,
    for the same certificates and the same `anchors` object, holds as long as the dates of its certificates say.
    """
    if anchors is None:
        return NoPath("there is no root to trust")
    question = (leaf, tuple(others), anchors)
    known = _FOUND.get(question)
    if known is not None and all(valid_at(one, now) for one in known.certificates):
        return known
    try:
        found = CertificationPath(_verify(leaf, others, anchors, as_datetime(now)))
    except _UNVERIFIABLE as error:
        reason = _say(error)
    else:
        if len(_FOUND) >= MAX_PATHS_KEPT:
            _FOUND.clear()
        _FOUND[question] = found
        return found
    outdated = _outdated([leaf, *others], now)
    if outdated and _ever_valid(leaf, others, anchors):
        return NoPath(outdated, expired=True)
    return NoPath(reason)


def _verify(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], anchors: Store, moment: dt.datetime
) -> tuple[x509.Certificate, ...]:
    builder = PolicyBuilder().store(anchors).time(moment).max_chain_depth(MAX_PATH_DEPTH)
    builder = builder.extension_policies(ca_policy=_AUTHORITY_POLICY, ee_policy=_SERVER_POLICY)
    # The "client" verifier is the one that leaves the names to the caller; nothing in it is about clients.
    return tuple(builder.build_client_verifier().verify(leaf, list(others)).chain)


def _ever_valid(leaf: x509.Certificate, others: Sequence[x509.Certificate], anchors: Store) -> bool:
    """Whether there is a path at some moment: tried when the last of the presented certificates came into force,
    and when the server's own did."""
    for moment in {max(one.not_valid_before_utc for one in (leaf, *others)), leaf.not_valid_before_utc}:
        try:
            _verify(leaf, others, anchors, moment)
        except _UNVERIFIABLE:
            continue
        return True
    return False


def _outdated(certificates: Sequence[x509.Certificate], now: float) -> str | None:
    for one in certificates:
        if not valid_at(one, now):
            return f"the certificate of {subject_of(one)} is valid from {dates_of(one)} only"
    return None


def _say(error: Exception) -> str:
    text = str(error).removeprefix("validation failed: ").partition(" (encountered")[0]
    return {
        "candidates exhausted: all candidates exhausted with no interior errors": "no issuer of it is trusted",
    }.get(text, text)


def _check_server_usage(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage and not (usage.digital_signature or usage.key_encipherment or usage.key_agreement):
        raise ValueError("its keyUsage does not allow TLS")


def _check_extended_usage(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage and not _SERVER_USAGES.intersection(usage):
        raise ValueError("its extended key usage does not allow TLS servers")


def _check_signing_usage(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage and not usage.key_cert_sign:
        raise ValueError("its keyUsage does not allow signing certificates")


def _check_authority(_policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("it is not an authority's certificate")


_SERVER_POLICY = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_server_usage)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_extended_usage)
)
_AUTHORITY_POLICY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_signing_usage)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_extended_usage)
)
