"""What a TLS peer can make us work for: floods of records without data, of tiny ones, finite-field Diffie-Hellman."""

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL

from letterlock.identity.handshake import HandshakeFailed
from letterlock.net.streams import TcpStream
from letterlock.net.tls import (
    MAX_IDLE_RECORDS,
    MAX_RECORDS_AT_ONCE,
    ServerContext,
    _client_context,
    accept_tls,
    start_tls,
)
from letterlock.net.tls_connection import TlsBroken
from letterlock.net.tls_records import Records
from letterlock.ports import Stream
from tests.certificates import self_signed
from tests.identity.hostile_chains import looped, rsa_key
from tests.net.openssl_peer import TLS_1_2, TLS_1_3, UPDATE_NOT_REQUESTED, UPDATE_REQUESTED, OpensslPeer
from tests.net.pairs import connected_sockets

Session = tuple[Stream, OpensslPeer, socket.socket]


@asynccontextmanager
async def session(directory: Path, *, we_serve: bool, newest: int = TLS_1_3) -> AsyncIterator[Session]:
    """A TLS session with a hostile peer."""
    pem = self_signed("mx.example.org").write(directory)
    peer = OpensslPeer(None if we_serve else pem, newest=newest)
    async with connected_sockets() as (ours, theirs):
        plain = TcpStream(ours)
        theirs.setblocking(True)
        theirs.settimeout(10)
        shaking = asyncio.create_task(asyncio.to_thread(peer.shake_hands, theirs))
        if we_serve:
            stream, completed = await accept_tls(plain, ServerContext.load(*pem))
        else:
            stream, outcome = await start_tls(plain, "mx.example.org")
            assert not isinstance(outcome, HandshakeFailed), outcome
            completed = outcome
        await shaking
        assert completed.version == ("TLSv1.3" if newest == TLS_1_3 else "TLSv1.2")
        yield stream, peer, theirs
        stream.abort()


async def read_all(stream: Stream, count: int) -> list[bytes]:
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < count:
        pieces.append(await stream.read(16_384))
    return pieces


@pytest.mark.parametrize("we_serve", [True, False])
@pytest.mark.parametrize("kind", [UPDATE_REQUESTED, UPDATE_NOT_REQUESTED])
async def test_rfc8446_4_6_3_a_flood_of_key_updates_ends_the_session(tmp_path: Path, we_serve: bool, kind: int) -> None:
    async with session(tmp_path, we_serve=we_serve) as (stream, peer, theirs):
        flood = peer.key_updates(2400, kind)
        theirs.setblocking(False)
        theirs.send(flood)
        began = time.process_time()
        with pytest.raises(TlsBroken, match="records without data"):
            await stream.read(16_384)
        assert time.process_time() - began < 0.03  # of CPU; each read of such a flood took as much, without end


@pytest.mark.parametrize("we_serve", [True, False])
async def test_rfc8446_4_6_3_some_key_updates_are_part_of_a_session(tmp_path: Path, we_serve: bool) -> None:
    async with session(tmp_path, we_serve=we_serve) as (stream, peer, theirs):
        for _ in range(30):
            theirs.sendall(peer.key_updates(2, UPDATE_REQUESTED) + peer.records(1, b"hello"))
            assert b"".join(await read_all(stream, 5)) == b"hello"


async def test_rfc8446_4_6_1_a_flood_of_tickets_ends_the_session(tmp_path: Path) -> None:
    async with session(tmp_path, we_serve=False) as (stream, peer, theirs):
        theirs.sendall(peer.records(1))
        assert await stream.read(10) == b"x"
        theirs.sendall(peer.tickets(MAX_IDLE_RECORDS + 10))
        with pytest.raises(TlsBroken, match="records without data"):
            await stream.read(16_384)


async def test_rfc5246_7_4_1_1_wishes_to_renegotiate_are_declined_and_a_flood_of_them_ends_the_session(
    tmp_path: Path,
) -> None:
    async with session(tmp_path, we_serve=False, newest=TLS_1_2) as (stream, peer, theirs):
        theirs.sendall(peer.records(1, b"one") + peer.hello_requests(5) + peer.records(1, b"two"))
        assert b"".join(await read_all(stream, 6)) == b"onetwo"
        theirs.sendall(peer.hello_requests(MAX_IDLE_RECORDS))
        with pytest.raises(TlsBroken, match="records without data"):
            await stream.read(16_384)


