"""At which certificates a path may end for a DANE-TA(2) record, in a chain as it was presented (RFC 7671 5.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.identity.certificates import parse_certificate, spki, subject_of
from letterlock.identity.signers import SignatureBudget, signed_by
from letterlock.identity.tlsa import CERT, DIGESTS, FULL, SPKI, TLSARecord
from letterlock.identity.validity import NameKey, issuer_key, key_identifiers_fit, subject_key

_Digests = dict[bytes, list[x509.Certificate]]


@dataclass(slots=True)
class PresentedChain:
    """The server's certificate and the others that it sent, as far as they can be read.

    Each digest is computed once, however many records there are.
    """

    leaf: x509.Certificate
    others: Sequence[x509.Certificate]
    small: bool = True  # whether what is found of it may be remembered
    _digests: dict[tuple[int, int], _Digests] = field(default_factory=dict)
    _ends: list[x509.Certificate] | None = None

    def anchors(self, record: TLSARecord, budget: SignatureBudget) -> list[x509.Certificate]:
        """The certificates at which a path may end (RFC 7671 sections 5.2.1 to 5.2.3).

        Those of the chain that the record names; the one that it holds whole (`2 0 0`); those that the bare key it
        holds has signed (`2 1 0`), whatever name of an issuer they carry, for a bare key has none, but only where the
        chain does not go on. The server's own certificate is nobody's authority. Raises OutOfSignatures.
        """
        named = self._named(record)
        if record.matching_type != FULL:
            return named
        if record.selector == SPKI:
            return [*named, *self._signed_by(record.data, budget)]
        anchor = parse_certificate(record.data)
        return named or ([anchor] if anchor != self.leaf else [])

    def say_not_sent(self, record: TLSARecord) -> str:
        """That no certificate of the chain has to do with a record, for people."""
        sent = ", ".join(subject_of(one) for one in self.others) or "none"
        return f"the authority of the record {record.short} is not in the presented chain (issuers sent: {sent})"

    def _named(self, record: TLSARecord) -> list[x509.Certificate]:
        kind = record.selector, record.matching_type
        if kind not in self._digests:
            found: _Digests = {}
            for one in self.others:
                if one != self.leaf:
                    found.setdefault(_association(one, *kind), []).append(one)
            self._digests[kind] = found
        return self._digests[kind].get(record.data, [])

    def _signed_by(self, key: bytes, budget: SignatureBudget) -> list[x509.Certificate]:
        signed = []
        for one in self._tops():
            budget.spend()
            if signed_by(one, key):
                signed.append(one)
        return signed

    def _tops(self) -> Sequence[x509.Certificate]:
        """Where the chain does not go on: the certificates whose issuer was not sent."""
        if self._ends is None:
            subjects = [(subject_key(one), one) for one in self.others]
            self._ends = [one for one in dict.fromkeys((self.leaf, *self.others)) if not _is_issued(one, subjects)]
        return self._ends


def _is_issued(certificate: x509.Certificate, subjects: Sequence[tuple[NameKey, x509.Certificate]]) -> bool:
    wanted = issuer_key(certificate)
    return any(
        subject == wanted and one != certificate and key_identifiers_fit(certificate, one) for subject, one in subjects
    )


def _association(certificate: x509.Certificate, selector: int, matching_type: int) -> bytes:
    selected = certificate.public_bytes(Encoding.DER) if selector == CERT else spki(certificate)
    return selected if matching_type == FULL else DIGESTS[matching_type](selected).digest()
