"""Certification paths (RFC 5280 section 6) for mail: found here within a budget, each then checked by OpenSSL.

The search follows names and signatures from the server's certificate to a trust anchor, to every anchor at once, and
spends a budget counted in signature checks: a hostile chain costs no more than any other. What it finds is checked
whole by OpenSSL and by the rules of `letterlock.identity.validity`.

Server names are compared in `letterlock.identity.certificate_names`: DANE and PKIX have different rules for them.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from letterlock.identity.certificates import issuer_of, subject_of, valid_at, worth_remembering
from letterlock.identity.signers import OutOfSignatures, SignatureBudget, issued_by, signature_fault
from letterlock.identity.strength import key_fault
from letterlock.identity.validity import (
    NameKey,
    dates_fault,
    issuer_key,
    key_identifiers_fit,
    path_fault,
    subject_key,
)

MAX_CHAIN_CERTIFICATES = 16  # a real server sends two to four
MAX_PATH_DEPTH = 8  # intermediate authorities; real paths have one to three
MAX_PATHS_KEPT = 256  # the chains of the destinations that are in use


class Anchors:
    """Certificates at which a path may end. The same object means the same anchors: paths are remembered by it."""

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self.certificates = frozenset(certificates)
        self._by_subject: dict[NameKey, list[x509.Certificate]] = {}
        for one in dict.fromkeys(certificates):
            self._by_subject.setdefault(subject_key(one), []).append(one)

    def named(self, subject: NameKey) -> Sequence[x509.Certificate]:
        """Those with this subject."""
        return self._by_subject.get(subject, ())


@dataclass(frozen=True, slots=True)
class CertificationPath:
    """The certificates from the server's own to the trust anchor."""

    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class NoPath:
    """No path to the trust anchors. `expired`: there is one but for the dates of a certificate."""

    detail: str
    expired: bool = False


_FOUND: dict[tuple[x509.Certificate, tuple[x509.Certificate, ...], Anchors], CertificationPath] = {}


def build_path(
    leaf: x509.Certificate,
    others: Sequence[x509.Certificate],
    anchors: Anchors | None,
    now: float,
    budget: SignatureBudget | None = None,
    *,
    remember: bool = True,
) -> CertificationPath | NoPath:
    """Find a path from a server's certificate to one of the anchors, valid at `now` (seconds since 1970).

    A leaf that is itself an anchor needs no issuer. At most MAX_PATH_DEPTH authorities stand between.
    A path that was found before, for the same certificates and the same `anchors` object, holds as long as the dates of
    its certificates say. This one is kept for that if it is to be remembered.
    """
    if anchors is None:
        return NoPath("there is no root to trust")
    question = (leaf, tuple(others), anchors)
    known = _FOUND.get(question)
    if known is not None and all(valid_at(one, now) for one in known.certificates):
        return known
    found = _Search(others, anchors, now, budget or SignatureBudget()).run(leaf)
    if remember and isinstance(found, CertificationPath) and worth_remembering((leaf, *others)):
        if len(_FOUND) >= MAX_PATHS_KEPT:
            _FOUND.clear()
        _FOUND[question] = found
    return found


@dataclass(slots=True)
class _Search:
    """One search. `_faults` are dead ends, each with how near to a path it came; the nearest explains the failure."""

    others: Sequence[x509.Certificate]
    anchors: Anchors
    now: float
    budget: SignatureBudget
    _faults: list[tuple[int, str]] = field(default_factory=list)
    _known: dict[x509.Certificate, list[x509.Certificate]] = field(default_factory=dict)  # who may have issued which
    _subjects: list[tuple[NameKey, x509.Certificate]] = field(init=False)

    def __post_init__(self) -> None:
        self._subjects = [(subject_key(one), one) for one in self.others]

    def run(self, leaf: x509.Certificate) -> CertificationPath | NoPath:
        """The first valid path, or why there is none."""
        if (fault := key_fault(leaf)) is not None:
            return NoPath(f"its key {fault}")
        try:
            return self._first_valid(leaf)
        except OutOfSignatures:
            return NoPath("to check its chain takes more signature checks than are allowed")

    def _first_valid(self, leaf: x509.Certificate) -> CertificationPath | NoPath:
        """Raises OutOfSignatures."""
        outdated: str | None = None
        for path in self._paths((leaf,)):
            self.budget.spend(len(path))
            if (fault := path_fault(path)) is not None:
                self._faults.append((2, fault))
            elif (date := self._outdated(path)) is None:
                return CertificationPath(path)
            else:
                outdated = outdated or date
        if outdated is not None:
            return NoPath(outdated, expired=True)
        return NoPath(max(self._faults, key=lambda fault: fault[0])[1])

    def _paths(self, path: tuple[x509.Certificate, ...]) -> Iterator[tuple[x509.Certificate, ...]]:
        """Every way from the end of a path to an anchor, the likeliest first. Raises OutOfSignatures."""
        top = path[-1]
        if top in self.anchors.certificates:
            yield path  # and go on: where this path is not valid, a longer one may be
        if top not in self._known:
            self._known[top] = self._candidates(top)
        candidates = [one for one in self._known[top] if one not in path]
        if not candidates:
            self._faults.append((0, _say_unknown(path)))
        elif len(path) > MAX_PATH_DEPTH + 1:
            self._faults.append((1, f"its chain has more than {MAX_PATH_DEPTH} intermediate authorities"))
        else:
            for issuer in candidates:
                if self._issued(top, issuer):
                    yield from self._paths((*path, issuer))

    def _candidates(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """The possible issuers of a certificate, by name and key identifier: anchors first, those valid now first."""
        wanted = issuer_key(certificate)
        found = [*self.anchors.named(wanted), *(one for subject, one in self._subjects if subject == wanted)]
        fitting = [one for one in dict.fromkeys(found) if key_identifiers_fit(certificate, one)]
        return sorted(fitting, key=lambda one: not valid_at(one, self.now))

    def _issued(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether the signature is the issuer's. Raises OutOfSignatures."""
        if (fault := signature_fault(certificate)) is not None:
            self._faults.append((1, f"the signature on the certificate of {subject_of(certificate)} {fault}"))
            return False
        if (fault := key_fault(issuer)) is not None:
            self._faults.append((1, f"the key of its issuer {subject_of(issuer)} {fault}"))
            return False
        self.budget.spend()
        if not issued_by(certificate, issuer):
            text = f"the signature on the certificate of {subject_of(certificate)} is not that of {subject_of(issuer)}"
            self._faults.append((1, text))
            return False
        return True

    def _outdated(self, path: Sequence[x509.Certificate]) -> str | None:
        return next((fault for one in path if (fault := dates_fault(one, self.now)) is not None), None)


@functools.lru_cache(maxsize=256)  # as the certificates in TLSA records, which few domains publish
def remembered_anchors(certificates: tuple[x509.Certificate, ...]) -> Anchors:
    """The anchors that these certificates are: the same object for the same ones. Not for large ones."""
    return Anchors(certificates)


def _say_unknown(path: Sequence[x509.Certificate]) -> str:
    top = path[-1]
    whose = "it" if len(path) == 1 else f"the certificate of {subject_of(top)}"
    if issuer_key(top) == subject_key(top):
        return f"{whose} is self-signed and not among the trusted certificates"
    return f"{whose} was issued by {issuer_of(top)}, who is not known: neither trusted nor sent by the server"
