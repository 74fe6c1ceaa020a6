"""Certificates that can be taken apart and are wrong all the same: dates, serial numbers, subjects, kinds of keys."""

import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from letterlock.identity.certificates import InvalidCertificate, _parse_small, describe, parse_certificate, read_spki
from letterlock.identity.dane import DaneMatch, DaneMismatch, match_dane, usable_records
from letterlock.identity.mismatch import MismatchKind
from letterlock.identity.pkix import PkixMismatch, verify_pkix
from letterlock.identity.tlsa import TLSARecord
from letterlock.identity.trust import TrustRoots
from tests.certificates import NOT_AFTER, NOT_BEFORE, authority, new_key

NOW = 1_800_000_000.0
HOST = "mx.example.org"
ROOT = authority()
LEAF = ROOT.leaf(HOST)
SERIAL = b"\xa0\x03\x02\x01\x02\x02\x14\x40"  # version 3, and an INTEGER of 20 octets that begins with 0x40
UNKNOWN_KEY = bytes.fromhex("300b 3005 0603 2a0304 0302 00ff")  # of algorithm 1.2.3.4


def with_negative_serial() -> bytes:
    """Not 0xff before a set bit: that would be no DER at all, and another complaint."""
    der = LEAF.der.replace(SERIAL, SERIAL[:-1] + b"\xc0")
    assert der != LEAF.der
    return der


def subject(*attributes: x509.NameAttribute[str]) -> bytes:
    """A self-signed certificate with this subject."""
    key, name = new_key(), x509.Name(attributes)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("date", "impossible"),
    [
        (b"\x18\x0f21200101000000Z", b"\x18\x0f00000101000000Z"),
        (b"\x17\x0d200101000000Z", b"\x17\x0d201301000000Z"),
    ],
)
def test_rfc5280_4_1_2_5_an_impossible_date_makes_a_certificate_unreadable(date: bytes, impossible: bytes) -> None:
    """Year 0 is taken apart without complaint, and is no date."""
    der = LEAF.der.replace(date, impossible)
    assert der != LEAF.der
    with pytest.raises(InvalidCertificate):
        parse_certificate(der)
    found = verify_pkix([der], [HOST], TrustRoots("own", (ROOT.der,)), NOW)
    assert isinstance(found, PkixMismatch)
    assert found.kind is MismatchKind.MALFORMED
    by_dane = match_dane([der, ROOT.der], [TLSARecord(2, 0, 0, ROOT.der)], [HOST], NOW)
    assert isinstance(by_dane, DaneMismatch)
    assert by_dane.kind is MismatchKind.MALFORMED
    assert by_dane.detail == "the server's certificate cannot be read"


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_rfc5280_4_1_2_2_a_serial_number_below_one_is_handled_gracefully(action: str) -> None:
    """Whatever the process does with warnings."""
    der = with_negative_serial()
    _parse_small.cache_clear()
    read_spki.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # type: ignore[arg-type]  # one of its literals
        assert parse_certificate(der).public_bytes(Encoding.DER) == der
        assert read_spki(der) == LEAF.spki
    assert isinstance(match_dane([der], [TLSARecord(3, 1, 0, LEAF.spki)], [HOST], NOW), DaneMatch)


def test_a_subject_is_told_by_its_last_common_name_else_whole_else_as_missing() -> None:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mail")
    common = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("first", "last")]
    assert describe(subject(organisation, *common)).subject == "last"
    assert describe(subject(organisation)).subject == "O=Mail"
    assert describe(subject()).subject == "(no subject)"


def test_rfc6698_2_1_a_key_of_a_kind_unknown_to_us_can_still_be_compared() -> None:
    known = TLSARecord(3, 1, 0, LEAF.spki)
    unknown = TLSARecord(3, 1, 0, UNKNOWN_KEY)
    broken = TLSARecord(3, 1, 0, UNKNOWN_KEY[:-1])
    assert usable_records([known, unknown, broken]) == (known, unknown)
