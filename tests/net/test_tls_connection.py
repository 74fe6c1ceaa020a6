"""TLS between memory BIOs: the short ways to OpenSSL do what pyOpenSSL's do."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL

from letterlock.net.tls_connection import RECORD_OCTETS, BufferedConnection, TlsBroken
from tests.certificates import self_signed

GUESS = 4096


class _Pair:
    """A client and a server whose octets are carried over by hand."""

    def __init__(self, folder: Path) -> None:
        certificate, key = self_signed("mx.example.org").write(folder)
        self.der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        serving = SSL.Context(SSL.TLS_SERVER_METHOD)
        serving.use_certificate_file(str(certificate))
        serving.use_privatekey_file(str(key))
        self.client = BufferedConnection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        self.server = BufferedConnection(serving)
        self.client.set_connect_state()
        self.server.set_accept_state()
        for each, other in ((self.client, self.server), (self.server, self.client)) * 2:
            with suppress(SSL.WantReadError):  # then it is the other's turn
                each.do_handshake()
            other.feed(each.produced(GUESS))
        self._drop_tickets()

    def _drop_tickets(self) -> None:
        assert self.client.decrypt(GUESS) is None


@pytest.fixture
def pair(tmp_path: Path) -> _Pair:
    return _Pair(tmp_path)


@pytest.mark.parametrize("octets", [1, RECORD_OCTETS, RECORD_OCTETS + 1, 5 * RECORD_OCTETS])
def test_all_octets_arrive_record_by_record(pair: _Pair, octets: int) -> None:
    sent = bytes(range(256)) * (octets // 256 + 1)
    pair.client.encrypt(sent[:octets])
    pair.server.feed(pair.client.produced(GUESS))
    heard: list[bytes] = []
    while (data := pair.server.decrypt(1 << 20)) is not None:
        heard.append(data)
    assert b"".join(heard) == sent[:octets]
    assert max(map(len, heard)) <= RECORD_OCTETS


def test_a_record_is_read_in_parts(pair: _Pair) -> None:
    pair.client.encrypt(b"250 ok")
    pair.server.feed(pair.client.produced(GUESS))
    assert (pair.server.decrypt(4), pair.server.holds_plaintext) == (b"250 ", True)
    assert (pair.server.decrypt(4), pair.server.holds_plaintext) == (b"ok", False)


@pytest.mark.parametrize("guess", [1, 10, 27, 28, 29, GUESS])
def test_more_than_was_guessed_is_taken_too(pair: _Pair, guess: int) -> None:
    pair.client.encrypt(b"QUIT\r\n")  # 28 octets with TLS 1.3: header 5, content 6, type 1, tag 16
    assert pair.client.has_produced
    pair.server.feed(pair.client.produced(guess))
    assert pair.client.produced(guess) == b""
    assert pair.server.decrypt(GUESS) == b"QUIT\r\n"


def test_nothing_is_no_record(pair: _Pair) -> None:
    pair.client.encrypt(b"")
    pair.client.feed(b"")
    assert not pair.client.has_produced


def test_close_notify_is_the_end(pair: _Pair) -> None:
    pair.client.shutdown()
    pair.server.feed(pair.client.produced(GUESS))
    assert pair.server.decrypt(GUESS) == b""
    with pytest.raises(TlsBroken):
        pair.client.encrypt(b"after the end")


def test_what_openssl_has_not_read_is_known(pair: _Pair) -> None:
    pair.client.encrypt(b"one")
    first = pair.client.produced(GUESS)
    pair.client.encrypt(b"two")
    second = pair.client.produced(GUESS)
    assert pair.server.unread == b""
    pair.server.feed(first + second[:-1])
    assert pair.server.unread == first + second[:-1]
    assert pair.server.decrypt(GUESS) == b"one"
    assert pair.server.unread == second[:-1]


def test_the_chain_is_told_as_it_came_to_the_one_who_was_shown_it(pair: _Pair) -> None:
    assert pair.client.presented_chain() == (pair.der,)
    assert pair.client.presented_chain() == (pair.der,), "however often it is asked for"
    assert pair.server.presented_chain() == ()


def test_damage_is_found_and_stays(pair: _Pair) -> None:
    pair.client.encrypt(b"MAIL FROM:<>\r\n")
    record = bytearray(pair.client.produced(GUESS))
    record[-1] ^= 1
    pair.server.feed(bytes(record))
    with pytest.raises(TlsBroken, match="damaged"):
        pair.server.decrypt(GUESS)
    with pytest.raises(TlsBroken):
        pair.server.decrypt(GUESS)


def test_another_library_understands_it(tmp_path: Path) -> None:
    certificate, key = self_signed("mx.example.org").write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(into, out, server_side=True)
    client = BufferedConnection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    into.write(client.produced(GUESS))
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    client.feed(out.read())
    client.do_handshake()
    client.encrypt(b"EHLO bench.test\r\n")
    into.write(client.produced(GUESS))
    server.do_handshake()
    assert server.read(GUESS) == b"EHLO bench.test\r\n"
