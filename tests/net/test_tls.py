"""The STARTTLS pump, both sides, over real loopback sockets."""

import asyncio
import base64
import datetime as dt
import re
import select
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from OpenSSL import SSL

from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.net import tls
from letterlock.net.dial import TcpDialer
from letterlock.net.streams import TcpStream, take_turns
from letterlock.net.tls import MAX_HANDSHAKE_OCTETS, BadCertificate, ServerContext, accept_tls, start_tls
from letterlock.net.tls_buffers import renew_buffers
from letterlock.net.tls_connection import BufferedConnection, TlsBroken
from letterlock.ports import Stream
from tests.certificates import Credential, authority, new_key, self_signed
from tests.net.pairs import connected_sockets, connected_streams


@pytest.fixture(scope="module")
def credential() -> Credential:
    return authority().intermediate().leaf("mx.example.org")


@pytest.fixture
def context(credential: Credential, tmp_path: Path) -> ServerContext:
    return ServerContext.load(*credential.write(tmp_path))


async def _both(
    left: Stream, right: Stream, context: ServerContext, *, sni: str | None = "mx.example.org", compatible: bool = False
) -> tuple[tuple[Stream, Completed], tuple[Stream, Completed]]:
    """Shake hands between two ends."""
    accepting = asyncio.create_task(accept_tls(right, context))
    stream, completed = await start_tls(left, sni, compatible=compatible)
    assert isinstance(completed, Completed), completed
    return (stream, completed), await accepting


async def _start_against(answer: bytes) -> HandshakeFailed:
    """Shake hands with a peer that sends these octets and closes."""
    async with connected_sockets() as (ours, theirs):
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        _, failed = await start_tls(TcpStream(ours), "mx.example.org")
        assert isinstance(failed, HandshakeFailed)
        return failed


async def test_both_sides_tell_the_same_story(context: ServerContext, credential: Credential) -> None:
    async with connected_streams() as (left, right):
        (client, seen), (server, served) = await _both(left, right, context)
        assert seen.chain == credential.chain
        assert len(seen.chain) == 2, "leaf and intermediate, as presented"
        assert (seen.version, seen.cipher, seen.group) == (served.version, served.cipher, served.group)
        assert seen.version == "TLSv1.3"
        assert seen.group == "X25519MLKEM768"
        assert seen.sni == served.sni == "mx.example.org"
        assert served.chain == ()
        await client.write(b"EHLO me\r\n")
        assert await server.read(100) == b"EHLO me\r\n"
        assert client.peer == server.peer == "127.0.0.1"


