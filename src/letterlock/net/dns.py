"""DNS queries to upstream resolvers, over UDP and TCP (RFC 1035 section 4.2, RFC 5452, RFC 7766).

Every UDP query has a socket, and so a port, of its own; what does not answer it exactly (id, question, sender) is left
unread, and the wait goes on. Upstreams are tried in the order of their measured round trip; one that fails waits at
the end. One deadline bounds the whole query.
"""

import asyncio
import ipaddress
import re
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_RESOLV_CONF_OCTETS = 1 << 16
MAX_UPSTREAMS = 16
MAX_UDP_OCTETS = 4096
FIRST_TRY_SECONDS = 1.5
MAX_STRAY_DATAGRAMS = 64
MAX_QUERIES = 400
_HEADER_OCTETS = 12


class InvalidUpstream(ValueError):
    """The text does not name an upstream resolver."""


class NoUpstreams(Exception):
    """The system names no upstream resolver."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A resolver to ask."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


_BRACKETED = re.compile(r"\[([^\]]+)\](?::(\d{1,5}))?")
_WITH_PORT = re.compile(r"([^:@]+)[:@](\d{1,5})|([^@]+)@(\d{1,5})")


def parse_upstream(text: str) -> Upstream:
    """Parse `ADDRESS`, `ADDRESS:PORT`, `ADDRESS@PORT` or `[ADDRESS]:PORT`.

    Raises InvalidUpstream.
    """
    address, port = text, "53"
    if found := _BRACKETED.fullmatch(text):
        address, port = found[1], found[2] or "53"
    elif found := _WITH_PORT.fullmatch(text):
        address, port = found[1] or found[3], found[2] or found[4]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidUpstream(f"{text!r} is not the IP address of a resolver") from None
    if not 0 < int(port) < 65536:
        raise InvalidUpstream(f"{text!r}: a port is between 1 and 65535")
    return Upstream(str(ip), int(port))


def system_upstreams(path: Path = RESOLV_CONF) -> tuple[Upstream, ...]:
    """The name servers of the system, from /etc/resolv.conf. Raises NoUpstreams."""
    try:
        with path.open(errors="replace") as file:
            lines = file.read(MAX_RESOLV_CONF_OCTETS).splitlines()
    except OSError as error:
        raise NoUpstreams(f"no upstream resolver: {path}: {error.strerror}") from None
    words = [line.split() for line in lines]
    found = []
    for line in words:
        if len(line) >= 2 and line[0] == "nameserver":
            with suppress(InvalidUpstream):  # a scoped address (fe80::1%eth0) may stand beside usable ones
                found.append(parse_upstream(line[1]))
    if not found:
        raise NoUpstreams(f"no upstream resolver: {path} has no nameserver line that can be used")
    return tuple(found[:MAX_UPSTREAMS])


@dataclass(slots=True)
class _Standing:
    """How an upstream has done: a smoothed round trip in seconds, and failures in a row."""

    upstream: Upstream
    round_trip: float = 0.05
    failures: int = 0

    @property
    def rank(self) -> float:
        return self.round_trip + self.failures

    def answered(self, seconds: float) -> None:
        self.round_trip = 0.7 * self.round_trip + 0.3 * seconds
        self.failures = 0

    def failed(self) -> None:
        self.failures = min(self.failures + 1, 20)


class UpstreamTransport:
    """`await transport(wire, tcp)` asks the best upstream, then the next ones, until one deadline."""

    def __init__(self, upstreams: Sequence[Upstream], *, timeout_seconds: float = 10.0) -> None:
        if not upstreams:
            raise ValueError("an upstream is needed")
        self.upstreams = tuple(upstreams[:MAX_UPSTREAMS])
        self._timeout_seconds = timeout_seconds
        self._standings = [_Standing(upstream) for upstream in self.upstreams]
        self._room = asyncio.Semaphore(MAX_QUERIES)

    async def __call__(self, wire: bytes, tcp: bool) -> bytes:
        """Send a query, return the reply that answers it. Raises OSError, TimeoutError among them."""
        last: OSError = TimeoutError("no reply")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_seconds), self._room:
            wait = FIRST_TRY_SECONDS
            while True:
                for standing in sorted(self._standings, key=lambda each: each.rank):
                    begun = loop.time()
                    try:
                        async with asyncio.timeout(wait if not tcp else 2 * wait):
                            reply = await _exchange(standing.upstream, wire, tcp)
                    except OSError as error:
                        standing.failed()
                        last = error
                    else:
                        standing.answered(loop.time() - begun)
                        return reply
                if not isinstance(last, TimeoutError) and wait > FIRST_TRY_SECONDS:
                    raise last  # every one refused, twice: no use in waiting
                await asyncio.sleep(0 if isinstance(last, TimeoutError) else 0.1)
                wait *= 2

    async def aclose(self) -> None:
        """Nothing stays open between queries."""


async def _exchange(upstream: Upstream, wire: bytes, tcp: bool) -> bytes:
    try:
        return await (_over_tcp if tcp else _over_udp)(upstream, wire)
    except asyncio.IncompleteReadError:
        raise ConnectionResetError(f"{upstream} closed the connection in the middle of a reply") from None


async def _over_udp(upstream: Upstream, wire: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as query:
        query.setblocking(False)
        query.connect((upstream.address, upstream.port))  # the kernel drops what comes from elsewhere
        await loop.sock_sendall(query, wire)
        for _ in range(MAX_STRAY_DATAGRAMS):
            reply = await loop.sock_recv(query, MAX_UDP_OCTETS)
            if answers(reply, wire):
                return reply
    raise ConnectionAbortedError(f"{upstream} sent {MAX_STRAY_DATAGRAMS} datagrams that do not answer the query")


async def _over_tcp(upstream: Upstream, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(upstream.address, upstream.port)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        await writer.drain()
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        reply = await reader.readexactly(length)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if not answers(reply, wire):
        raise ConnectionAbortedError(f"{upstream} answered another query")
    return reply


def answers(reply: bytes, query: bytes) -> bool:
    """Whether a reply is to this query: id, QR bit and question alike, name without regard to case (RFC 5452)."""
    if len(reply) < _HEADER_OCTETS or reply[:2] != query[:2] or not reply[2] & 0x80:
        return False
    question = _question(query)
    return reply[4:6] == b"\x00\x01" and reply[_HEADER_OCTETS:][: len(question)].lower() == question.lower()


def _question(wire: bytes) -> bytes:
    """The first question of a query that we wrote ourselves: name, type, class."""
    end = _HEADER_OCTETS
    while wire[end]:
        end += wire[end] + 1
    return wire[_HEADER_OCTETS : end + 5]
