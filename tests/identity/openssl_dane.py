"""OpenSSL's own DANE verification, through its library, as the oracle: what libssl does after a handshake."""

import ctypes
import ctypes.util
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.identity.tlsa import TLSARecord

_NO_NAME_CHECKS_FOR_DANE_EE = 1
_NO_PARTIAL_WILDCARDS = 4  # RFC 7672 section 3.2.3
_SECURITY_LEVEL = 2


@dataclass(frozen=True, slots=True)
class OpensslVerdict:
    """Whether any record was usable, and whether the chain was accepted; `error` as OpenSSL words it."""

    usable: bool
    accepted: bool
    error: str


def _load(name: str) -> ctypes.CDLL:
    path = ctypes.util.find_library(name)
    if path is None:
        raise OSError(f"lib{name} is not installed")
    return ctypes.CDLL(path)


_SSL = _load("ssl")
_CRYPTO = _load("crypto")
_POINTERS = (
    (_SSL, "TLS_client_method SSL_CTX_new SSL_new SSL_get0_dane SSL_get0_param"),
    (_CRYPTO, "X509_STORE_new X509_STORE_CTX_new X509_STORE_CTX_get0_param d2i_X509 OPENSSL_sk_new_null"),
)
for _library, _names in _POINTERS:
    for _name in _names.split():
        getattr(_library, _name).restype = ctypes.c_void_p
_CRYPTO.X509_verify_cert_error_string.restype = ctypes.c_char_p
_CRYPTO.X509_verify_cert_error_string.argtypes = [ctypes.c_long]
_CRYPTO.X509_VERIFY_PARAM_set_time.argtypes = [ctypes.c_void_p, ctypes.c_long]


def _pointer(value: int | None) -> ctypes.c_void_p:
    if not value:
        raise OSError("OpenSSL gave no object")
    return ctypes.c_void_p(value)


def _read(der: bytes) -> ctypes.c_void_p:
    data = ctypes.create_string_buffer(der, len(der))
    at = ctypes.c_void_p(ctypes.addressof(data))
    return _pointer(_CRYPTO.d2i_X509(None, ctypes.byref(at), ctypes.c_long(len(der))))


def verify(
    chain: Sequence[bytes], records: Sequence[TLSARecord], references: Sequence[str], now: float
) -> OpensslVerdict:
    """What OpenSSL makes of a presented chain, as a TLS client with DANE and these reference identifiers."""
    context = _pointer(_SSL.SSL_CTX_new(_pointer(_SSL.TLS_client_method())))
    _SSL.SSL_CTX_dane_enable(context)
    ssl = _pointer(_SSL.SSL_new(context))
    try:
        _SSL.SSL_dane_enable(ssl, references[0].encode())
        _SSL.SSL_dane_set_flags(ssl, ctypes.c_ulong(_NO_NAME_CHECKS_FOR_DANE_EE))
        _SSL.SSL_set_hostflags(ssl, ctypes.c_uint(_NO_PARTIAL_WILDCARDS))
        for name in references[1:]:
            _SSL.SSL_add1_host(ssl, name.encode())
        added = [_add(ssl, record) for record in records]
        if not any(added):
            return OpensslVerdict(usable=False, accepted=False, error="no usable record")
        return _verify(ssl, chain, now)
    finally:
        _CRYPTO.ERR_clear_error()
        _SSL.SSL_free(ssl)
        _SSL.SSL_CTX_free(context)


def _add(ssl: ctypes.c_void_p, record: TLSARecord) -> bool:
    """Only what a mail client passes on: usages 2 and 3 (RFC 7672 section 3.1.3)."""
    if record.usage not in (2, 3):
        return False
    fields = (ctypes.c_uint8(record.usage), ctypes.c_uint8(record.selector), ctypes.c_uint8(record.matching_type))
    return bool(_SSL.SSL_dane_tlsa_add(ssl, *fields, record.data, ctypes.c_size_t(len(record.data))) == 1)


def _verify(ssl: ctypes.c_void_p, chain: Sequence[bytes], now: float) -> OpensslVerdict:
    certificates = [_read(der) for der in chain]
    stack = _pointer(_CRYPTO.OPENSSL_sk_new_null())
    for certificate in certificates:
        _CRYPTO.OPENSSL_sk_push(stack, certificate)
    store = _pointer(_CRYPTO.X509_STORE_new())
    context = _pointer(_CRYPTO.X509_STORE_CTX_new())
    try:
        _CRYPTO.X509_STORE_CTX_init(context, store, certificates[0], stack)
        parameters = _pointer(_CRYPTO.X509_STORE_CTX_get0_param(context))
        _CRYPTO.X509_VERIFY_PARAM_set_auth_level(parameters, _SECURITY_LEVEL)
        _CRYPTO.X509_STORE_CTX_set0_dane(context, _pointer(_SSL.SSL_get0_dane(ssl)))
        _CRYPTO.X509_STORE_CTX_set_default(context, b"ssl_server")
        _CRYPTO.X509_VERIFY_PARAM_set1(parameters, _pointer(_SSL.SSL_get0_param(ssl)))
        _CRYPTO.X509_VERIFY_PARAM_set_time(parameters, int(now))
        accepted = _CRYPTO.X509_verify_cert(context) == 1
        code = _CRYPTO.X509_STORE_CTX_get_error(context)
        return OpensslVerdict(
            usable=True, accepted=accepted, error=_CRYPTO.X509_verify_cert_error_string(code).decode()
        )
    finally:
        _CRYPTO.X509_STORE_CTX_free(context)
        _CRYPTO.X509_STORE_free(store)
        _CRYPTO.OPENSSL_sk_free(stack)
        for certificate in certificates:
            _CRYPTO.X509_free(certificate)
