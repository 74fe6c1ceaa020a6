"""Finds the signer of a certificate, and limits how many signatures one judgement may check."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from letterlock.identity.strength import facts_of_key

# An honest chain of four costs six. The dearest check (RSA-8192, the largest exponent) costs half a millisecond.
MAX_SIGNATURE_CHECKS = 32
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class OutOfSignatures(Exception):
    """A judgement would cost more signature checks than it may."""


@dataclass(slots=True)
class SignatureBudget:
    """How many signature checks are `left` to one judgement."""

    left: int = MAX_SIGNATURE_CHECKS

    def spend(self, checks: int = 1) -> None:
        """Count signatures that are about to be checked. Raises OutOfSignatures when too few are left."""
        if checks > self.left:
            raise OutOfSignatures
        self.left -= checks


def signed_by(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether the certificate was signed with the key whose SubjectPublicKeyInfo is given as DER.

    False also for keys and algorithms that are unknown or weak, and for keys that cost too much: SHA-1 and MD5, and
    whatever `KeyFacts.fault` names.
    """
    try:
        return _signed_by_key(certificate, load_der_public_key(key))
    except (ValueError, TypeError, UnsupportedAlgorithm):  # fails closed: what cannot be checked signs nothing
        return False


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the certificate was signed with the key of the other one; false as in `signed_by`."""
    try:
        return _signed_by_key(certificate, issuer.public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):  # as above
        return False


def signature_fault(certificate: x509.Certificate) -> str | None:
    """Why a certificate's signature counts for nothing, in words that follow "its signature"; None for a good one."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # an algorithm that nobody has heard of, or one that is hidden
        return "is by an algorithm that is not supported"
    if algorithm is None or isinstance(algorithm, _HASHES):
        return None
    return f"is made with {algorithm.name.upper()}, which is too weak"


def _signed_by_key(certificate: x509.Certificate, key: object) -> bool:
    """Raises UnsupportedAlgorithm, ValueError, TypeError."""
    facts = facts_of_key(key)
    if facts is None or facts.fault is not None:
        return False
    try:
        return _verify(certificate, key)
    except InvalidSignature:  # the usual way to say no
        return False


def _verify(certificate: x509.Certificate, key: object) -> bool:
    """Raises InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError."""
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, signed)
        return True
    algorithm, parameters = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
    if not isinstance(algorithm, _HASHES):
        return False
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
        key.verify(signature, signed, parameters)
        return True
    if isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, padding.PKCS1v15 | padding.PSS):
        key.verify(signature, signed, parameters, algorithm)
        return True
    return False
