"""Bounded HTTPS: the GET of a domain's MTA-STS policy (RFC 8461 section 3.3, RFC 9112), the POST of a report.

Connects to the addresses that it is given, never to a name, and through no proxy. The certificate is verified before
the request is sent. Only a whole answer 200 of type text/plain counts: no redirect is followed, and a body that is cut
short is none. Whatever the server does ends within the deadline; of what it sends, at most the policy's octets, as many
of framing, and one read's worth are held.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from letterlock.identity.handshake import HandshakeFailed
from letterlock.identity.pkix import PkixMismatch, verify_pkix
from letterlock.identity.trust import TrustRoots
from letterlock.mtasts import MAX_POLICY_OCTETS, Fetched, FetchFailed, FetchFailure
from letterlock.net.errors import os_error_words
from letterlock.net.tls import start_tls
from letterlock.ports import Clock, Stream

HTTPS_PORT = 443  # RFC 9110 section 4.2.2
PATH = "/.well-known/mta-sts.txt"
DEADLINE_SECONDS = 60.0  # RFC 8461 section 3.3 suggests one minute
CONNECT_SECONDS = 10.0  # chosen: leaves time for other addresses within the deadline
MAX_ADDRESSES = 8  # chosen: more cannot be tried within the deadline if none answers
MAX_FRAMING_OCTETS = 65_536  # chosen: as much as the policy itself may have; real headers have 1 KiB
MAX_DETAIL_CHARACTERS = 300  # chosen: a failure's text must fit a log line, whatever a server sent
_READ_OCTETS = 16_384  # one full TLS record (RFC 8446 section 5.1)
_SHOWN_OCTETS = 60  # chosen: enough to recognise what a server sent

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_LENGTH = re.compile(rb"[0-9]{1,12}")

Connect = Callable[[str, int], Awaitable[Stream]]
"""Connect to an IP address and port, as ports.Dialer does. Raises OSError."""


class _NoPolicy(Exception):
    """The fetch failed; carries what it ends in."""

    def __init__(self, detail: str, kind: FetchFailure = FetchFailure.FETCH) -> None:
        super().__init__(detail)
        printable = "".join(character if character.isprintable() else "?" for character in detail)
        self.failure = FetchFailed(kind, printable[:MAX_DETAIL_CHARACTERS])


async def fetch_policy(
    host: str,
    addresses: Sequence[str],
    *,
    roots: TrustRoots,
    clock: Clock,
    connect: Connect,
    port: int = HTTPS_PORT,
    deadline_seconds: float = DEADLINE_SECONDS,
    max_octets: int = MAX_POLICY_OCTETS,
) -> Fetched | FetchFailed:
    """Fetch the policy text from `host` (`mta-sts.<domain>`), at the first of `addresses` that can be connected to.

    TLS 1.2 or newer; the certificate must be one for `host` under `roots`, valid now. Never raises for the network.
    """
    try:
        async with asyncio.timeout(deadline_seconds):
            stream = await _connect_to_any(addresses, port, connect)
            try:
                return Fetched(await _get(host, stream, roots, clock, max_octets))
            finally:
                stream.abort()
    except _NoPolicy as no:
        return no.failure
    except TimeoutError:
        return FetchFailed(FetchFailure.FETCH, f"{host} did not answer in full within {deadline_seconds:g} s")
    except OSError as error:
        return _NoPolicy(f"the connection to {host} broke: {os_error_words(error)}").failure


async def post(
    host: str,
    path: str,
    addresses: Sequence[str],
    body: bytes,
    kind: str,
    *,
    connect: Connect,
    port: int = HTTPS_PORT,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> str | None:
    """POST a body of a type, at the first of `addresses` that can be connected to; why it failed, or None.

    Any 2xx will do, and nothing else. The certificate is not verified: a TLS report may be about just that, and is no
    secret (RFC 8460 section 3). Never raises for the network.
    """
    try:
        async with asyncio.timeout(deadline_seconds):
            stream = await _connect_to_any(addresses, port, connect)
            try:
                return await _posted(host, path, stream, body, kind)
            finally:
                stream.abort()
    except _NoPolicy as no:
        return no.failure.detail
    except TimeoutError:
        return f"{host} did not answer in full within {deadline_seconds:g} s"
    except OSError as error:
        return f"the connection to {host} broke: {os_error_words(error)}"


async def _posted(host: str, path: str, plain: Stream, body: bytes, kind: str) -> str | None:
    """Raises _NoPolicy, OSError."""
    stream, handshake = await start_tls(plain, host)
    if isinstance(handshake, HandshakeFailed):
        return f"the TLS handshake with {host} failed: {handshake.detail}"
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "User-Agent: Letterlock",
        "Connection: close",
    )
    await stream.write("\r\n".join((*lines, "", "")).encode("ascii") + body)
    head = await _read_head(_Reader(stream))
    return None if 200 <= head.status < 300 else f"{host} answered {head.status}"


async def _connect_to_any(addresses: Sequence[str], port: int, connect: Connect) -> Stream:
    """Raises _NoPolicy."""
    failures = []
    for address in addresses[:MAX_ADDRESSES]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await connect(address, port)
        except TimeoutError:
            failures.append(f"{address}: no answer within {CONNECT_SECONDS:g} s")
        except OSError as error:
            failures.append(f"{address}: {os_error_words(error)}")
    raise _NoPolicy(f"cannot connect to {'; '.join(failures)}" if failures else "there is no address to connect to")


async def _get(host: str, plain: Stream, roots: TrustRoots, clock: Clock, max_octets: int) -> bytes:
    """Shake hands, verify, ask, and read the body. Raises _NoPolicy, OSError."""
    stream, handshake = await start_tls(plain, host)
    if isinstance(handshake, HandshakeFailed):
        raise _NoPolicy(f"the TLS handshake with {host} failed: {handshake.detail}")
    verified = verify_pkix(handshake.chain, (host,), roots, clock.now())
    if isinstance(verified, PkixMismatch):
        raise _NoPolicy(verified.detail, FetchFailure.WEBPKI)
    await stream.write(_request(host))
    reader = _Reader(stream)
    head = await _read_head(reader)
    _refuse_unless_policy(head)
    return await _read_body(reader, head, max_octets)


def _request(host: str) -> bytes:
    lines = (
        f"GET {PATH} HTTP/1.1",
        f"Host: {host}",
        "Accept: text/plain",
        "User-Agent: Letterlock",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


class _Reader:
    """Lines and octets of a response, each within its bound. Raises _NoPolicy and OSError."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._framing_left = MAX_FRAMING_OCTETS

    async def line(self) -> bytes:
        """One line of framing, without its end."""
        looked_at = 0
        while (end := self._buffer.find(b"\n", looked_at)) < 0:
            looked_at = len(self._buffer)
            self._refuse_beyond(looked_at)
            await self._more()
        self._refuse_beyond(end + 1)
        self._framing_left -= end + 1
        return self._take(end + 1)[:-1].removesuffix(b"\r")

    async def exactly(self, count: int) -> bytes:
        """So many octets, no fewer."""
        while len(self._buffer) < count:
            await self._more()
        return self._take(count)

    async def rest(self, max_octets: int) -> bytes:
        """All until TLS ends by close_notify; without one, it was cut off."""
        while len(self._buffer) <= max_octets:
            data = await self._stream.read(_READ_OCTETS)
            if not data:
                return bytes(self._buffer)
            self._buffer += data
        raise _too_long(max_octets)

    def _refuse_beyond(self, octets: int) -> None:
        if octets > self._framing_left:
            raise _NoPolicy(f"more than {MAX_FRAMING_OCTETS} octets of HTTP headers and chunk framing")

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _more(self) -> None:
        data = await self._stream.read(_READ_OCTETS)
        if not data:
            raise _NoPolicy("the answer was cut off")
        self._buffer += data


