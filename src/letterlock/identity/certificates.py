"""One X.509 certificate: read, described for people, and its SubjectPublicKeyInfo as it was encoded (RFC 5280)."""

import datetime as dt
import functools
import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.utils import CryptographyDeprecationWarning

MAX_NAMES_DESCRIBED = 20  # chosen: enough to recognise a certificate by
MAX_SHOWN_CHARACTERS = 255  # a whole domain name
# A certificate of 64 KiB holds 1,500 names, or the longest post-quantum signature. Reading one costs up to 8 ms.
MAX_CERTIFICATE_OCTETS = 65_536
# A parsed certificate takes 30 times its bytes of memory. 256 certificates and 256 paths are kept: 30 + 60 MB at worst.
MAX_REMEMBERED_OCTETS = 4_096  # of one certificate; real ones have 1 to 2 KiB
MAX_REMEMBERED_CHAIN_OCTETS = 8_192  # of the signed parts of a chain; real ones have two to four certificates
MAX_NAME_OCTETS = 1_024  # of a subject or issuer: the longest seen in the wild have a few hundred


class InvalidCertificate(ValueError):
    """The bytes are not a certificate that can be read. `str()` says why, in our own wording."""


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


# Exceptions of `cryptography` for damaged certificates, found by damaging many: TypeError for a BIT STRING as a name.
# Not what it warns of: serial numbers below 1 are wrong, and RFC 5280 section 4.1.2.2 asks to handle them gracefully.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def parse_certificate(der: bytes) -> x509.Certificate:
    """Read a certificate, every part of it that this room looks at, so that nothing fails later.

    Raises InvalidCertificate.
    """
    return read_certificate(der) if len(der) > MAX_REMEMBERED_OCTETS else _parse_small(der)


def worth_remembering(certificates: Iterable[x509.Certificate]) -> bool:
    """Whether so many certificates may be kept in memory together."""
    return sum(len(one.tbs_certificate_bytes) for one in certificates) <= MAX_REMEMBERED_CHAIN_OCTETS


@functools.lru_cache(maxsize=256)  # a chain has some three; at most 16 KB each (see above)
def _parse_small(der: bytes) -> x509.Certificate:
    return read_certificate(der)


def read_certificate(der: bytes) -> x509.Certificate:
    """As `parse_certificate`, for one that is looked at once: it is not remembered. Raises InvalidCertificate."""
    certificate = _load(der)
    _refuse_long_names(certificate)
    try:
        with _silent():  # extensions name serial numbers too: those of issuers
            extensions = certificate.extensions
        for extension in extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                extension.value.get_values_for_type(x509.DNSName)
        subject_of(certificate)
        _name_text(certificate.issuer)
        dates_of(certificate)
    except UNREADABLE:
        raise InvalidCertificate("a part of the certificate cannot be read") from None
    spki(certificate)
    return certificate


@functools.lru_cache(maxsize=256)  # as above
def read_spki(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate of which nothing else needs to be readable.

    Raises InvalidCertificate.
    """
    return spki(_load(der))


def _load(der: bytes) -> x509.Certificate:
    """Raises InvalidCertificate."""
    if len(der) > MAX_CERTIFICATE_OCTETS:
        raise InvalidCertificate(f"the certificate is longer than {MAX_CERTIFICATE_OCTETS} bytes")
    try:
        with _silent():
            return x509.load_der_x509_certificate(der)
    except UNREADABLE:
        raise InvalidCertificate("it is not a certificate that can be read") from None


def load_pem(text: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file, at least one, read no further than their frames. Raises InvalidCertificate."""
    try:
        with _silent():
            return x509.load_pem_x509_certificates(text)
    except UNREADABLE:
        raise InvalidCertificate("no PEM certificate that can be read") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Ignore what `cryptography` warns of, such as serial numbers below 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def _refuse_long_names(certificate: x509.Certificate) -> None:
    """Long names cost much wherever they are compared or shown. Raises InvalidCertificate."""
    tbs = _to_be_signed(certificate)
    if max(len(tbs.subject.data), len(tbs.issuer.data)) > MAX_NAME_OCTETS:
        raise InvalidCertificate(f"the subject or issuer of the certificate is longer than {MAX_NAME_OCTETS} bytes")


def spki(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo, octet for octet as in the certificate (TLSA selector 1).

    Encoding the key anew could differ, for instance for RSASSA-PSS keys. Raises InvalidCertificate, though never for
    what `parse_certificate` gave.
    """
    try:
        return asn1.encode_der(_to_be_signed(certificate).subject_public_key_info)
    except ValueError:
        raise InvalidCertificate("the key of the certificate cannot be read") from None


def _to_be_signed(certificate: x509.Certificate) -> _ToBeSigned:
    """Raises InvalidCertificate."""
    try:
        return asn1.decode_der(_ToBeSigned, certificate.tbs_certificate_bytes)
    except ValueError:
        raise InvalidCertificate("the certificate cannot be taken apart") from None


def subject_of(certificate: x509.Certificate) -> str:
    """The subject for people: the common name if there is one, else the whole distinguished name."""
    return _name_text(certificate.subject)


def issuer_of(certificate: x509.Certificate) -> str:
    """The issuer for people, as `subject_of`."""
    return _name_text(certificate.issuer)


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
    return (*map(shown, dns_names), *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _name_text(name: x509.Name) -> str:
    common_names = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if common_names:
        value = common_names[-1].value
        return shown(value if isinstance(value, str) else value.hex())
    return shown(name.rfc4514_string()) or "(no subject)"


def shown(text: str) -> str:
    """A text from a certificate, fit for a line that people read: short, and without control characters."""
    cut = text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."
    return cut if cut.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut)