async def test_without_a_name_no_sni_is_sent(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (_, seen), (_, served) = await _both(left, right, context, sni=None)
        assert seen.sni is None
        assert served.sni is None


@pytest.mark.parametrize(
    ("number", "words"),
    [(40, "handshake failure"), (70, "protocol version"), (112, "unrecognized name"), (80, "internal error")],
)
async def test_rfc8446_6_2_an_alert_keeps_its_name(number: int, words: str) -> None:
    failed = await _start_against(bytes((21, 3, 3, 0, 2, 2, number)))
    assert failed.detail == f"the peer refused with the TLS alert {words}"


async def _client_hello(*, compatible: bool) -> bytes:
    async with connected_sockets() as (ours, theirs):
        theirs.setblocking(False)
        starting = asyncio.create_task(start_tls(TcpStream(ours), "mx.example.org", compatible=compatible))
        hello = await asyncio.get_running_loop().sock_recv(theirs, 65536)
        theirs.close()
        await starting
        return hello


_HYBRID, _X25519 = b"\x11\xec", b"\x00\x1d"  # X25519MLKEM768, x25519


async def test_the_first_client_hello_is_small_and_offers_the_hybrid_group_without_a_share() -> None:
    """Large ones break middleboxes; 512 octets is what a server may see in one piece on any path."""
    hello = await _client_hello(compatible=False)
    assert len(hello) < 512
    supported_groups, key_share = b"\x00\x0a\x00", b"\x00\x33\x00\x26\x00\x24"  # RFC 8446 sections 4.2.7 and 4.2.8
    assert re.search(supported_groups + b".\x00." + _HYBRID, hello, re.DOTALL), "the first choice"
    assert key_share + _X25519 + b"\x00\x20" in hello, "the only share"


async def test_rfc8446_4_1_4_a_server_that_wants_the_hybrid_group_gets_it(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (_, seen), _ = await _both(left, right, context)
        assert seen.group == "X25519MLKEM768"


async def test_compatible_offers_p256_only(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (_, seen), _ = await _both(left, right, context, compatible=True)
        assert seen.group in ("secp256r1", "prime256v1", "P-256")


async def test_much_data_in_both_directions_arrives_whole(context: ServerContext) -> None:
    blob = bytes(range(256)) * 4096
    async with connected_streams() as (left, right):
        (client, _), (server, _) = await _both(left, right, context)
        for source, sink in ((client, server), (server, client)):
            writing = asyncio.create_task(source.write(blob))
            got = b""
            while len(got) < len(blob):
                got += await sink.read(70_000)
            await writing
            assert got == blob


class Chopped(TcpStream):
    """A stream that gives so few octets at once, as a network may."""

    most = 1

    async def read(self, max_octets: int) -> bytes:
        return await super().read(min(max_octets, self.most))

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        await take_turns(self, first, answer, max_octets)


@pytest.mark.parametrize("most", [1, 4, 5, 6, 27, 1000, 1 << 16])
async def test_records_may_come_in_any_pieces_and_several_at_once(context: ServerContext, most: int) -> None:
    """No read waits for octets that the other side has sent already."""
    messages = [bytes([number]) * size for number, size in enumerate((1, 2, 5, 300, 20_000, 3, 16_384, 16_385, 1))]
    async with connected_sockets() as (ours, theirs):
        left, right = Chopped(ours), Chopped(theirs)
        left.most = right.most = most
        (client, _), (server, _) = await _both(left, right, context)
        for together in (1, 2, 3):
            for start in range(0, len(messages), together):
                group = messages[start : start + together]
                for source, sink in ((client, server), (server, client)):
                    writing = asyncio.create_task(_write_all(source, group))
                    wanted, got = b"".join(group), b""
                    async with asyncio.timeout(20):
                        while len(got) < len(wanted):
                            got += await sink.read(1 + len(got) % 700)
                    await writing
                    assert got == wanted
        client.abort()
        server.abort()


async def _write_all(stream: Stream, pieces: list[bytes]) -> None:
    for piece in pieces:
        await stream.write(piece)


@pytest.mark.parametrize("behind", [0, 1, 4, 5, 6, 37, 38, 39, 43, 75, 76])
async def test_rfc5246_7_3_what_comes_with_the_end_of_a_handshake_is_read(
    credential: Credential, tmp_path: Path, behind: int
) -> None:
    """A server that speaks first may do so in the packet that ends the handshake; each of its lines has 38 octets."""
    certificate, key = credential.write(tmp_path)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(certificate))
    context.use_privatekey_file(str(key))
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    server = BufferedConnection(context)
    server.set_accept_state()
    async with connected_sockets() as (ours, theirs), asyncio.timeout(10):
        starting = asyncio.create_task(start_tls(TcpStream(ours), "mx.example.org"))
        there = TcpStream(theirs)
        server.feed(await there.read(1 << 14))
        while not server.shake_hands():
            await there.write(server.produced(1 << 14))
            server.feed(await there.read(1 << 14))
        flight = server.produced(1 << 14)
        server.encrypt(b"220-one\r\n")
        server.encrypt(b"220 two\r\n")
        lines = server.produced(1 << 14)
        assert len(lines) == 76
        await there.write(flight + lines[:behind])
        client, _ = await starting
        await there.write(lines[behind:])
        got = b""
        while len(got) < 18:
            got += await client.read(100)
        assert got == b"220-one\r\n220 two\r\n"
        client.abort()
        there.abort()


class _Counted(TcpStream):
    """A stream that knows what went out at once."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.sent: list[bytes] = []

    def send_at_once(self, data: bytes) -> bytes:
        self.sent.append(data)
        return super().send_at_once(data)


async def test_the_last_flight_and_the_first_octets_go_out_at_once(context: ServerContext) -> None:
    async with connected_sockets() as (ours, theirs):
        left = _Counted(ours)
        accepting = asyncio.create_task(accept_tls(TcpStream(theirs), context))
        client, _ = await start_tls(left, "mx.example.org")
        before = len(left.sent)
        await client.write(b"EHLO client.example\r\n")
        assert len(left.sent) == before + 1
        server, _ = await accepting
        assert await server.read(100) == b"EHLO client.example\r\n"
        client.abort()
        server.abort()


async def test_the_last_flight_goes_out_alone_where_nothing_is_said(context: ServerContext) -> None:
    """A server that speaks first (RFC 8314 section 3.3) waits for it, and so may one that is to be closed."""
    async with connected_sockets() as (ours, theirs):
        left = _Counted(ours)
        accepting = asyncio.create_task(accept_tls(TcpStream(theirs), context))
        client, _ = await start_tls(left, "mx.example.org")
        before = len(left.sent)
        server, _ = await accepting
        assert len(left.sent) == before + 1
        await server.write(b"220 mx.example.org\r\n")
        assert await client.read(100) == b"220 mx.example.org\r\n"
        client.abort()
        server.abort()


async def test_a_last_flight_that_cannot_be_sent_is_told_by_what_comes_next(context: ServerContext) -> None:
    async with connected_sockets() as (ours, theirs):
        left = TcpStream(ours)
        accepting = asyncio.create_task(accept_tls(TcpStream(theirs), context))
        client, _ = await start_tls(left, "mx.example.org")
        left.abort()
        await asyncio.sleep(0)  # its turn
        with pytest.raises(ConnectionAbortedError):
            await client.write(b"EHLO client.example\r\n")
        accepting.cancel()


async def test_what_is_said_last_goes_out_with_close_notify(context: ServerContext) -> None:
    async with connected_sockets() as (ours, theirs):
        left = _Counted(ours)
        (client, _), (server, _) = await _both(left, TcpStream(theirs), context)
        assert isinstance(client, tls.TlsStream)
        before = len(left.sent)
        await client.close(b"QUIT\r\n")
        assert len(left.sent) == before + 1
        assert await server.read(100) == b"QUIT\r\n"
        assert await server.read(100) == b""
        server.abort()


async def test_rfc8446_4_6_3_a_key_update_is_answered_and_nothing_is_lost(
    credential: Credential, tmp_path: Path
) -> None:
    """OpenSSL's own program asks for new keys (`K`) between two lines."""
    certificate, key = credential.write(tmp_path)
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(certificate), "-key", str(key), "-4"]
    server = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        async with asyncio.timeout(20):
            while not (line := await server.stdout.readline()).startswith(b"ACCEPT"):
                assert line
            stream = await TcpDialer().dial("127.0.0.1", int(line.rpartition(b":")[2]))
            client, seen = await start_tls(stream, None)
            assert isinstance(seen, Completed)
            for number in range(4):
                if number:
                    server.stdin.write(b"K\n")
                    assert isinstance(stream, TcpStream)
                    await asyncio.to_thread(select.select, [stream._socket], [], [], 10)  # until it is here
                server.stdin.write(b"line %d\n" % number)
                got = b""
                while not got.endswith(b"line %d\n" % number):
                    got += await client.read(1000)
                await client.write(b"answer %d\n" % number)
                while b"answer %d" % number not in await server.stdout.readline():
                    pass
            client.abort()
    finally:
        server.kill()
        await server.communicate()


async def test_a_self_signed_expired_certificate_is_accepted_for_the_policy_to_judge(tmp_path: Path) -> None:
    past = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)
    expired = authority().leaf("other.example", not_after=past)
    context = ServerContext.load(*expired.write(tmp_path))
    async with connected_streams() as (left, right):
        (_, seen), _ = await _both(left, right, context)
        assert seen.chain == (expired.der,)
    assert context.warning(past.timestamp() - 22 * 86400) is None
    assert "expires in 0 days" in str(context.warning(past.timestamp() - 1))
    assert "has expired" in str(context.warning(past.timestamp() + 1))
    assert "not valid yet" in str(context.warning(0))