@dataclass(frozen=True, slots=True)
class _Head:
    """Status and header fields of a final response. Names are in lower case."""

    version: int  # the minor one
    status: int
    fields: tuple[tuple[bytes, bytes], ...]

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that may stand once. Raises _NoPolicy when it stands more often."""
        values = [value for each, value in self.fields if each == name]
        if len(values) > 1:
            raise _NoPolicy(f"the header field {name.decode()} stands {len(values)} times")
        return values[0] if values else None


async def _read_head(reader: _Reader) -> _Head:
    """The final response's; interim ones (1xx) before it are skipped."""
    while True:
        head = await _read_one_head(reader)
        if head.status == 101:  # RFC 9110 section 15.2.2: it would switch protocols, which nobody asked for
            raise _NoPolicy("the server switched to another protocol, unasked")
        if head.status >= 200:
            return head


async def _read_one_head(reader: _Reader) -> _Head:
    line = await reader.line()
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise _NoPolicy(f"not an HTTP/1.1 answer: {line[:_SHOWN_OCTETS]!r}")
    fields = []
    while line := await reader.line():
        field = _FIELD.fullmatch(line)
        if field is None:
            raise _NoPolicy(f"not a header field: {line[:_SHOWN_OCTETS]!r}")
        fields.append((field[1].lower(), field[2].rstrip(b" \t")))
    return _Head(int(match[1]), int(match[2]), tuple(fields))


