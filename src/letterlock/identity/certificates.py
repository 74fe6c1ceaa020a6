"""One X.509 certificate: read, described for people, and its SubjectPublicKeyInfo as it was encoded (RFC 5280)."""

import datetime as dt
import functools
import hashlib
import warnings
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.utils import CryptographyDeprecationWarning

MAX_NAMES_DESCRIBED = 20


class InvalidCertificate(ValueError):
    """The octets are not a certificate that can be read."""


@asn1.sequence
class _ToBeSigned:
    """A TBSCertificate (RFC 5280 section 4.1), taken apart only as far as the SubjectPublicKeyInfo needs."""

    version: Annotated[int | None, asn1.Explicit(0)]
    serial_number: asn1.TLV
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: asn1.TLV
    subject: asn1.TLV
    subject_public_key_info: asn1.TLV
    issuer_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[asn1.TLV] | None, asn1.Explicit(3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSummary:
    """A certificate as people want to see it. Times are seconds since 1970 (UTC); digests are hexadecimal."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    sha256: str
    spki_sha256: str
    self_issued: bool


# What `cryptography` raises for damaged certificates, found by damaging many: TypeError for a BIT STRING as a name.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)


@functools.lru_cache(maxsize=256)
def parse_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate, every part of it that this room looks at, so that nothing fails later.

    Raises InvalidCertificate.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", CryptographyDeprecationWarning)  # a serial number below 1: RFC 5280 4.1.2.2
            certificate = x509.load_der_x509_certificate(der)
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                extension.value.get_values_for_type(x509.DNSName)
        subject_of(certificate)
        _name_text(certificate.issuer)
        dates_of(certificate)
    except _UNREADABLE as error:
        raise InvalidCertificate(f"not a certificate: {error}") from None
    spki(certificate)
    return certificate


@functools.lru_cache(maxsize=256)
def read_spki(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate of which nothing else needs to be readable.

    Raises InvalidCertificate.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # DANE-EE looks at the key alone
            certificate = x509.load_der_x509_certificate(der)
    except _UNREADABLE as error:
        raise InvalidCertificate(f"not a certificate: {error}") from None
    return spki(certificate)


def spki(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo, octet for octet as it stands in the certificate (TLSA selector 1).

    Encoding the key anew could differ, for instance for RSASSA-PSS keys. Raises InvalidCertificate, though never for
    what `parse_certificate` gave.
    """
    try:
        tbs = asn1.decode_der(_ToBeSigned, certificate.tbs_certificate_bytes)
        return asn1.encode_der(tbs.subject_public_key_info)
    except ValueError as error:
        raise InvalidCertificate(f"its SubjectPublicKeyInfo cannot be read: {error}") from None


def subject_of(certificate: x509.Certificate) -> str:
    """The subject for people: the common name if there is one, else the whole distinguished name."""
    return _name_text(certificate.subject)


def dates_of(certificate: x509.Certificate) -> str:
    """From when to when the certificate is valid, for people."""
    return f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"


def valid_at(certificate: x509.Certificate, now: float) -> bool:
    """Whether the time (seconds since 1970) lies within the certificate's validity, both ends included."""
    return certificate.not_valid_before_utc <= as_datetime(now) <= certificate.not_valid_after_utc


def as_datetime(now: float) -> dt.datetime:
    """Seconds since 1970 as a time with a zone, whole seconds."""
    return dt.datetime.fromtimestamp(int(now), dt.UTC)


def describe(der: bytes) -> CertificateSummary:
    """Describe a certificate for people. Raises InvalidCertificate."""
    certificate = parse_certificate(der)
    return CertificateSummary(
        subject=subject_of(certificate),
        issuer=_name_text(certificate.issuer),
        names=_alternative_names(certificate)[:MAX_NAMES_DESCRIBED],
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        sha256=hashlib.sha256(der).hexdigest(),
        spki_sha256=hashlib.sha256(spki(certificate)).hexdigest(),
        self_issued=certificate.subject == certificate.issuer,
    )


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns_names = names.get_values_for_type(x509.DNSName)
    return (*dns_names, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _name_text(name: x509.Name) -> str:
    common_names = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if common_names:
        value = common_names[-1].value
        return value if isinstance(value, str) else value.hex()
    return name.rfc4514_string() or "(no subject)"
