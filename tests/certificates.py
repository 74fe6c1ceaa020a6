"""Certificates for tests: authorities, intermediates, leaves; good ones, and ones that are wrong on purpose.

EC P-256 keys, because they are quick to make. Every builder takes the key and the validity, so that a test can say
exactly what is wrong.
"""

import datetime as dt
import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)
NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
NOT_AFTER = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
SERIAL_NUMBERS = itertools.count(0x40 << 152)  # always 20 octets: a random one is shorter once in 256 times


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A certificate, its key, and the certificates above it that a server would send too (without the root)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        """The SubjectPublicKeyInfo as DER (TLSA selector 1)."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What a server presents, as DER, its own first."""
        return (self.der, *(issuer.public_bytes(Encoding.DER) for issuer in self.issuers))

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """Write the chain and the key as PEM; their paths."""
        certificate_path, key_path = directory / f"{name}.pem", directory / f"{name}.key"
        chain = (self.certificate, *self.issuers)
        certificate_path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        key_path.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_path, key_path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: a root, or an intermediate made by `intermediate`."""

    credential: Credential
    root: bool = field(default=True)

    @property
    def der(self) -> bytes:
        """The authority's certificate as DER."""
        return self.credential.der

    def intermediate(self, name: str = "Test Intermediate") -> "Authority":
        """An authority below this one."""
        return Authority(_issue(name, self, authority=True), root=False)

    def leaf(
        self,
        *names: str,
        key: ec.EllipticCurvePrivateKey | None = None,
        not_before: dt.datetime = NOT_BEFORE,
        not_after: dt.datetime = NOT_AFTER,
        common_name: str | None = None,
    ) -> Credential:
        """A server certificate for names or IP addresses. Without names it has no subjectAltName."""
        subject = common_name if common_name is not None else (names[0] if names else "unnamed")
        return _issue(subject, self, names=names, key=key, not_before=not_before, not_after=not_after)


def authority(name: str = "Test Root") -> Authority:
    """A self-signed root."""
    return Authority(_issue(name, None, authority=True))


def self_signed(*names: str) -> Credential:
    """A server certificate that vouches for itself."""
    return _issue(names[0] if names else "self", None, names=names)


def _issue(
    subject: str,
    issuer: Authority | None,
    *,
    authority: bool = False,
    names: Sequence[str] = (),
    key: ec.EllipticCurvePrivateKey | None = None,
    not_before: dt.datetime = NOT_BEFORE,
    not_after: dt.datetime = NOT_AFTER,
) -> Credential:
    key = key or new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    above = issuer.credential if issuer else None
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above.certificate.subject if above else name)
        .public_key(key.public_key())
        .serial_number(next(SERIAL_NUMBERS))
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signer = above.key if above else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    builder = _with_usage(builder, authority=authority, names=names)
    issuers = () if issuer is None or issuer.root else (issuer.credential.certificate, *issuer.credential.issuers)
    return Credential(certificate=builder.sign(signer, hashes.SHA256()), key=key, issuers=issuers)


def _with_usage(builder: x509.CertificateBuilder, *, authority: bool, names: Sequence[str]) -> x509.CertificateBuilder:
    if authority:
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return builder.add_extension(usage, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
