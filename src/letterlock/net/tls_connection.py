"""A TLS connection between two memory BIOs, with as few steps as possible from Python to OpenSSL and back.

pyOpenSSL checks and converts arguments, asks OpenSSL after each call whether it failed, and raises an exception where
there is nothing to read. In a conversation with a distant server each turn has four such calls: together they cost as
much as the system calls of the turn. Here the results say what happened, and only a failure goes through pyOpenSSL.
"""

from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from letterlock.identity.handshake import Completed
from letterlock.net.tls_words import say

RECORD_OCTETS = 1 << 14  # of plaintext in one record, which is what OpenSSL gives at once (RFC 8446 section 5.1)
_openssl, _ffi = Binding().lib, Binding().ffi
_uncleared = _ffi.new_allocator(should_clear_after_alloc=False)  # OpenSSL fills what is read from it
_WANT_READ = _openssl.SSL_ERROR_WANT_READ
_unread: Any = _ffi.new("char **")  # where OpenSSL writes a position that nobody reads


class TlsBroken(ConnectionError):
    """The TLS layer of a connection failed: truncated, tampered with, or against the protocol."""


class BufferedConnection(SSL.Connection):
    """What is read and written is octets in memory."""

    def feed(self, octets: bytes) -> None:
        """Hand over octets from the peer. Raises MemoryError."""
        count = len(octets)
        if _openssl.BIO_write(self._into_ssl, octets, count) != count:
            raise MemoryError

    @property
    def unread(self) -> bytes:
        """What was fed and OpenSSL has not read: whole records and a beginning, when it has just finished with one."""
        start = _ffi.new("char **")
        count = _openssl.BIO_get_mem_data(self._into_ssl, start)
        octets: bytes = _ffi.unpack(start[0], count) if count else b""
        return octets

    def produced(self, at_most: int) -> bytes:
        """All octets that are to be sent to the peer; `at_most` is a guess, and what is more is taken too."""
        buffer = _uncleared("char[]", at_most)
        count = _openssl.BIO_read(self._from_ssl, buffer, at_most)
        octets: bytes = _ffi.unpack(buffer, count) if count > 0 else b""
        if count == at_most and (more := _openssl.BIO_get_mem_data(self._from_ssl, _unread)):
            return octets + self.produced(more)
        return octets

    @property
    def has_produced(self) -> bool:
        """Whether something is to be sent."""
        return bool(_openssl.BIO_get_mem_data(self._from_ssl, _unread))

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is finished: else more must come. It fails as `do_handshake` does."""
        result = _openssl.SSL_do_handshake(self._ssl)
        if result == 1:
            return True
        if _openssl.SSL_get_error(self._ssl, result) != _WANT_READ:
            self._raise_ssl_error(self._ssl, result)
        return False

    def decrypt(self, at_most: int) -> bytes | None:
        """Octets of one record, `at_most` as many; b"" after close_notify; None: more must come. Raises TlsBroken."""
        buffer = _uncleared("char[]", at_most)
        count = _openssl.SSL_read(self._ssl, buffer, at_most)
        if count > 0:
            data: bytes = _ffi.unpack(buffer, count)
            return data
        if _openssl.SSL_get_error(self._ssl, count) == _WANT_READ:
            return None
        try:
            self._raise_ssl_error(self._ssl, count)
        except SSL.ZeroReturnError:  # close_notify: the peer has ended TLS in order
            return b""
        except SSL.Error as error:
            raise TlsBroken(say(error)) from None
        return None

    def encrypt(self, data: bytes) -> None:
        """Turn plaintext into records. Raises TlsBroken."""
        octets = len(data)
        try:
            if octets > RECORD_OCTETS:
                self.sendall(data)
            elif octets and (count := _openssl.SSL_write(self._ssl, data, octets)) != octets:
                self._raise_ssl_error(self._ssl, count)
                self.sendall(data[count:])
        except SSL.Error as error:
            raise TlsBroken(say(error)) from None

    def presented_chain(self) -> tuple[bytes, ...]:
        """The certificates as a server sent them, its own first. Not parsed here: they may be malformed.

        Raises MemoryError.
        """
        chain = _openssl.SSL_get_peer_cert_chain(self._ssl)
        if chain == _ffi.NULL:
            return ()
        der = _openssl.BIO_new(_openssl.BIO_s_mem())
        if der == _ffi.NULL:
            raise MemoryError
        try:
            return tuple(
                [_written(der, _openssl.sk_X509_value(chain, at)) for at in range(_openssl.sk_X509_num(chain))]
            )
        finally:
            _openssl.BIO_free(der)

    def completed(self, sni: str | None, chain: tuple[bytes, ...]) -> Completed:
        """What the handshake came to."""
        return Completed(
            version=self.get_protocol_version_name(),
            cipher=self.get_cipher_name() or "unknown",
            group=self.get_group_name(),
            sni=sni,
            chain=chain,
        )

    @property
    def holds_plaintext(self) -> bool:
        """Whether octets of a record that was decrypted wait to be read."""
        return bool(_openssl.SSL_pending(self._ssl))


def _written(der: Any, certificate: Any) -> bytes:
    """A certificate as it came (OpenSSL keeps those octets), by way of a buffer that is empty before and after."""
    if _openssl.i2d_X509_bio(der, certificate) != 1:
        raise MemoryError
    count = _openssl.BIO_get_mem_data(der, _unread)
    buffer = _uncleared("char[]", count)
    if _openssl.BIO_read(der, buffer, count) != count:
        raise MemoryError
    data: bytes = _ffi.unpack(buffer, count)
    return data
