"""Paths that OpenSSL accepts and that were refused once: odd serial numbers, constraints, keys and extensions."""

from collections.abc import Sequence
from typing import Any

import dns.rdata
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from letterlock.identity.certificates import parse_certificate
from letterlock.identity.dane import DaneMatch, DaneMismatch, match_dane, usable_records
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_pkix
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.certificates import NOT_AFTER, NOT_BEFORE, new_key

NOW = 1_800_000_000.0
HOST = "mx.example.org"
CA = x509.BasicConstraints(True, None)
SAN = x509.SubjectAlternativeName([x509.DNSName(HOST)])
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
ROOT_KEY, SUB_KEY, LEAF_KEY = new_key(), new_key(), new_key()


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def made(
    subject: str,
    issuer: str,
    key: Key,
    signer: Key,
    *extensions: x509.ExtensionType,
    critical: bool = True,
    serial: int = 7,
    algorithm: hashes.HashAlgorithm | None = None,
) -> x509.Certificate:
    """A certificate with exactly these extensions."""
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    builder = builder.public_key(key.public_key()).not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER)
    builder = builder.serial_number(serial)
    for extension in extensions:
        builder = builder.add_extension(extension, critical)
    by_hash = isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    chosen = algorithm or hashes.SHA256()
    return builder.sign(signer, chosen if by_hash else None)  # type: ignore[arg-type]  # any hash that signs


def der(*certificates: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(Encoding.DER) for one in certificates)


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


ROOT = made("Root", "Root", ROOT_KEY, ROOT_KEY, CA)


def outcome(root: x509.Certificate, *chain: x509.Certificate) -> PkixMatch | PkixMismatch:
    return verify_pkix(der(*chain), [HOST], TrustRoots("own", der(root)), NOW)


def below(*extensions: x509.ExtensionType, leaf: Sequence[x509.ExtensionType] = (SAN,)) -> PkixMatch | PkixMismatch:
    """A leaf below an authority with these extensions, below a root."""
    sub = made("Sub", "Root", SUB_KEY, ROOT_KEY, CA, *extensions)
    return outcome(ROOT, made("Leaf", "Sub", LEAF_KEY, SUB_KEY, *leaf, critical=False), sub)


def with_serial_zero(certificate: x509.Certificate) -> bytes:
    whole = certificate.public_bytes(Encoding.DER)
    changed = whole.replace(b"\xa0\x03\x02\x01\x02\x02\x01\x07", b"\xa0\x03\x02\x01\x02\x02\x01\x00")
    assert changed != whole
    return changed


def test_rfc5280_4_1_2_2_a_root_with_serial_number_zero_is_trusted() -> None:
    """An anchor's own signature does not count, so the serial number can be changed after it was signed."""
    root = with_serial_zero(ROOT)
    leaf = der(made("Leaf", "Root", LEAF_KEY, ROOT_KEY, SAN))
    assert isinstance(verify_pkix(leaf, [HOST], TrustRoots("own", (root,)), NOW), PkixMatch)
    for record in (TLSARecord(2, 0, 0, root), TLSARecord(3, 0, 0, root)):
        assert usable_records([record]) == (record,)
    assert isinstance(match_dane(leaf, [TLSARecord(2, 0, 0, root)], [HOST], NOW), DaneMatch)
    assert isinstance(match_dane((root,), [TLSARecord(3, 0, 0, root)], [HOST], NOW), DaneMatch)


def constraints(
    permitted: Sequence[x509.GeneralName] = (), excluded: Sequence[x509.GeneralName] = ()
) -> x509.NameConstraints:
    return x509.NameConstraints(list(permitted) or None, list(excluded) or None)


ORG = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mail")])


@pytest.mark.parametrize(
    "permitted",
    [
        constraints([x509.DNSName("example.org"), x509.DirectoryName(name("Leaf"))]),
        constraints([x509.DNSName("example.org")], [x509.DirectoryName(ORG)]),
        constraints([x509.DNSName(".example.org")]),
        constraints([x509.DNSName("")]),
        constraints(excluded=[x509.DNSName("elsewhere.example")]),
    ],
)
def test_rfc5280_4_2_1_10_name_constraints_that_permit_the_name_permit_the_path(
    permitted: x509.NameConstraints,
) -> None:
    assert isinstance(below(permitted), PkixMatch)


