"""Certificates described, and their keys octet for octet."""

import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letterlock.identity.certificates import InvalidCertificate, describe, parse_certificate, spki, valid_at
from tests.certificates import NOT_AFTER, NOT_BEFORE, authority, self_signed
from tests.identity.random_cases import key, random_case


def test_rfc6698_2_1_2_selector_1_is_the_key_as_it_stands_in_the_certificate() -> None:
    for seed in range(20):
        certificate = parse_certificate(random_case(seed).chain[0])
        assert spki(certificate) == certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    assert key(3).key_size == 2048


def test_a_certificate_is_described_for_people() -> None:
    root = authority("Own CA")
    leaf = root.leaf("mx.example.org", "192.0.2.1")
    found = describe(leaf.der)
    assert (found.subject, found.issuer) == ("mx.example.org", "Own CA")
    assert found.names == ("mx.example.org", "192.0.2.1")
    assert (found.not_before, found.not_after) == (NOT_BEFORE.timestamp(), NOT_AFTER.timestamp())
    assert found.sha256 == hashlib.sha256(leaf.der).hexdigest()
    assert found.spki_sha256 == hashlib.sha256(leaf.spki).hexdigest()
    assert not found.self_issued
    assert describe(self_signed("x.example").der).self_issued
    assert describe(root.der).names == ()


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"nonsense", b"\x30\x82\xff\xff"])
def test_what_is_no_certificate_is_refused(octets: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        describe(octets)


def test_trailing_octets_make_a_certificate_invalid() -> None:
    with pytest.raises(InvalidCertificate):
        parse_certificate(self_signed("x.example").der + b"\0")


def test_validity_includes_both_ends() -> None:
    certificate = self_signed("x.example").certificate
    start, end = NOT_BEFORE.timestamp(), NOT_AFTER.timestamp()
    assert [valid_at(certificate, moment) for moment in (start - 1, start, end, end + 1)] == [False, True, True, False]
