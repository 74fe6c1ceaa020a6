"""PKIX under mail's own extension policy: RFC 5280 section 6, RFC 9525."""

import datetime as dt
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMatch, PkixMismatch, verify_pkix
from letterlock.identity.trust import TrustRoots
from tests.certificates import NOT_AFTER, NOT_BEFORE, authority, new_key, self_signed

NOW = 1_800_000_000.0
PAST = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
HOST = "mx.example.org"
ROOT = authority()
ROOTS = TrustRoots("own.pem", (ROOT.der,))
UNKNOWN = "who is not known: neither trusted nor sent by the server"


def kind(chain: Sequence[bytes], roots: TrustRoots = ROOTS, now: float = NOW) -> MismatchKind | None:
    found = verify_pkix(chain, [HOST], roots, now)
    return None if isinstance(found, PkixMatch) else found.kind


def certificate(
    subject: str,
    issuer: str,
    *,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extensions: Sequence[x509.ExtensionType] = (),
    critical: bool = True,
) -> bytes:
    """A certificate with exactly these extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


CA_KEY, LEAF_KEY = new_key(), new_key()
CA = x509.BasicConstraints(True, None)
NAME = x509.SubjectAlternativeName([x509.DNSName(HOST)])


def below(root: Sequence[x509.ExtensionType], leaf: Sequence[x509.ExtensionType]) -> MismatchKind | None:
    """What becomes of a leaf under a trusted root, each with exactly these extensions."""
    top = certificate("Root", "Root", key=CA_KEY, signer=CA_KEY, extensions=root)
    own = certificate("Leaf", "Root", key=LEAF_KEY, signer=CA_KEY, extensions=leaf)
    return kind([own], TrustRoots("bare", (top,)))


def test_a_chain_to_a_root_with_the_name_is_trusted() -> None:
    leaf = ROOT.intermediate().leaf(HOST)
    found = verify_pkix(leaf.chain, ["a.example", HOST], ROOTS, NOW)
    assert found == PkixMatch(reference=HOST, root="Test Root")
    assert str(found) == f"{HOST}, issued under Test Root"
    assert verify_pkix((*leaf.chain, ROOT.der), [HOST], ROOTS, NOW) == found


def test_a_root_by_one_openssl_command_is_trusted(tmp_path: Path) -> None:
    key, pem = tmp_path / "key.pem", tmp_path / "ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"]
    subprocess.run([*command, "/CN=Mine", "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    made = x509.load_pem_x509_certificate(pem.read_bytes())
    leaf_pem = tmp_path / "leaf.pem"
    sign = ["-CA", str(pem), "-CAkey", str(key), "-addext", f"subjectAltName=DNS:{HOST}", "-out", str(leaf_pem)]
    subprocess.run([*command, "/CN=mx", "-keyout", str(tmp_path / "leaf.key"), *sign], check=True, capture_output=True)
    leaf = x509.load_pem_x509_certificate(leaf_pem.read_bytes())
    roots = TrustRoots(str(pem), (made.public_bytes(Encoding.DER),))
    now = made.not_valid_before_utc.timestamp() + 3600
    assert kind([leaf.public_bytes(Encoding.DER)], roots, now) is None


def test_key_identifiers_and_usages_may_be_missing() -> None:
    assert below([CA], [NAME]) is None


def test_a_self_signed_certificate_that_is_itself_a_root_is_trusted() -> None:
    own = self_signed(HOST)
    assert kind(own.chain, TrustRoots("pinned", (own.der,))) is None
    assert kind(own.chain) is MismatchKind.UNTRUSTED
    as_authority = certificate(HOST, HOST, key=CA_KEY, signer=CA_KEY, extensions=[CA, NAME])
    assert kind([as_authority], TrustRoots("pinned", (as_authority,))) is None


def test_no_root_is_no_trust() -> None:
    leaf = ROOT.leaf(HOST)
    assert kind(leaf.chain, TrustRoots("none", ())) is MismatchKind.UNTRUSTED
    assert kind(leaf.chain, TrustRoots("broken", (b"nonsense",))) is MismatchKind.UNTRUSTED
    assert kind(leaf.chain, TrustRoots("other", (authority().der,))) is MismatchKind.UNTRUSTED


def test_a_root_that_cannot_be_read_does_not_spoil_the_others() -> None:
    assert kind(ROOT.leaf(HOST).chain, TrustRoots("mixed", (b"nonsense", ROOT.der))) is None


def test_the_missing_intermediate_is_missed() -> None:
    leaf = ROOT.intermediate().leaf(HOST)
    found = verify_pkix(leaf.chain[:1], [HOST], ROOTS, NOW)
    assert isinstance(found, PkixMismatch)
    assert found.kind is MismatchKind.UNTRUSTED
    assert found.detail == f"certificate of {HOST}: it was issued by Test Intermediate, {UNKNOWN} (trusting own.pem)"


def test_rfc5280_6_1_3_dates() -> None:
    leaf = ROOT.leaf(HOST, not_after=PAST)
    found = verify_pkix(leaf.chain, [HOST], ROOTS, NOW)
    assert isinstance(found, PkixMismatch)
    assert found.kind is MismatchKind.EXPIRED
    assert found.detail.endswith(f"the certificate of {HOST} expired on 2021-01-01")
    assert kind(leaf.chain, now=PAST.timestamp()) is None
    assert kind(leaf.chain, now=PAST.timestamp() + 1) is MismatchKind.EXPIRED
    assert kind(leaf.chain, now=NOT_BEFORE.timestamp() - 1) is MismatchKind.EXPIRED
    assert kind(authority().leaf(HOST, not_after=PAST).chain) is MismatchKind.UNTRUSTED


def test_rfc9525_the_name_and_never_the_common_name() -> None:
    found = verify_pkix(ROOT.leaf("other.example").chain, [HOST], ROOTS, NOW)
    assert isinstance(found, PkixMismatch)
    assert (found.kind, found.detail) == (
        MismatchKind.WRONG_NAME,
        f"the certificate has other.example; wanted: {HOST}",
    )
    assert kind(ROOT.leaf(common_name=HOST).chain) is MismatchKind.WRONG_NAME
    nothing = verify_pkix(ROOT.leaf(HOST).chain, [], ROOTS, NOW)
    assert isinstance(nothing, PkixMismatch)
    assert nothing.detail.endswith("wanted: no name at all")


def test_nothing_and_nonsense_are_not_trusted() -> None:
    assert kind([]) is MismatchKind.NO_CERTIFICATE
    assert kind([b"nonsense", ROOT.der]) is MismatchKind.MALFORMED


@pytest.mark.parametrize("root", [[], [x509.BasicConstraints(False, None)]])
def test_rfc5280_6_1_4_k_an_authority_must_say_that_it_is_one(root: list[x509.ExtensionType]) -> None:
    assert below(root, [NAME]) is MismatchKind.UNTRUSTED


def usage(*, certificates: bool = False, signature: bool = False, encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def test_rfc5280_4_2_1_3_key_usage_where_it_stands() -> None:
    assert below([CA, usage(certificates=True)], [NAME, usage(signature=True)]) is None
    assert below([CA], [NAME, usage(encipherment=True)]) is None
    assert below([CA, usage(signature=True)], [NAME]) is MismatchKind.UNTRUSTED
    assert below([CA], [NAME, usage(certificates=True)]) is MismatchKind.UNTRUSTED


def test_rfc5280_4_2_1_12_extended_key_usage_where_it_stands() -> None:
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    whatever = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert [below([CA], [NAME, one]) for one in (server, client, whatever)] == [None, MismatchKind.UNTRUSTED, None]
    assert [below([CA, one], [NAME]) for one in (server, client, whatever)] == [None, MismatchKind.UNTRUSTED, None]


def test_rfc5280_4_2_1_10_name_constraints_hold() -> None:
    only = x509.NameConstraints([x509.DNSName("example.net")], None)
    fitting = x509.NameConstraints([x509.DNSName("example.org")], None)
    assert below([CA, only], [NAME]) is MismatchKind.UNTRUSTED
    assert below([CA, fitting], [NAME]) is None


def test_rfc5280_4_2_an_unknown_critical_extension_is_refused() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert below([CA], [NAME, unknown]) is MismatchKind.UNTRUSTED


def test_rfc5280_4_2_1_9_path_length() -> None:
    root = certificate("Root", "Root", key=CA_KEY, signer=CA_KEY, extensions=[x509.BasicConstraints(True, 0)])
    middle_key = new_key()
    middle = certificate("Middle", "Root", key=middle_key, signer=CA_KEY, extensions=[CA])
    leaf = certificate("Leaf", "Middle", key=LEAF_KEY, signer=middle_key, extensions=[NAME])
    assert kind([leaf, middle], TrustRoots("short", (root,))) is MismatchKind.UNTRUSTED
