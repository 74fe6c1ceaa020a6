"""Who signed a certificate, when the signer is known by a bare key only (RFC 7671 section 5.2.2, TLSA `2 1 0`)."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

RSA_BITS = range(2048, 8193)  # shorter is weak, longer costs the verifier more than the signer deserves
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def signed_by(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether the certificate was signed with the key whose SubjectPublicKeyInfo is given as DER.

    False also for keys and algorithms that are unknown or weak: SHA-1 and MD5, RSA outside RSA_BITS.
    """
    try:
        public_key = load_der_public_key(key)
        _verify(certificate, public_key)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def _verify(certificate: x509.Certificate, key: object) -> None:
    """Raises InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError."""
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, signed)
        return
    algorithm, parameters = certificate.signature_hash_algorithm, certificate.signature_algorithm_parameters
    if not isinstance(algorithm, _HASHES):
        raise UnsupportedAlgorithm("not a hash to trust")
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
        key.verify(signature, signed, parameters)
    elif isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, padding.PKCS1v15 | padding.PSS):
        if key.key_size not in RSA_BITS:
            raise UnsupportedAlgorithm("RSA key too short or too long")
        key.verify(signature, signed, parameters, algorithm)
    else:
        raise UnsupportedAlgorithm("the key cannot have made this signature")
