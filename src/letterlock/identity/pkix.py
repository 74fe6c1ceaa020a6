"""PKIX: does a chain end at one of these roots, and speak for one of these names (RFC 5280, RFC 9525)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from letterlock.identity.certificate_names import match_names, say_names
from letterlock.identity.certificates import InvalidCertificate, parse_certificate, subject_of
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.path import MAX_CHAIN_CERTIFICATES, Anchors, NoPath, build_path
from letterlock.identity.trust import TrustRoots


@dataclass(frozen=True, slots=True, kw_only=True)
class PkixMatch:
    """The chain is trusted. `reference` is the name that it speaks for, `root` the subject that the path ends at."""

    reference: str
    root: str

    def __str__(self) -> str:
        return f"{self.reference}, issued under {self.root}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PkixMismatch:
    """The chain is not trusted for the names; `detail` says what was found, for people."""

    kind: MismatchKind
    detail: str


def verify_pkix(
    chain: Sequence[bytes], references: Sequence[str], roots: TrustRoots, now: float
) -> PkixMatch | PkixMismatch:
    """Verify a presented chain (DER, the server's own first) at `now` (seconds since 1970).

    Names are DNS-IDs only: a common name never counts (RFC 9525 section 2, RFC 8461 section 4.2). Of the chain,
    MAX_CHAIN_CERTIFICATES are looked at; certificates after the first that cannot be read are ignored.
    """
    if not chain:
        return PkixMismatch(kind=MismatchKind.NO_CERTIFICATE, detail="the server presented no certificate")
    try:
        leaf = parse_certificate(chain[0])
    except InvalidCertificate as error:
        return PkixMismatch(kind=MismatchKind.MALFORMED, detail=str(error))
    return verify_leaf(leaf, chain[1:], references, roots, now)


def verify_leaf(
    leaf: x509.Certificate,
    others: Sequence[bytes],
    references: Sequence[str],
    roots: TrustRoots,
    now: float,
    *,
    remember: bool = True,
) -> PkixMatch | PkixMismatch:
    """As `verify_pkix`, for a server's certificate that was read already; `others` are the rest of its chain.

    Without `remember` the path is not kept for the next time: who looks at each certificate once a day needs no copy.
    """
    path = build_path(leaf, readable(others[: MAX_CHAIN_CERTIFICATES - 1]), _anchors(roots), now, remember=remember)
    if isinstance(path, NoPath):
        kind = MismatchKind.EXPIRED if path.expired else MismatchKind.UNTRUSTED
        detail = path.detail if path.expired else f"{path.detail} (trusting {roots.name})"
        return PkixMismatch(kind=kind, detail=f"certificate of {subject_of(leaf)}: {detail}")
    reference = match_names(leaf, references, common_name=False)
    if reference is None:
        found, wanted = say_names(leaf, common_name=False), ", ".join(references) or "no name at all"
        return PkixMismatch(kind=MismatchKind.WRONG_NAME, detail=f"the certificate has {found}; wanted: {wanted}")
    return PkixMatch(reference=reference, root=subject_of(path.certificates[-1]))


def readable(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """The certificates of a chain that can be read."""
    certificates = []
    for der in chain:
        try:
            certificates.append(parse_certificate(der))
        except InvalidCertificate:
            continue  # what cannot be read cannot help a path, and cannot harm it either
    return certificates


@functools.lru_cache(maxsize=16)  # the public roots, and those of a few rules
def _anchors(roots: TrustRoots) -> Anchors | None:
    certificates = readable(roots.certificates)
    return Anchors(certificates) if certificates else None
