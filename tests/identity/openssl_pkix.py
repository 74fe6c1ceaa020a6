"""OpenSSL's verdict on a chain and trust anchors, by the system's library: an oracle apart from the one we call."""

import ctypes
import functools
from collections.abc import Sequence

from tests.identity.openssl_dane import _CRYPTO, _pointer, _read

_PARTIAL_CHAIN = 0x80000
_SECURITY_LEVEL = 2  # 112 bits


@functools.cache
def _declare() -> None:
    _CRYPTO.X509_VERIFY_PARAM_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_ulong]


def refusal(chain: Sequence[bytes], anchors: Sequence[bytes], now: float) -> str | None:
    """Why OpenSSL accepts no path from the first certificate to an anchor for a TLS server; None if it does."""
    _declare()
    leaf, *others = (_read(der) for der in chain)
    trusted = [_read(der) for der in anchors]
    stack, store = _pointer(_CRYPTO.OPENSSL_sk_new_null()), _pointer(_CRYPTO.X509_STORE_new())
    context = _pointer(_CRYPTO.X509_STORE_CTX_new())
    try:
        for other in others:
            _CRYPTO.OPENSSL_sk_push(stack, other)
        for anchor in trusted:
            _CRYPTO.X509_STORE_add_cert(store, anchor)
        _CRYPTO.X509_STORE_CTX_init(context, store, leaf, stack)
        parameters = _pointer(_CRYPTO.X509_STORE_CTX_get0_param(context))
        _CRYPTO.X509_STORE_CTX_set_default(context, b"ssl_server")
        _CRYPTO.X509_VERIFY_PARAM_set_auth_level(parameters, _SECURITY_LEVEL)
        _CRYPTO.X509_VERIFY_PARAM_set_flags(parameters, _PARTIAL_CHAIN)
        _CRYPTO.X509_VERIFY_PARAM_set_time(parameters, int(now))
        if _CRYPTO.X509_verify_cert(context) == 1:
            return None
        code = _CRYPTO.X509_STORE_CTX_get_error(context)
        return str(_CRYPTO.X509_verify_cert_error_string(code).decode())
    finally:
        _CRYPTO.ERR_clear_error()
        _CRYPTO.X509_STORE_CTX_free(context)
        _CRYPTO.X509_STORE_free(store)
        _CRYPTO.OPENSSL_sk_free(stack)
        for each in (leaf, *others, *trusted):
            _CRYPTO.X509_free(each)
