"""What a chain may cost: signature checks are counted, dear keys are never used, names are bounded."""

import hashlib
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from letterlock.identity import path, signers
from letterlock.identity.certificates import MAX_NAME_OCTETS, InvalidCertificate, parse_certificate
from letterlock.identity.dane import DaneMatch, DaneMismatch, match_dane
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_pkix
from letterlock.identity.signers import MAX_SIGNATURE_CHECKS
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.certificates import authority
from tests.identity.hostile_chains import CA, dear_loop, honest_loop, looped, rsa_key, with_exponent

NOW = 1_800_000_000.0
HOST = "mx.example.org"
ROOTS = TrustRoots("own", (authority().der,))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each signature that was really checked by us."""
    made: list[object] = []
    honest: Callable[[x509.Certificate, object], bool] = signers._verify

    def counted(certificate: x509.Certificate, key: object) -> bool:
        made.append(key)
        return honest(certificate, key)

    path._FOUND.clear()
    monkeypatch.setattr(signers, "_verify", counted)
    return made


def spki_digest(der: bytes) -> bytes:
    key = x509.load_der_x509_certificate(der).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def test_keys_with_huge_exponents_are_never_used(checks: list[object]) -> None:
    """RSA-3072 with an exponent of 3072 bits, a self-issued loop of four, 50 records `2 1 1` of which one names it."""
    chain = dear_loop()
    records = [TLSARecord(2, 1, 1, number.to_bytes(32)) for number in range(49)]
    records.append(TLSARecord(2, 1, 1, spki_digest(chain[0])))
    began = time.process_time()
    found = match_dane(chain, records, [HOST], NOW)
    assert time.process_time() - began < 0.05
    assert isinstance(found, DaneMismatch)
    assert found.kind is MismatchKind.UNTRUSTED
    assert found.detail == "its key has an RSA exponent of 3071 bits; at most 33 are accepted"
    assert isinstance(verify_pkix(chain, [HOST], ROOTS, NOW), PkixMismatch)
    assert not checks


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (with_exponent(rsa_key(2048), 34), "the key of its issuer Loop has an RSA exponent of 34 bits"),
        (with_exponent(rsa_key(2048), 1024), "the key of its issuer Loop has an RSA exponent of 1024 bits"),
    ],
)
def test_an_authority_with_a_dear_key_is_not_asked(key: object, words: str, checks: list[object]) -> None:
    above = looped(key, rsa_key(2048), 1, CA)  # type: ignore[arg-type]  # a public RSA key
    leaf = looped(rsa_key(2048).public_key(), rsa_key(2048), 2, subject=HOST)
    found = match_dane([leaf, above], [TLSARecord(2, 0, 0, above)], [HOST], NOW)
    assert isinstance(found, DaneMismatch)
    assert words in found.detail
    assert not checks


def test_a_loop_of_authorities_costs_no_more_than_the_budget(checks: list[object]) -> None:
    chain = honest_loop(16)
    found = verify_pkix(chain, [HOST], ROOTS, NOW)
    assert isinstance(found, PkixMismatch)
    assert "more signature checks than are allowed" in found.detail
    assert len(checks) <= MAX_SIGNATURE_CHECKS


def test_a_loop_does_not_hide_a_path_that_ends_at_an_anchor(checks: list[object]) -> None:
    chain = honest_loop(8)
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    leaf = looped(rsa_key().public_key(), rsa_key(), 99, names, subject=HOST)
    found = match_dane([leaf, *chain], [TLSARecord(2, 0, 1, hashlib.sha256(chain[5]).digest())], [HOST], NOW)
    assert isinstance(found, DaneMatch)
    assert len(checks) == 1


def test_many_bare_keys_cost_no_more_than_the_budget(checks: list[object]) -> None:
    chain = honest_loop(2)
    keys = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(50)]
    records = [TLSARecord(2, 1, 0, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) for key in keys]
    strangers = [looped(rsa_key().public_key(), rsa_key(), n, issuer=f"Stranger {n}") for n in range(10)]
    found = match_dane([*strangers, *chain], records, [HOST], NOW)
    assert isinstance(found, DaneMismatch)
    assert "more keys than may be tried" in found.detail
    assert len(checks) <= MAX_SIGNATURE_CHECKS


def test_names_of_no_end_make_a_certificate_unreadable() -> None:
    with pytest.raises(InvalidCertificate, match="the subject or issuer of the certificate is longer than 1024 bytes"):
        parse_certificate(looped(rsa_key().public_key(), rsa_key(), 1, attributes=100))
    assert MAX_NAME_OCTETS == 1024


def test_a_certificate_of_more_than_64_kib_is_not_read() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("a" * 60)] * 1100)
    with pytest.raises(InvalidCertificate, match="longer than 65536 bytes"):
        parse_certificate(looped(rsa_key().public_key(), rsa_key(), 1, names))


def test_names_and_name_constraints_without_end_are_not_compared() -> None:
    key = rsa_key()
    permitted = x509.NameConstraints([x509.DNSName(f"d{number}.example") for number in range(100)], None)
    above = looped(key.public_key(), key, 1, CA, permitted)
    for count, words in ((400, "outside the name constraints"), (600, "too many to compare")):
        names = x509.SubjectAlternativeName([x509.DNSName(f"n{number}.example") for number in range(count)])
        leaf = looped(key.public_key(), key, 2, names, subject=HOST)
        found = match_dane([leaf, above], [TLSARecord(2, 0, 0, above)], [HOST], NOW)
        assert isinstance(found, DaneMismatch)
        assert words in found.detail


def test_a_dear_key_matches_by_dane_ee_all_the_same() -> None:
    """No signature of it is checked here."""
    chain = dear_loop(1)
    assert isinstance(match_dane(chain, [TLSARecord(3, 1, 1, spki_digest(chain[0]))], [], NOW), DaneMatch)


def test_control_characters_in_a_subject_are_escaped() -> None:
    key = rsa_key()
    certificate = looped(key.public_key(), key, 1, subject="a\u009b31m\u202eb\nc")
    found = verify_pkix([certificate], [HOST], ROOTS, NOW)
    assert not isinstance(found, PkixMatch)
    assert found.detail.startswith(r"certificate of a\x9b31m\u202eb\nc: ")


def test_large_certificates_are_not_remembered() -> None:
    """What is parsed of 60 KiB takes 2 MB of memory: 256 of them, from as many servers, would take all there is."""
    key = rsa_key()
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)] * 600)
    leaf, above = looped(key.public_key(), key, 1, names, subject=HOST), looped(key.public_key(), key, 2)
    assert parse_certificate(leaf) is not parse_certificate(leaf)
    assert parse_certificate(above) is parse_certificate(above)
    path._FOUND.clear()
    assert isinstance(match_dane([leaf, above], [TLSARecord(2, 0, 0, above)], [HOST], NOW), DaneMatch)
    assert not path._FOUND
