"""Certificates of the lab: authorities, leaves under them, self-signed leaves; and what TLSA says of them."""

import datetime as dt
import hashlib
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BEFORE = dt.timedelta(hours=1)  # chosen: for clocks that are wrong
LIFETIME = dt.timedelta(days=30)  # chosen: for a lab that stays up
LONG_AGO = dt.timedelta(days=365)  # chosen: what was issued then has expired since


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, its key, and the certificate that issued it (None: it vouches for itself)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: x509.Certificate | None = None

    @property
    def pem(self) -> bytes:
        """The certificate alone, as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, as PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def server_context(self, directory: Path) -> ssl.SSLContext:
        """A server's TLS context that presents this certificate and its issuer; the PEM passes through `directory`."""
        path = directory / f"{self.certificate.serial_number:x}.pem"
        above = self.issuer.public_bytes(Encoding.PEM) if self.issuer else b""
        path.touch(mode=0o600)
        path.write_bytes(self.key_pem + self.pem + above)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def old_server_context(self, directory: Path) -> ssl.SSLContext:
        """The same with nothing newer than TLS 1.1, which RFC 8996 forbids."""
        context = self.server_context(directory)
        context.set_ciphers("ALL:@SECLEVEL=0")  # OpenSSL 3 has the old versions at this level only
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def tlsa_end_entity(self) -> str:
        """TLSA RDATA `3 1 1`: this very key (RFC 7671 section 5.1)."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"3 1 1 {hashlib.sha256(spki).hexdigest()}"

    def tlsa_trust_anchor(self) -> str:
        """TLSA RDATA `2 0 1`: whatever this authority issued for the host's name (RFC 7671 section 5.2)."""
        return f"2 0 1 {hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).hexdigest()}"


def make_authority(name: str) -> Credential:
    """A certificate authority that vouches for itself."""
    return _make((name,), None, authority=True)


def issue(authority: Credential, *hosts: str, expired: bool = False) -> Credential:
    """A server certificate for host names, issued by the authority."""
    return _make(hosts, authority, authority=False, expired=expired)


def make_self_signed(*hosts: str) -> Credential:
    """A server certificate for host names, with nobody to vouch for it."""
    return _make(hosts, None, authority=False)


def expired_twin(genuine: Credential, authority: Credential | None, *hosts: str) -> Credential:
    """The same key in a certificate that has expired; without an authority it vouches for itself."""
    return _make(hosts, authority, authority=False, expired=True, key=genuine.key)


def accept_any_context() -> ssl.SSLContext:
    """A client's TLS context that takes whatever certificate it gets: for attackers, who relay."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _make(
    subjects: Sequence[str],
    issuer: Credential | None,
    *,
    authority: bool,
    expired: bool = False,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Credential:
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    name = _name(subjects[0])
    now = dt.datetime.now(dt.UTC) - (LONG_AGO if expired else dt.timedelta())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEFORE)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_key_usage(authority=authority), critical=True)
    )
    if not authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in subjects]), critical=False
        )
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return Credential(builder.sign(signer, hashes.SHA256()), key, issuer.certificate if issuer else None)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
