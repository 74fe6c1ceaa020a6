"""Chains made to cost: keys that are dear to check, loops of authorities that all signed each other, endless names."""

import functools

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certificates import NOT_AFTER, NOT_BEFORE

CA = x509.BasicConstraints(True, None)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key of a size."""
    return _rsa_key(bits)


@functools.cache
def _rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def with_exponent(key: rsa.RSAPrivateKey, exponent_bits: int) -> rsa.RSAPublicKey:
    """The key with the largest exponent of so many bits: nobody can sign with it, and a check costs all the more."""
    return rsa.RSAPublicNumbers((1 << exponent_bits) - 1, key.public_key().public_numbers().n).public_key()


def looped(
    public: rsa.RSAPublicKey,
    signer: rsa.RSAPrivateKey,
    number: int,
    *extensions: x509.ExtensionType,
    subject: str = "Loop",
    issuer: str = "Loop",
    attributes: int = 1,
) -> bytes:
    """One certificate of a loop: issued by its own name, as are all the others."""
    own, above = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)] * attributes) for one in (subject, issuer)
    )
    builder = x509.CertificateBuilder().subject_name(own).issuer_name(above).public_key(public)
    builder = builder.serial_number(number + 1).not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER)
    for extension in extensions or (CA,):
        builder = builder.add_extension(extension, False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def dear_loop(length: int = 4) -> tuple[bytes, ...]:
    """RSA-3072 with an exponent of 3072 bits, each issued by the name of all."""
    key = rsa_key(3072)
    exponent = key.public_key().public_numbers().n.bit_length() - 1
    return tuple(looped(with_exponent(key, exponent), key, number) for number in range(length))


def honest_loop(length: int, bits: int = 2048) -> tuple[bytes, ...]:
    """Certificates of one name and one key: every one has signed every other, and paths are without number."""
    key = rsa_key(bits)
    return tuple(looped(key.public_key(), key, number) for number in range(length))
