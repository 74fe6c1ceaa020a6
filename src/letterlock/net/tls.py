"""TLS after STARTTLS, on both sides (RFC 3207), over memory BIOs.

Why a pump of our own: the event loop's `start_tls` hands plaintext that was injected after `220` to the session after
the handshake. Here OpenSSL sees exactly the octets that are read after the command, in order, and whatever is not TLS
makes the handshake fail.

The client accepts every certificate: what a chain is worth is judged by `letterlock.policy`, from the chain as it was
presented. TLS 1.2 or newer, no anonymous ciphers. Contexts are built once and never changed for one peer.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL, crypto

from letterlock.identity.certificates import UNREADABLE, InvalidCertificate, load_pem
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.net.errors import os_error_words
from letterlock.net.file_states import FileState, file_states
from letterlock.net.streams import send_at_once
from letterlock.net.tls_buffers import renew_buffers
from letterlock.net.tls_connection import RECORD_OCTETS, BufferedConnection, TlsBroken
from letterlock.net.tls_records import Records
from letterlock.net.tls_words import EOF, say
from letterlock.ports import Stream

MAX_HANDSHAKE_OCTETS = 1 << 18  # chosen: four certificates of 64 KiB; real handshakes have a few KiB
MAX_PEM_OCTETS = 1 << 20  # chosen: hundreds of certificates; a larger file is the wrong one
MAX_RECORDS_AT_ONCE = 64  # costs 1 ms if each is a KeyUpdate; 64 KiB could hold 2,400 of them
MAX_IDLE_RECORDS = 100  # without data, in one session: servers send up to ten tickets; KeyUpdates are rarer still
CLOSE_SECONDS = 2.0  # chosen: everything was said already, so a peer that does not read is not worth more
EXPIRY_WARNING_SECONDS = 21 * 86400  # ACME clients renew 30 days ahead: with 21 left, renewing has failed for a while
_READ_OCTETS = 1 << 16  # chosen: four full records in one system call
_HANDSHAKE_READ_OCTETS = 1 << 14  # a flight has 4 KiB; what a hostile one costs before the loop turns is bounded so
_WRITE_OCTETS = 1 << 16  # chosen: four full records in one system call
_REPLY_OCTETS = 1 << 13  # a guess: a group of replies nearly always fits, and more is taken too
_OVERHEAD_OCTETS = 1 << 10  # that records add to so much plaintext as is written at once
# Level 1 (80 bits): mail is full of short keys, and for opportunistic TLS the alternative is cleartext (RFC 7435).
# No finite-field Diffie-Hellman: the server chooses the modulus, and one of 10,000 bits costs 0.6 s.
# OpenSSL bounds the rest: the most expensive server key (RSA-16384, or RSA-3072 with an exponent as long) costs 5 ms.
_CIPHERS = b"DEFAULT:!aNULL:!eNULL:!kDHE:!kRSAPSK:!PSK:!SRP:@SECLEVEL=1"
# The hybrid group comes first and without a key share (`*` marks who has one), so that the ClientHello has 300 octets
# and not 1,530, which some middleboxes and servers choke on; a server that wants the hybrid asks for its share, at the
# price of a round trip (RFC 8446 section 4.1.4; docs/decisions/0011-a-small-clienthello.md). No finite-field groups:
# every TLS 1.3 server has P-256 (section 9.1).
_GROUPS = b"?X25519MLKEM768/?*X25519:?secp256r1:?x448:?secp384r1:?secp521r1"
_SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


class BadCertificate(Exception):
    """A certificate or key of our own cannot be used. `str()` says which file and why."""


class TlsStream:
    """An established TLS connection over another stream. One task reads and one writes at a time."""

    def __init__(self, stream: Stream, connection: BufferedConnection) -> None:
        self._stream = stream
        self._connection = connection
        self._flushing = asyncio.Lock()
        self._records = Records()
        self._idle = 0  # records that brought no data
        # OpenSSL has no whole record: asking it to read would be in vain, and costs as much as reading.
        self._empty = False
        self._ahead = b""  # plaintext of a crowd of small records, decrypted before anybody asked for it
        self._finishing: asyncio.Task[None] | None = None  # sends what a handshake has left to send
        if early := connection.unread:  # what came in with the end of the handshake
            self._records.pass_by(early, len(early))

    @property
    def peer(self) -> str:
        """The peer's IP address."""
        return self._stream.peer

    def exporter_binding(self) -> bytes | None:
        """The tls-exporter channel binding (RFC 9266); None before TLS 1.3, where it may not be unique."""
        if self._connection.get_protocol_version() < SSL.TLS1_3_VERSION:
            return None
        return self._connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not read, not even the end."""
        return not self._holds_more() and self._stream.quiet

    def _holds_more(self) -> bool:
        """Whether the peer sent data, or the end, that nobody has read. Records not looked at yet may be tickets."""
        if self._ahead or (not self._empty and self._connection.holds_plaintext):
            return True
        if not self._records.whole:
            return False
        try:
            data = self._decrypt(RECORD_OCTETS)
        except TlsBroken:  # of no use to anybody
            return True
        if data is None:
            return False
        self._ahead, self._empty = data, False
        return True

    async def read(self, max_octets: int) -> bytes:
        """Some octets, at least one; b"" after close_notify. Raises OSError; TlsBroken on a truncated connection."""
        max_octets = min(max_octets, RECORD_OCTETS)
        if self._empty:
            self._pass_on(await self._stream.read(_READ_OCTETS))
        while (data := self._read_now(max_octets)) is None:
            await self._flush()
            self._pass_on(await self._stream.read(_READ_OCTETS))
        return data

    def _read_now(self, max_octets: int) -> bytes | None:
        """The octets readable now; b"" after close_notify, None when OpenSSL needs more octets. Raises TlsBroken."""
        if self._ahead:
            data, self._ahead = self._ahead[:max_octets], self._ahead[max_octets:]
            return data
        return self._decrypt(max_octets)

    def _decrypt(self, max_octets: int) -> bytes | None:
        """The octets that OpenSSL can read now, of one record at most. Raises TlsBroken."""
        data, records = self._connection.decrypt(max_octets), self._records
        if data:
            if len(data) < max_octets or not self._connection.holds_plaintext:  # all of its record
                records.whole -= 1
                self._empty = not records.whole
            elif self._idle:
                self._idle -= 1
        elif data is None:
            self._idle += records.whole
            records.whole = 0
            if self._idle > MAX_IDLE_RECORDS:
                raise TlsBroken("the peer sends TLS records without data, more than a session needs")
        return data

    async def write(self, data: bytes) -> None:
        """Hand over all octets, in pieces, each waited for. Raises OSError."""
        for start in range(0, len(data), _WRITE_OCTETS):
            piece = data[start : start + _WRITE_OCTETS] if len(data) > _WRITE_OCTETS else data
            self._connection.encrypt(piece)
            await self._flush(len(piece) + _OVERHEAD_OCTETS)

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        """Write `first`, then what `answer` returns for each read, until that is None or the input has ended.

        Raises OSError, TlsBroken on a truncated connection, and what `answer` raises.
        """
        connection, max_octets = self._connection, min(max_octets, RECORD_OCTETS)
        connection.encrypt(first)
        if self._flushing.locked():
            await self._flush()
        going_on = self._empty or self._answer_records(answer, max_octets)

        def answer_octets(octets: bytes) -> bytes | None:
            self._pass_on(octets)
            return connection.produced(_REPLY_OCTETS) if self._answer_records(answer, max_octets) else None

        if going_on:
            await self._stream.converse(connection.produced(_REPLY_OCTETS), answer_octets, _READ_OCTETS)
        if connection.has_produced or self._flushing.locked():  # seldom: what was said last has been heard
            await self._flush()

    def _answer_records(self, answer: Callable[[bytes], bytes | None], max_octets: int) -> bool:
        """Answer all that OpenSSL can read; whether the conversation goes on."""
        while (heard := self._read_now(max_octets) if self._ahead else self._decrypt(max_octets)) is not None:
            reply = answer(heard)
            if reply is None or not heard:
                return False
            self._connection.encrypt(reply)
            if self._empty:
                break
        return True

    def spare_memory(self) -> None:
        """Give back the buffers of a session that is idle."""
        renew_buffers(self._connection)

    def finish_soon(self) -> None:
        """Send what the handshake has left to send with the octets that are written next, if that is at once.

        They go out in one packet then, and the peer is woken once for both.
        """
        asyncio.get_running_loop().call_soon(self._finish)

    def _finish(self) -> None:
        if self._connection.has_produced:
            self._finishing = asyncio.create_task(self._flush_if_possible())

    async def _flush_if_possible(self) -> None:
        with suppress(OSError):  # who reads or writes next hears of it
            await self._flush()

    async def close(self, last: bytes = b"") -> None:
        """Send the `last` octets and close_notify, and close, without waiting for the peer's. Never raises.

        At most CLOSE_SECONDS.
        """
        try:
            self._connection.encrypt(last)
            self._connection.shutdown()
            if self._flushing.locked():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._flush()
            elif rest := send_at_once(self._stream, self._connection.produced(_REPLY_OCTETS)):
                async with asyncio.timeout(CLOSE_SECONDS), self._flushing:
                    await self._stream.write(rest)
        except (SSL.Error, OSError):
            self._stream.abort()
        await self._stream.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._stream.abort()

    def _pass_on(self, data: bytes) -> None:
        """Give OpenSSL what was read. Raises TlsBroken at the end."""
        if not data:
            raise TlsBroken(EOF)
        self._empty = False
        end = self._records.pass_by(data, MAX_RECORDS_AT_ONCE)
        if end == len(data):
            self._connection.feed(data)
        else:
            self._pass_on_in_parts(data, end)

    def _pass_on_in_parts(self, data: bytes, end: int) -> None:
        """Give OpenSSL a crowd of small records, and read what is in them, some at a time. Raises TlsBroken.

        Read all at once, those without data (KeyUpdate, tickets, alerts) would cost 30 ms before anybody counts them.
        """
        pieces, start = [self._ahead], 0
        while start < len(data):
            self._connection.feed(data[start:end])
            while piece := self._decrypt(RECORD_OCTETS):
                pieces.append(piece)
            start = end
            end += self._records.pass_by(data[end:], MAX_RECORDS_AT_ONCE)
        self._ahead, self._empty = b"".join(pieces), False

    async def _flush(self, at_most: int = _WRITE_OCTETS) -> None:
        async with self._flushing:
            await _flush(self._stream, self._connection, at_most)


async def start_tls(
    stream: Stream, sni: str | None, *, compatible: bool = False
) -> tuple[Stream, Completed | HandshakeFailed]:
    """Do the client's handshake over a stream whose server said 220 to STARTTLS. Any certificate will do.

    `compatible` offers P-256 only, for servers that choke on hybrid groups or an early key share; whatever must
    hold for the session stays the same. After HandshakeFailed the stream is aborted. The time-out is the caller's.
    """
    connection = BufferedConnection(_client_context(compatible))
    if sni is not None:
        connection.set_tlsext_host_name(sni.encode("ascii"))
    connection.set_connect_state()
    failure = await _shake_hands(stream, connection)
    if failure is not None:
        return stream, failure
    inside = TlsStream(stream, connection)
    inside.finish_soon()
    return inside, connection.completed(sni, connection.presented_chain())


async def accept_tls(
    stream: Stream, context: "ServerContext", by_name: Sequence["ServerContext"] = ()
) -> tuple[Stream, Completed]:
    """Do the server's handshake over a stream to whose client we said 220. Asks for no client certificate.

    A client that asks for a name (SNI) gets the first certificate of `by_name` that has it, else that of `context`,
    on which `choose_by_name` was called.

    Raises OSError; TlsBroken when the handshake fails, with the stream aborted. The time-out is the caller's.
    """
    connection = BufferedConnection(context.openssl)
    connection.set_accept_state()
    if by_name:
        connection.set_app_data(by_name)
    failure = await _shake_hands(stream, connection, last_flight=True)
    if failure is not None:
        raise TlsBroken(failure.detail)
    asked_for = connection.get_servername()
    sni = asked_for.decode("ascii", "backslashreplace") if asked_for else None
    return TlsStream(stream, connection), connection.completed(sni, ())


async def _shake_hands(
    stream: Stream, connection: BufferedConnection, *, last_flight: bool = False
) -> HandshakeFailed | None:
    """`last_flight`: what is left to be sent in the end is sent here, too."""
    left = MAX_HANDSHAKE_OCTETS

    def answer(data: bytes) -> bytes | None:
        nonlocal left
        left -= len(data)
        if not data:
            raise TlsBroken("the peer closed the connection during the TLS handshake")
        if left < 0:
            raise TlsBroken(f"the TLS handshake is longer than {MAX_HANDSHAKE_OCTETS} octets")
        connection.feed(data)
        return None if connection.shake_hands() else connection.produced(_REPLY_OCTETS)

    try:
        try:
            connection.shake_hands()
            await stream.converse(connection.produced(_REPLY_OCTETS), answer, _HANDSHAKE_READ_OCTETS)
        except SSL.Error:
            await _flush(stream, connection)  # the alert gives the peer's operator the reason
            raise
        if last_flight:
            await _flush(stream, connection)
    except SSL.Error as error:
        detail = say(error)
    except OSError as error:
        detail = os_error_words(error)
    else:
        return None
    stream.abort()
    return HandshakeFailed(detail)


async def _flush(stream: Stream, connection: BufferedConnection, at_most: int = _WRITE_OCTETS) -> None:
    """Write whatever OpenSSL has produced."""
    if data := connection.produced(at_most):
        await stream.write(data)


@functools.cache
def _client_context(compatible: bool) -> SSL.Context:
    context = _context(SSL.TLS_CLIENT_METHOD)
    # Accept any certificate. VERIFY_NONE and not a lenient callback: OpenSSL may then not abort for any chain at all.
    context.set_verify(SSL.VERIFY_NONE)
    if compatible:
        context.set_tmp_ecdh(ec.SECP256R1())
    else:
        _offer_groups(context)
    return context


def _offer_groups(context: SSL.Context) -> None:
    """Have _GROUPS offered. OpenSSL before 3.5 does not know the hybrid, nor this syntax: its own list is small too."""
    library = Binding().lib
    if library.SSL_CTX_set1_curves_list(context._context, _GROUPS) != 1:  # noqa: SLF001 - pyOpenSSL has no call for it
        library.ERR_clear_error()  # else the next call would report it


def _context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """Our certificate and key, ready for `accept_tls`. Times are seconds since 1970 (UTC).

    Immutable: a renewed certificate is a new ServerContext.
    """

    certificate_path: Path
    key_path: Path
    not_before: float
    not_after: float
    files: tuple[FileState, ...]
    openssl: SSL.Context = field(repr=False, compare=False)
    names: tuple[str, ...] = ()

    def has_name(self, name: str) -> bool:
        """Whether the certificate is for a host name, in lower case; `*` stands for one whole label (RFC 9525)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names

    def choose_by_name(self) -> None:
        """Let `accept_tls` choose another certificate for a client by its SNI. Before the first handshake."""
        self.openssl.set_tlsext_servername_callback(_choose_context)

    @classmethod
    def load(cls, certificate_path: Path, key_path: Path) -> "ServerContext":
        """Read a PEM chain (the server's own certificate first) and its unencrypted PEM key.

        Raises BadCertificate.
        """
        files = file_states(certificate_path, key_path)  # before reading: what changes meanwhile is read again
        chain = _load_chain(certificate_path)
        key = _load_key(key_path)
        if not _fits(chain[0], key):
            raise BadCertificate(f"the key in {key_path} does not belong to the certificate in {certificate_path}")
        return cls(
            certificate_path=certificate_path,
            key_path=key_path,
            not_before=chain[0].not_valid_before_utc.timestamp(),
            not_after=chain[0].not_valid_after_utc.timestamp(),
            files=files,
            names=_host_names(chain[0]),
            openssl=_server_context(certificate_path, chain, key),
        )

    def warning(self, now: float) -> str | None:
        """What is wrong with the certificate though it can be used: expired, not valid yet, or about to expire."""
        if self.not_before <= now <= self.not_after:
            left = self.not_after - now
            if left > EXPIRY_WARNING_SECONDS:
                return None
            return f"the certificate in {self.certificate_path} expires in {left / 86400:.0f} days: renew it"
        fault = "has expired" if now > self.not_after else "is not valid yet"
        return f"the certificate in {self.certificate_path} {fault}; senders that verify it hold their mail back"