@pytest.mark.parametrize(
    ("forbidding", "words"),
    [
        (constraints([x509.DNSName("elsewhere.example")]), "a name of Leaf is outside the name constraints"),
        (constraints([x509.DNSName(".mx.example.org")]), "a name of Leaf is outside the name constraints"),
        (constraints(excluded=[x509.DNSName("example.org")]), "a name of Leaf is excluded by the name constraints"),
        (constraints(excluded=[x509.DNSName("")]), "a name of Leaf is excluded by the name constraints"),
        (constraints([x509.DirectoryName(ORG)]), "a name of Leaf is outside the name constraints"),
        (constraints([x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))]), None),
    ],
)
def test_rfc5280_4_2_1_10_name_constraints_that_do_not_permit_it_refuse_the_path(
    forbidding: x509.NameConstraints, words: str | None
) -> None:
    found = below(forbidding)
    if words is None:  # no name of that kind in the leaf: nothing to compare
        assert isinstance(found, PkixMatch)
        return
    assert isinstance(found, PkixMismatch)
    assert found.kind is MismatchKind.UNTRUSTED
    assert words in found.detail


def test_rfc5280_4_2_1_4_critical_certificate_policies_are_understood() -> None:
    policies = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)])
    assert isinstance(below(policies), PkixMatch)


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()])
def test_rfc8410_authorities_may_have_edwards_curve_keys(key: Key) -> None:
    root = made("Root", "Root", key, key, CA)
    assert isinstance(outcome(root, made("Leaf", "Root", LEAF_KEY, key, SAN)), PkixMatch)
    record = TLSARecord(2, 1, 0, spki(key))
    leaf = made("Leaf", "Root", LEAF_KEY, key, SAN)
    assert isinstance(match_dane(der(leaf), [record], [HOST], NOW), DaneMatch)


def test_rfc7671_5_2_2_a_bare_key_has_no_name_that_the_leaf_could_contradict() -> None:
    """The authority is sent under another name than the leaf's issuer: the key that the record holds signed all the
    same, as OpenSSL sees it too."""
    leaf = made("Leaf", "Old name", LEAF_KEY, ROOT_KEY, SAN)
    for chain in (der(leaf), der(leaf, ROOT)):
        found = match_dane(chain, [TLSARecord(2, 1, 0, spki(ROOT_KEY))], [HOST], NOW)
        assert isinstance(found, DaneMatch), found


def test_rfc5280_6_1_1_an_anchor_of_version_1_is_trusted_as_it_is() -> None:
    """No extension can say that it is an authority; whoever trusts it says so."""
    root = version_1(ROOT_KEY)
    found = verify_pkix(der(made("Leaf", "Root", LEAF_KEY, ROOT_KEY, SAN)), [HOST], TrustRoots("own", (root,)), NOW)
    assert isinstance(found, PkixMatch)


