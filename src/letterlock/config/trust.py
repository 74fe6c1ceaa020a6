"""Trust roots: the system's, or those of a PEM file that the configuration names."""

import functools
import re
import ssl
from pathlib import Path
from typing import Annotated

import certifi
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import PlainValidator, ValidationInfo

from letterlock.config.mistakes import wrong
from letterlock.config.values import path_of, read
from letterlock.identity.certificates import InvalidCertificate, parse_certificate
from letterlock.identity.trust import TrustRoots

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def _roots(value: object, info: ValidationInfo) -> TrustRoots:
    if value == "system":
        return system_roots()
    path = path_of(value, info)
    return TrustRoots(str(path), _own_certificates(read(path), path))


Roots = Annotated[TrustRoots, PlainValidator(_roots)]


def _own_certificates(raw: bytes, path: Path) -> tuple[bytes, ...]:
    try:
        found = tuple(parse_certificate(der) for der in _pem_blocks(raw))
    except (ValueError, InvalidCertificate) as error:
        raise wrong(f"{path} holds no usable certificates: {error}", "a file of PEM certificates") from None
    if not found:
        raise wrong(f"{path} holds no certificates", "a file of PEM certificates")
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def _pem_blocks(raw: bytes) -> list[bytes]:
    """The certificates of a PEM file as DER. Raises ValueError."""
    return [ssl.PEM_cert_to_DER_cert(block[0].decode()) for block in _PEM.finditer(raw)]


@functools.cache
def system_roots() -> TrustRoots:
    """The WebPKI roots: the system's bundle, else certifi's; those that nobody could use are left out."""
    system = ssl.get_default_verify_paths().cafile
    path = Path(system) if system and Path(system).is_file() else Path(certifi.where())
    return TrustRoots("system", tuple(filter(_is_usable, _pem_blocks(path.read_bytes()))))


def _is_usable(der: bytes) -> bool:
    try:
        parse_certificate(der)
    except InvalidCertificate:
        return False
    return True