def _refuse_unless_policy(head: _Head) -> None:
    """Only 200 and text/plain, not encoded (RFC 8461 sections 3.2 and 3.3). Raises _NoPolicy."""
    if 300 <= head.status < 400:
        raise _NoPolicy(f"answered {head.status}: redirects are not followed")
    if head.status != 200:
        raise _NoPolicy(f"answered {head.status} instead of 200")
    media_type = (head.one(b"content-type") or b"").partition(b";")[0].strip(b" \t")
    if media_type.lower() != b"text/plain":
        raise _NoPolicy(f"the type is not text/plain: {media_type[:_SHOWN_OCTETS]!r}")
    encoding = head.one(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise _NoPolicy(f"encoded as {encoding[:_SHOWN_OCTETS]!r}, unasked")


async def _read_body(reader: _Reader, head: _Head, max_octets: int) -> bytes:
    """The body by RFC 9112 section 6.3, whole. Raises _NoPolicy, OSError."""
    length, coding = head.one(b"content-length"), head.one(b"transfer-encoding")
    if coding is not None:
        if length is not None or head.version == 0 or coding.lower() != b"chunked":
            raise _NoPolicy(f"the body's length is unclear (Transfer-Encoding: {coding[:_SHOWN_OCTETS]!r})")
        return await _read_chunks(reader, max_octets)
    if length is None:
        return await reader.rest(max_octets)
    if _LENGTH.fullmatch(length) is None:
        raise _NoPolicy(f"Content-Length is not a number: {length[:_SHOWN_OCTETS]!r}")
    if int(length) > max_octets:
        raise _too_long(max_octets)
    return await reader.exactly(int(length))


async def _read_chunks(reader: _Reader, max_octets: int) -> bytes:
    """RFC 9112 section 7.1; chunk extensions and trailers are read past."""
    body = bytearray()
    while size := await _chunk_size(reader):
        if len(body) + size > max_octets:
            raise _too_long(max_octets)
        body += await reader.exactly(size)
        if await reader.line():
            raise _NoPolicy("a chunk does not end where it says")
    while await reader.line():
        pass  # a trailer
    return bytes(body)


async def _chunk_size(reader: _Reader) -> int:
    line = await reader.line()
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None:
        raise _NoPolicy(f"not the size of a chunk: {line[:_SHOWN_OCTETS]!r}")
    return int(match[1], 16)


def _too_long(max_octets: int) -> _NoPolicy:
    return _NoPolicy(f"longer than {max_octets} octets")