def _host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate, in lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):  # without names it is shown to those only who ask for none it has
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _choose_context(connection: SSL.Connection) -> None:
    """OpenSSL calls this with the client's SNI known. A name that nobody has gets the usual certificate."""
    asked_for, by_name = connection.get_servername(), connection.get_app_data()
    if not asked_for or not by_name:
        return
    name = asked_for.decode("ascii", "replace").lower().removesuffix(".")
    for context in by_name:
        if context.has_name(name):
            connection.set_context(context.openssl)
            return


def _server_context(path: Path, chain: list[x509.Certificate], key: _SigningKey) -> SSL.Context:
    context = _context(SSL.TLS_SERVER_METHOD)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET)
    _offer_groups(context)
    try:
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)
        context.check_privatekey()
    except crypto.Error:  # OpenSSL reads more strictly than `cryptography` did
        raise BadCertificate(f"TLS cannot use the certificate in {path}: a part of it cannot be read") from None
    except (SSL.Error, TypeError) as error:
        reason = say(error) if isinstance(error, SSL.Error) else "its key is of a kind that is not supported"
        raise BadCertificate(f"TLS cannot use the certificate in {path}: {reason}") from None
    return context


def _fits(certificate: x509.Certificate, key: _SigningKey) -> bool:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        return certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
    except UNREADABLE:  # the certificate has a key of another kind than any that we load
        return False


def _load_chain(path: Path) -> list[x509.Certificate]:
    try:
        return load_pem(_read(path, "certificate"))
    except InvalidCertificate as error:
        raise BadCertificate(f"{path} holds {error}") from None


def _load_key(path: Path) -> _SigningKey:
    try:
        key = load_pem_private_key(_read(path, "key"), password=None)
    except TypeError:
        raise BadCertificate(f"the key in {path} is encrypted; a server needs one without a passphrase") from None
    except UnsupportedAlgorithm:
        raise BadCertificate(_unusable_kind(path)) from None
    except ValueError:
        raise BadCertificate(f"{path} holds no PEM private key that can be read") from None
    if not isinstance(key, _SigningKey):
        raise BadCertificate(_unusable_kind(path))
    return key


def _unusable_kind(path: Path) -> str:
    return f"the key in {path} is of a kind that TLS servers do not use; take EC (P-256) or RSA"


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_OCTETS + 1)
    except OSError as error:
        raise BadCertificate(f"cannot read the {what} {path}: {error.strerror}") from None
    if len(data) > MAX_PEM_OCTETS:
        raise BadCertificate(f"the {what} {path} is longer than {MAX_PEM_OCTETS} octets")
    return data
