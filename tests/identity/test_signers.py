"""Certificates and the bare keys that signed them (RFC 7671 section 5.2.2)."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from letterlock.identity.signers import signed_by

SignerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP384R1())


def certificate(
    key: SignerKey,
    algorithm: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
    rsa_padding: padding.PSS | None = None,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signed")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(EC_KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + dt.timedelta(days=1))
    return builder.sign(key, algorithm, rsa_padding=rsa_padding)


def public(key: SignerKey | x25519.X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA_KEY, hashes.SHA256()),
        (RSA_KEY, hashes.SHA512()),
        (EC_KEY, hashes.SHA384()),
        (ed25519.Ed25519PrivateKey.generate(), None),
        (ed448.Ed448PrivateKey.generate(), None),
    ],
)
def test_the_key_that_signed_is_known(key: SignerKey, algorithm: hashes.SHA256 | None) -> None:
    signed = certificate(key, algorithm)
    assert signed_by(signed, public(key))
    for other in (RSA_KEY, EC_KEY, ed25519.Ed25519PrivateKey.generate()):
        assert signed_by(signed, public(other)) is (other is key)


def test_rsa_pss_is_known_too() -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    assert signed_by(certificate(RSA_KEY, hashes.SHA256(), pss), public(RSA_KEY))


def test_weak_hashes_and_keys_sign_nothing() -> None:
    assert not signed_by(certificate(RSA_KEY, hashes.SHA224()), public(RSA_KEY))
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
    assert not signed_by(certificate(weak, hashes.SHA256()), public(weak))


def test_what_is_no_key_or_cannot_sign_signed_nothing() -> None:
    signed = certificate(EC_KEY, hashes.SHA256())
    assert not signed_by(signed, b"nonsense")
    assert not signed_by(signed, public(x25519.X25519PrivateKey.generate()))


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (RSA_KEY, rsa.generate_private_key(65537, 2048)),
        (EC_KEY, ec.generate_private_key(ec.SECP384R1())),
        (ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()),
        (ed448.Ed448PrivateKey.generate(), ed448.Ed448PrivateKey.generate()),
    ],
)
def test_another_key_of_the_same_kind_did_not_sign(own: SignerKey, other: SignerKey) -> None:
    algorithm = hashes.SHA256() if isinstance(own, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) else None
    assert signed_by(certificate(own, algorithm), public(own))
    assert not signed_by(certificate(own, algorithm), public(other))
