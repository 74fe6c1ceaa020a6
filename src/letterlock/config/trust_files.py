"""Trust roots: the system's, or those of a PEM file that the configuration names."""

import functools
import logging
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import certifi
from pydantic import PlainValidator, ValidationInfo

from letterlock.config.checked_values import path_of, read
from letterlock.config.mistakes import wrong
from letterlock.identity.certificates import InvalidCertificate, read_certificate, subject_of
from letterlock.identity.strength import key_fault
from letterlock.identity.trust import TrustRoots

log = logging.getLogger("letterlock.config")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


def _roots(value: object, info: ValidationInfo) -> TrustRoots:
    if value == "system":
        return system_roots()
    path = path_of(value, info)
    return _own_roots(read(path), path)


Roots = Annotated[TrustRoots, PlainValidator(_roots, json_schema_input_type=str)]


def _own_roots(raw: bytes, path: Path) -> TrustRoots:
    try:
        blocks = _pem_blocks(raw)
        for der in blocks:
            read_certificate(der)
    except (ValueError, InvalidCertificate) as error:
        reason = str(error) if isinstance(error, InvalidCertificate) else "a block is not PEM"
        raise wrong(f"{path} holds no usable certificates: {reason}", "a file of PEM certificates") from None
    if not blocks:
        raise wrong(f"{path} holds no certificates", "a file of PEM certificates")
    roots = _roots_of(str(path), blocks)
    if not roots.certificates:
        raise wrong(f"{path} holds no certificate that can be trusted: {roots.left_out[0]}", "a stronger authority")
    return roots


def _roots_of(name: str, blocks: Sequence[bytes]) -> TrustRoots:
    """The certificates that a path can end at; of the others, why it cannot."""
    faults = {der: _fault(der) for der in blocks}
    usable = tuple(der for der, fault in faults.items() if fault is None)
    left_out = tuple(fault for fault in faults.values() if fault is not None)
    if left_out:  # a root that is missing makes what is behind it untrusted, which the log should explain
        log.warning("%d of the %d roots of %s cannot be used: %s", len(left_out), len(faults), name, left_out[0])
    return TrustRoots(name, usable, left_out)


def _fault(der: bytes) -> str | None:
    try:
        certificate = read_certificate(der)
    except InvalidCertificate as error:
        return str(error)
    fault = key_fault(certificate)
    return None if fault is None else f"the key of {subject_of(certificate)} {fault}"


def _pem_blocks(raw: bytes) -> list[bytes]:
    """The certificates of a PEM file as DER. Raises ValueError."""
    return [ssl.PEM_cert_to_DER_cert(block[0].decode()) for block in _PEM.finditer(raw)]


@functools.cache
def system_roots() -> TrustRoots:
    """The WebPKI roots: the system's bundle, else certifi's; unusable ones are left out."""
    system = ssl.get_default_verify_paths().cafile
    path = Path(system) if system and Path(system).is_file() else Path(certifi.where())
    return _roots_of("system", _pem_blocks(path.read_bytes()))
