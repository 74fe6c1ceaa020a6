"""What people are told of a certificate, a chain or a record, word for word."""

import hashlib

import pytest
from cryptography import x509

from letterlock.identity.certificate_names import name_matches, say_names
from letterlock.identity.dane import DaneMismatch, match_dane
from letterlock.identity.pkix import PkixMismatch, verify_pkix
from letterlock.identity.tlsa import MATCHING_TYPES, SELECTORS, USAGES, TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.certificates import authority, self_signed
from tests.identity.test_odd_certificates import subject
from tests.identity.test_pkix import CA_KEY, LEAF_KEY, NAME, UNKNOWN, certificate

NOW = 1_800_000_000.0
HOST = "mx.example.org"
ROOT = authority()
INTERMEDIATE = ROOT.intermediate()
LEAF = INTERMEDIATE.leaf(HOST)
ROOTS = TrustRoots("own.pem", (ROOT.der,))
AB = TLSARecord(2, 0, 1, b"\xab" * 32)


def by_pkix(*chain: bytes, names: tuple[str, ...] = (HOST,), roots: TrustRoots = ROOTS) -> str:
    found = verify_pkix(chain, names, roots, NOW)
    assert isinstance(found, PkixMismatch)
    return found.detail


def by_dane(*chain: bytes, record: TLSARecord = AB, names: tuple[str, ...] = (HOST,)) -> str:
    found = match_dane(chain, [record], names, NOW)
    assert isinstance(found, DaneMismatch)
    return found.detail


def test_what_pkix_says_of_a_chain() -> None:
    assert by_pkix() == "the server presented no certificate"
    assert by_pkix(LEAF.der, roots=TrustRoots("none", ())) == (
        f"certificate of {HOST}: there is no root to trust (trusting none)"
    )
    forged = authority().intermediate().leaf(HOST)
    assert by_pkix(forged.der, *LEAF.chain[1:]) == (
        f"certificate of {HOST}: it was issued by Test Intermediate, {UNKNOWN} (trusting own.pem)"
    )
    assert by_pkix(*LEAF.chain, names=("a.example", "b.example")) == (
        f"the certificate has {HOST}; wanted: a.example, b.example"
    )
    assert by_pkix(ROOT.leaf(common_name=HOST).der) == (
        f"the certificate has no DNS name in subjectAltName; wanted: {HOST}"
    )


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([], "Root is not a certificate authority"),
        ([x509.BasicConstraints(False, None)], "Root is not a certificate authority (basicConstraints)"),
    ],
)
def test_rfc5280_6_1_4_k_who_is_no_authority_is_told_so(extensions: list[x509.ExtensionType], why: str) -> None:
    top = certificate("Root", "Root", key=CA_KEY, signer=CA_KEY, extensions=extensions)
    own = certificate("Leaf", "Root", key=LEAF_KEY, signer=CA_KEY, extensions=[NAME])
    assert why in by_pkix(own, roots=TrustRoots("bare", (top,)))


def test_what_the_verifier_says_is_told_without_what_it_was_looking_at() -> None:
    certificates_only = x509.KeyUsage(
        False, False, False, False, False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False
    )
    authority_only = [x509.BasicConstraints(True, None)]
    top = certificate("Root", "Root", key=CA_KEY, signer=CA_KEY, extensions=authority_only)
    own = certificate("Leaf", "Root", key=LEAF_KEY, signer=CA_KEY, extensions=[NAME, certificates_only])
    detail = by_pkix(own, roots=TrustRoots("bare", (top,)))
    assert detail.endswith("its keyUsage does not allow TLS (trusting bare)")


def test_what_dane_says_of_a_chain() -> None:
    assert by_dane() == "the server presented no certificate"
    missing = "the authority of the record 2 0 1 abababab is not in the presented chain (issuers sent: {})"
    assert by_dane(LEAF.der) == missing.format("none")
    assert by_dane(*LEAF.chain, ROOT.der) == missing.format("Test Intermediate, Test Root")
    named = TLSARecord(2, 0, 1, hashlib.sha256(ROOT.der).digest())
    assert by_dane(*LEAF.chain, ROOT.der, record=named, names=("a.example", "b.example")) == (
        f"the certificate has {HOST}; wanted: a.example, b.example"
    )
    assert by_dane(LEAF.der, record=TLSARecord(0, 0, 1, bytes(32))) == "none of the TLSA records is usable"


@pytest.mark.parametrize(("selector", "what"), [(0, "certificate"), (1, "key")])
@pytest.mark.parametrize("matching_type", [0, 1, 2])
def test_what_dane_ee_wanted_and_what_it_got(selector: int, what: str, matching_type: int) -> None:
    """A record that holds the whole is told by its digest."""
    other = self_signed(HOST)
    wanted, shown = (one.spki if selector else one.der for one in (other, LEAF))
    digest = hashlib.sha512 if matching_type == 2 else hashlib.sha256
    data = digest(wanted).digest() if matching_type else wanted
    kind = "SHA2-512" if matching_type == 2 else "SHA2-256"
    assert by_dane(LEAF.der, record=TLSARecord(3, selector, matching_type, data)) == (
        f"wanted the server's {what} with {kind} {digest(wanted).hexdigest()}; presented: {digest(shown).hexdigest()}"
    )


def test_a_key_that_cannot_be_read_is_told_as_such() -> None:
    detail = by_dane(b"nonsense", record=TLSARecord(3, 1, 1, b"\xab" * 32))
    assert detail == f"wanted the server's key with SHA2-256 {'ab' * 32}; presented: one that cannot be read"


def test_a_certificate_without_names() -> None:
    bare = x509.load_der_x509_certificate(subject())
    assert say_names(bare, common_name=True) == "no name at all"
    assert say_names(bare, common_name=False) == "no DNS name in subjectAltName"
    nameless = ROOT.leaf(common_name=HOST).certificate
    assert say_names(nameless, common_name=True) == HOST


def test_rfc9525_6_3_a_star_below_the_first_label_is_no_wildcard_even_for_itself() -> None:
    assert not name_matches("*.*.example.org", "mx.*.example.org")
    assert not name_matches("*.m*.example.org", "mx.m*.example.org")


def test_rfc7218_the_names_of_numbers_in_records() -> None:
    assert USAGES == {0: "PKIX-TA", 1: "PKIX-EE", 2: "DANE-TA", 3: "DANE-EE"}
    assert SELECTORS == {0: "Cert", 1: "SPKI"}
    assert MATCHING_TYPES == {0: "Full", 1: "SHA2-256", 2: "SHA2-512"}


def test_a_record_as_text_whole_and_short() -> None:
    record = TLSARecord(3, 1, 2, bytes(range(6)))
    assert str(record) == "3 1 2 000102030405"
    assert record.short == "3 1 2 00010203"


def test_roots_are_shown_without_their_certificates() -> None:
    assert repr(ROOTS) == "TrustRoots(name='own.pem')"