@pytest.mark.parametrize("we_serve", [True, False])
async def test_tiny_records_are_read_as_few_pieces(tmp_path: Path, we_serve: bool) -> None:
    async with session(tmp_path, we_serve=we_serve) as (stream, peer, theirs):
        theirs.sendall(peer.records(2500) + peer.records(3, b"y" * 9_000))
        pieces = await read_all(stream, 2500 + 27_000)
        assert b"".join(pieces) == b"x" * 2500 + b"y" * 27_000
        assert len(pieces) < 2 * MAX_RECORDS_AT_ONCE + 10


async def test_a_conversation_ends_with_a_flood_too(tmp_path: Path) -> None:
    async with session(tmp_path, we_serve=True) as (stream, peer, theirs):
        theirs.sendall(peer.records(200, b"NOOP\r\n") + peer.key_updates(500, UPDATE_REQUESTED))
        heard = bytearray()

        def answer(octets: bytes) -> bytes:
            heard.extend(octets)
            return b""

        with pytest.raises(TlsBroken, match="records without data"):
            await stream.converse(b"220 hello\r\n", answer, 16_384)


@pytest.mark.parametrize(
    ("lengths", "at_most", "octets"),
    [
        ([10], 1, 15),
        ([10, 0, 3], 1, 15),
        ([10, 0, 3], 2, 20),
        ([0, 0, 0], 9, 15),
        ([300, 300], 9, 610),
    ],
)
def test_records_are_counted_up_to_a_number(lengths: list[int], at_most: int, octets: int) -> None:
    data = b"".join(b"\x17\x03\x03" + length.to_bytes(2) + bytes(length) for length in lengths)
    records = Records()
    assert records.pass_by(data, at_most) == octets
    assert records.whole == min(at_most, len(lengths))
    rest = records.pass_by(data[octets:], 99) if octets < len(data) else 0
    assert octets + rest == len(data)
    assert records.whole == len(lengths)
    in_octets = Records()
    for octet in data:
        assert in_octets.pass_by(bytes((octet,)), 1) == 1
    assert in_octets.whole == len(lengths)


def rsa_pem(directory: Path) -> tuple[Path, Path]:
    """A certificate and key that finite-field suites can be used with."""
    key, certificate = rsa_key(), looped(rsa_key().public_key(), rsa_key(), 1)
    paths = directory / "rsa.pem", directory / "rsa.key"
    paths[0].write_text(ssl.DER_cert_to_PEM_cert(certificate))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def dh_parameters(directory: Path, bits: int) -> Path:
    """Parameters with an odd modulus of so many bits. Nobody checks that it is prime."""
    modulus = ((1 << bits) - 1).to_bytes(bits // 8 + 1)
    numbers = b"\x02\x82" + len(modulus).to_bytes(2) + modulus + b"\x02\x01\x02"
    der = b"\x30\x82" + len(numbers).to_bytes(2) + numbers
    path = directory / "dh.pem"
    text = base64.encodebytes(der).decode()
    path.write_text(f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n")
    return path


def dhe_only(context: ssl.SSLContext) -> ssl.SSLContext:
    """TLS 1.2 with finite-field Diffie-Hellman alone."""
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("kDHE:@SECLEVEL=0")
    return context


async def test_a_server_with_finite_field_groups_alone_is_refused(tmp_path: Path) -> None:
    """It would choose the modulus: one of 10,000 bits stops the event loop for 0.6 s."""
    server = dhe_only(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    server.load_cert_chain(*rsa_pem(tmp_path))
    server.load_dh_params(str(dh_parameters(tmp_path, 10_000)))
    async with connected_sockets() as (ours, theirs):
        theirs.setblocking(True)
        shaking = asyncio.create_task(asyncio.to_thread(server.wrap_socket, theirs, server_side=True))
        began = time.thread_time()
        _, failed = await start_tls(TcpStream(ours), "mx.example.org")
        assert time.thread_time() - began < 0.1  # of CPU; the modulus takes 0.6 s
        assert isinstance(failed, HandshakeFailed)
        with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
            await shaking


async def test_a_client_with_finite_field_groups_alone_is_refused(tmp_path: Path) -> None:
    client = dhe_only(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context = ServerContext.load(*rsa_pem(tmp_path))
    async with connected_sockets() as (ours, theirs):
        theirs.setblocking(True)
        shaking = asyncio.create_task(asyncio.to_thread(client.wrap_socket, theirs))
        with pytest.raises(TlsBroken):
            await accept_tls(TcpStream(ours), context)
        with pytest.raises(ssl.SSLError):
            await shaking


def test_neither_side_offers_finite_field_groups(tmp_path: Path) -> None:
    context = ServerContext.load(*self_signed("mx.example.org").write(tmp_path))
    for each in (_client_context(False), _client_context(True), context.openssl):
        names = SSL.Connection(each).get_cipher_list()
        assert names
        assert not [name for name in names if name.startswith("DHE-")]
