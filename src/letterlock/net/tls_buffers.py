"""The buffers between us and OpenSSL: memory BIOs, which grow to the most that they ever held and never shrink."""

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

_openssl, _ffi = Binding().lib, Binding().ffi


def renew_buffers(connection: SSL.Connection) -> bool:
    """Give the memory of both buffers of a connection back; whether there was nothing in them, so that this could be.

    Writing 64 KB leaves 67 KB behind. pyOpenSSL has no call for this, but the owner of the connection may
    exchange the buffers at any time between two calls (SSL_set_bio(3)), which frees the old ones. Raises MemoryError.
    """
    start = _ffi.new("char **")
    held = connection._into_ssl, connection._from_ssl  # noqa: SLF001 - see above
    if any(_openssl.BIO_get_mem_data(buffer, start) for buffer in held):
        return False
    into, out = (_openssl.BIO_new(_openssl.BIO_s_mem()) for _ in held)
    if _ffi.NULL in (into, out):
        raise MemoryError
    _openssl.SSL_set_bio(connection._ssl, into, out)  # noqa: SLF001
    connection._into_ssl, connection._from_ssl = into, out  # noqa: SLF001
    return True