def version_1(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A self-signed certificate of version 1: the one of version 3 without its version and extensions."""
    whole = made("Root", "Root", key, key)
    inner = whole.tbs_certificate_bytes
    assert inner[:2] == b"\x30\x81"
    body = inner[3:].removeprefix(b"\xa0\x03\x02\x01\x02")
    tbs = b"\x30\x81" + bytes((len(body),)) + body
    signature = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    rest = tbs + algorithm + b"\x03" + bytes((len(signature) + 1, 0)) + signature
    certificate = b"\x30\x82" + len(rest).to_bytes(2) + rest
    assert parse_certificate(certificate).version is x509.Version.v1
    return certificate


def test_of_two_authorities_of_one_name_without_key_identifiers_the_right_one_is_found() -> None:
    """An authority renewed its key: both certificates are trusted, or sent."""
    old_key = new_key()
    old = made("Root", "Root", old_key, old_key, CA)
    leaf = made("Leaf", "Root", LEAF_KEY, ROOT_KEY, SAN)
    for roots in ((old, ROOT), (ROOT, old)):
        assert isinstance(verify_pkix(der(leaf), [HOST], TrustRoots("own", der(*roots)), NOW), PkixMatch)
    subs = made("Sub", "Root", old_key, ROOT_KEY, CA), made("Sub", "Root", SUB_KEY, ROOT_KEY, CA)
    leaf = made("Leaf", "Sub", LEAF_KEY, SUB_KEY, SAN)
    for sent in (subs, tuple(reversed(subs))):
        assert isinstance(outcome(ROOT, leaf, *sent), PkixMatch)


def test_rfc5280_7_1_names_are_compared_without_case_and_runs_of_blanks() -> None:
    root = made("The  Root", "The  Root", ROOT_KEY, ROOT_KEY, CA)
    assert isinstance(outcome(root, made("Leaf", "the root", LEAF_KEY, ROOT_KEY, SAN)), PkixMatch)


# What is refused, and in which words.

SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose


def test_a_server_key_of_1024_bits_is_refused_but_by_dane_ee() -> None:
    """RFC 7671 section 5.1: with DANE-EE(3) the key that the domain published is the whole proof."""
    leaf = made("Leaf", "Root", SHORT, ROOT_KEY, SAN)
    found = outcome(ROOT, leaf)
    assert isinstance(found, PkixMismatch)
    assert found.kind is MismatchKind.UNTRUSTED
    assert "its key is too short: RSA with 1024 bits; at least 2048 are required" in found.detail
    by_authority = match_dane(der(leaf, ROOT), [TLSARecord(2, 0, 0, *der(ROOT))], [HOST], NOW)
    assert isinstance(by_authority, DaneMismatch)
    assert "RSA with 1024 bits" in by_authority.detail
    assert isinstance(match_dane(der(leaf), [TLSARecord(3, 1, 0, spki(SHORT))], [HOST], NOW), DaneMatch)


def test_an_authority_with_a_key_of_1024_bits_is_refused() -> None:
    root = made("Root", "Root", SHORT, SHORT, CA)
    found = outcome(root, made("Leaf", "Root", LEAF_KEY, SHORT, SAN))
    assert isinstance(found, PkixMismatch)
    assert "the key of its issuer Root is too short: RSA with 1024 bits" in found.detail


def test_a_signature_with_a_weak_hash_is_refused() -> None:
    found = outcome(ROOT, made("Leaf", "Root", LEAF_KEY, ROOT_KEY, SAN, algorithm=hashes.SHA224()))
    assert isinstance(found, PkixMismatch)
    assert "SHA224" in found.detail


@pytest.mark.parametrize("second", [None, "Sub"])
def test_an_expired_authority_in_trust_is_said_to_have_expired(second: str | None) -> None:
    late = NOT_AFTER.timestamp() + 86_400
    sub = made("Sub", "Root", SUB_KEY, ROOT_KEY, CA)
    leaf = made("Leaf", second or "Root", LEAF_KEY, SUB_KEY if second else ROOT_KEY, SAN)
    found = verify_pkix(der(leaf, sub), [HOST], TrustRoots("own.pem", der(ROOT)), late)
    assert isinstance(found, PkixMismatch)
    assert found.kind is MismatchKind.EXPIRED
    assert f"expired on {NOT_AFTER:%Y-%m-%d}" in found.detail


def test_rfc5280_4_2_1_9_too_many_authorities_below_are_said_to_be() -> None:
    root = made("Root", "Root", ROOT_KEY, ROOT_KEY, x509.BasicConstraints(True, 0))
    sub = made("Sub", "Root", SUB_KEY, ROOT_KEY, CA)
    found = outcome(root, made("Leaf", "Sub", LEAF_KEY, SUB_KEY, SAN), sub)
    assert isinstance(found, PkixMismatch)
    assert "more authorities stand below Root than it allows (pathLenConstraint)" in found.detail


def test_rfc5280_4_2_an_unknown_critical_extension_is_said_to_be_unknown() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    found = below(odd)
    assert isinstance(found, PkixMismatch)
    assert "the certificate of Sub has a critical extension that is not known" in found.detail


def test_dnspython_records_are_refused_in_plain_words() -> None:
    record: Any = dns.rdata.from_text("IN", "TLSA", "3 1 1 " + "ab" * 32)
    for call in (lambda: match_dane(der(ROOT), [record], [HOST], NOW), lambda: usable_records([record])):
        with pytest.raises(TypeError, match=r"TLSARecord.from_rdata\(record.to_wire\(\)\)"):
            call()