async def test_a_session_with_octets_that_nobody_asked_for_is_not_quiet(context: ServerContext) -> None:
    """A second reply, in a record of its own, came in the same packet: it must not pass for the next one."""
    async with connected_streams() as (left, right):
        (client, _), (server, _) = await _both(left, right, context)
        assert isinstance(client, tls.TlsStream)
        assert isinstance(server, tls.TlsStream)
        heard: list[bytes] = []
        conversing = asyncio.create_task(client.converse(b"NOOP\r\n", heard.append, 1000))
        assert await server.read(100) == b"NOOP\r\n"
        for line in (b"250 one\r\n", b"250 two\r\n"):
            server._connection.encrypt(line)
        await server._flush()
        await conversing
        assert heard == [b"250 one\r\n"]
        assert not client.quiet
        assert await client.read(100) == b"250 two\r\n"
        assert client.quiet


async def test_close_notify_is_an_orderly_end(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (client, _), (server, _) = await _both(left, right, context)
        await client.write(b"QUIT\r\n")
        await client.close()
        assert await server.read(100) == b"QUIT\r\n"
        assert await server.read(100) == b""


async def test_an_end_without_close_notify_is_truncation(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (client, _), (server, _) = await _both(left, right, context)
        await client.write(b"QU")
        await left.close()
        assert await server.read(100) == b"QU"
        with pytest.raises(TlsBroken, match="close_notify"):
            await server.read(100)


async def test_cleartext_inside_tls_is_an_error(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (_, _), (server, _) = await _both(left, right, context)
        await left.write(b"MAIL FROM:<attacker@example.org>\r\n")
        with pytest.raises(TlsBroken):
            await server.read(100)


async def test_close_is_bounded_when_the_peer_does_not_read(
    context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "CLOSE_SECONDS", 0.05)
    async with connected_streams() as (left, right):
        (client, _), _ = await _both(left, right, context)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.write(b"x" * (1 << 26))
        async with asyncio.timeout(5):
            await client.close()


async def test_rfc3207_4_2_plaintext_injected_after_220_breaks_the_handshake() -> None:
    failed = await _start_against(b"250-mx.example.org\r\n250 PIPELINING\r\n")
    assert failed.detail == "the peer answered with something that is not TLS"


async def test_a_peer_that_closes_during_the_handshake_is_a_failure() -> None:
    assert "closed" in (await _start_against(b"")).detail


async def test_an_endless_handshake_is_cut_off() -> None:
    record = b"\x16\x03\x03\x40\x00" + b"\x02\x00\xff\xff" + b"\0" * (0x4000 - 4)
    failed = await _start_against(record * (MAX_HANDSHAKE_OCTETS // len(record) + 4))
    assert failed.detail


async def test_garbage_from_a_client_is_tls_broken(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        await left.write(b"EHLO in cleartext\r\n")
        with pytest.raises(TlsBroken):
            await accept_tls(right, context)
        with pytest.raises(ConnectionAbortedError):
            await right.read(1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_python_s_own_tls_speaks_with_ours(context: ServerContext, version: ssl.TLSVersion) -> None:
    async with connected_sockets() as (ours, theirs):
        foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        foreign.check_hostname = False
        foreign.verify_mode = ssl.CERT_NONE
        foreign.minimum_version = foreign.maximum_version = version
        theirs.setblocking(True)
        shaking = asyncio.to_thread(foreign.wrap_socket, theirs, server_hostname="mx.example.org")
        (_, completed), wrapped = await asyncio.gather(accept_tls(TcpStream(ours), context), shaking)
        assert completed.version == wrapped.version()
        wrapped.close()


async def test_rfc8461_7_2_and_rfc8996_tls_1_1_is_refused(credential: Credential, tmp_path: Path) -> None:
    async with connected_sockets() as (ours, theirs):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.load_cert_chain(*credential.write(tmp_path))
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        theirs.setblocking(True)
        shaking = asyncio.to_thread(old.wrap_socket, theirs, server_side=True)
        task = asyncio.create_task(shaking)
        _, failed = await start_tls(TcpStream(ours), "mx.example.org")
        assert isinstance(failed, HandshakeFailed)
        with pytest.raises(OSError):  # noqa: PT011 - which kind is a matter of timing
            await task


async def test_the_dialer_hands_out_tls(context: ServerContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await TcpDialer().dial(*listener.getsockname())
        accepted, _ = listener.accept()
    accepting = asyncio.create_task(accept_tls(TcpStream(accepted), context))
    secure, completed = await TcpDialer().start_tls(stream, "mx.example.org")
    assert isinstance(completed, Completed)
    server, _ = await accepting
    await secure.close()
    await server.close()


def test_a_missing_file_is_named(tmp_path: Path, credential: Credential) -> None:
    certificate_path, key_path = credential.write(tmp_path)
    with pytest.raises(BadCertificate, match=r"nothing\.pem: No such file"):
        ServerContext.load(tmp_path / "nothing.pem", key_path)
    with pytest.raises(BadCertificate, match=r"nothing\.key: No such file"):
        ServerContext.load(certificate_path, tmp_path / "nothing.key")


def test_files_that_are_no_pem_are_named(tmp_path: Path, credential: Credential) -> None:
    certificate_path, key_path = credential.write(tmp_path)
    junk = tmp_path / "junk.pem"
    junk.write_text("hello")
    with pytest.raises(BadCertificate, match="no PEM certificate"):
        ServerContext.load(junk, key_path)
    with pytest.raises(BadCertificate, match="no PEM private key"):
        ServerContext.load(certificate_path, junk)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, credential: Credential) -> None:
    certificate_path, _ = credential.write(tmp_path)
    _, other_key = self_signed("other.example").write(tmp_path, "other")
    with pytest.raises(BadCertificate, match="does not belong"):
        ServerContext.load(certificate_path, other_key)


def test_an_encrypted_key_is_refused(tmp_path: Path, credential: Credential) -> None:
    certificate_path, key_path = credential.write(tmp_path)
    locked = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    key_path.write_bytes(locked)
    with pytest.raises(BadCertificate, match="encrypted"):
        ServerContext.load(certificate_path, key_path)


async def test_an_idle_session_gives_its_buffers_back_and_goes_on(context: ServerContext) -> None:
    large = bytes(range(256)) * 400
    async with connected_streams() as (left, right):
        (client, _), (server, _) = await _both(left, right, context)
        assert isinstance(client, tls.TlsStream)
        assert isinstance(server, tls.TlsStream)
        for _ in range(2):
            writing = asyncio.create_task(client.write(large))
            heard = b""
            while len(heard) < len(large):
                heard += await server.read(1 << 16)
            await writing
            assert heard == large
            await server.write(b"250 ok\r\n")
            assert await client.read(100) == b"250 ok\r\n"
            client.spare_memory()
            server.spare_memory()
        await client.close()
        assert await server.read(1) == b""


async def test_buffers_with_something_in_them_are_kept(context: ServerContext) -> None:
    async with connected_streams() as (left, right):
        (client, _), (server, _) = await _both(left, right, context)
        assert isinstance(client, tls.TlsStream)
        client._connection.send(b"not flushed yet")
        assert not renew_buffers(client._connection)
        await client.write(b", and this")
        assert await server.read(100) == b"not flushed yet"
        assert renew_buffers(client._connection)


P256 = bytes.fromhex("06082a8648ce3d030107")  # the object identifier of the curve
NO_CURVE = P256[:-1] + b"\x70"


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Change octets inside a PEM file that has one block."""
    first, *body, last = path.read_text().strip().splitlines()
    der = base64.b64decode("".join(body)).replace(old, new)
    path.write_text("\n".join((first, base64.b64encode(der).decode(), last, "")))


def test_a_key_of_a_kind_that_nobody_knows_is_refused(tmp_path: Path, credential: Credential) -> None:
    certificate_path, key_path = credential.write(tmp_path)
    _rewrite(key_path, P256, NO_CURVE)
    with pytest.raises(BadCertificate, match=r"server\.key is of a kind that TLS servers do not use"):
        ServerContext.load(certificate_path, key_path)


def test_a_certificate_with_a_key_of_a_kind_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    certificate_path, key_path = self_signed("mx.example.org").write(tmp_path)
    _rewrite(certificate_path, P256, NO_CURVE)
    with pytest.raises(BadCertificate, match="does not belong"):
        ServerContext.load(certificate_path, key_path)


def test_a_certificate_with_an_extension_twice_has_no_names(tmp_path: Path) -> None:
    certificate_path, key_path = self_signed("mx.example.org").write(tmp_path)
    _rewrite(certificate_path, b"\x06\x03\x55\x1d\x11", b"\x06\x03\x55\x1d\x13")  # the names become constraints
    assert ServerContext.load(certificate_path, key_path).names == ()


def test_a_certificate_that_openssl_cannot_read_is_refused(tmp_path: Path) -> None:
    certificate_path, key_path = self_signed("mx.example.org").write(tmp_path)
    _rewrite(certificate_path, b"mx.example.org", b"mx.\xffxample.org")
    with pytest.raises(BadCertificate, match="cannot be read"):
        ServerContext.load(certificate_path, key_path)
