"""A TLS peer that does what no honest one does, by the system's libssl over memory BIOs: floods of every kind."""

import ctypes
import ctypes.util
import socket
from pathlib import Path

_PIECE = 1 << 16
_PEM = 1  # SSL_FILETYPE_PEM
_SET_MAX_VERSION = 124  # SSL_CTRL_SET_MAX_PROTO_VERSION
TLS_1_2, TLS_1_3 = 0x303, 0x304
UPDATE_NOT_REQUESTED, UPDATE_REQUESTED = 0, 1  # SSL_KEY_UPDATE_*


def _load(name: str) -> ctypes.CDLL:
    path = ctypes.util.find_library(name)
    if path is None:
        raise OSError(f"lib{name} is not installed")
    return ctypes.CDLL(path)


_SSL = _load("ssl")
_CRYPTO = _load("crypto")
for _library, _names in (
    (_SSL, "TLS_server_method TLS_client_method SSL_CTX_new SSL_new"),
    (_CRYPTO, "BIO_new BIO_s_mem"),
):
    for _name in _names.split():
        getattr(_library, _name).restype = ctypes.c_void_p


class OpensslPeer:
    """One end of a TLS session, a server if it is given a certificate, else a client."""

    def __init__(self, pem: tuple[Path, Path] | None, *, newest: int = TLS_1_3) -> None:
        method = _SSL.TLS_server_method() if pem else _SSL.TLS_client_method()
        context = ctypes.c_void_p(_SSL.SSL_CTX_new(ctypes.c_void_p(method)))
        assert _SSL.SSL_CTX_ctrl(context, _SET_MAX_VERSION, ctypes.c_long(newest), None) == 1
        if pem:
            assert _SSL.SSL_CTX_use_certificate_chain_file(context, str(pem[0]).encode()) == 1
            assert _SSL.SSL_CTX_use_PrivateKey_file(context, str(pem[1]).encode(), _PEM) == 1
        self._ssl = ctypes.c_void_p(_SSL.SSL_new(context))
        self._in, self._out = (ctypes.c_void_p(_CRYPTO.BIO_new(ctypes.c_void_p(_CRYPTO.BIO_s_mem()))) for _ in range(2))
        _SSL.SSL_set_bio(self._ssl, self._in, self._out)
        (_SSL.SSL_set_accept_state if pem else _SSL.SSL_set_connect_state)(self._ssl)

    def shake_hands(self, connection: socket.socket) -> None:
        """Shake hands over a blocking socket."""
        while _SSL.SSL_do_handshake(self._ssl) != 1:
            connection.sendall(self.take())
            data = connection.recv(_PIECE)
            assert data, "the other side ended the handshake"
            _CRYPTO.BIO_write(self._in, data, len(data))
        connection.sendall(self.take())

    def take(self) -> bytes:
        """What is to be sent."""
        buffer, taken = ctypes.create_string_buffer(_PIECE), b""
        while (count := _CRYPTO.BIO_read(self._out, buffer, _PIECE)) > 0:
            taken += buffer.raw[:count]
        return taken

    def key_updates(self, count: int, kind: int) -> bytes:
        """So many KeyUpdate messages (RFC 8446 section 4.6.3), each in a record of its own."""
        for _ in range(count):
            assert _SSL.SSL_key_update(self._ssl, kind) == 1
            assert _SSL.SSL_do_handshake(self._ssl) == 1
        return self.take()

    def hello_requests(self, count: int) -> bytes:
        """So many wishes to renegotiate, of a server (RFC 5246 section 7.4.1.1)."""
        for _ in range(count):
            assert _SSL.SSL_renegotiate(self._ssl) == 1
            _SSL.SSL_do_handshake(self._ssl)
        return self.take()

    def tickets(self, count: int) -> bytes:
        """So many NewSessionTicket messages (RFC 8446 section 4.6.1). The session must have been written in before."""
        for _ in range(count):
            assert _SSL.SSL_new_session_ticket(self._ssl) == 1
            assert _SSL.SSL_do_handshake(self._ssl) == 1
        return self.take()

    def records(self, count: int, data: bytes = b"x") -> bytes:
        """So many records of application data."""
        for _ in range(count):
            assert _SSL.SSL_write(self._ssl, data, len(data)) == len(data)
        return self.take()
