"""An outside world in memory: streams, servers good and evil by address, DNS evidence by hand, a clock by hand."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.deliver.session import Ports
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.identity.trust import TrustRoots
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mtasts.sts_evidence import StsEvidence
from letterlock.net import tls
from letterlock.net.streams import take_turns
from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.ports import Stream
from letterlock.queue.tasks import DeliveryTask, Lease
from letterlock.resolver.answer import Absence, Answer, FailureKind, LookupFailure, Question, Security
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.routing.routes import NextHop
from tests.certificates import Credential

T = TypeVar("T")
ANN = Mailbox("ann", "example.org")
BOB = Mailbox("bob", "example.org")
SENDER = Mailbox("sender", "example.net")
BODY = b"Subject: hello\r\n\r\nhello\r\n"
ADDRESS = "192.0.2.1"
OPTIONS = DeliverOptions(hostname="client.example")
_SOON = 0.2
HASTY = DeliverOptions(  # for tests that wait for a time-out
    hostname="client.example",
    timeouts=Timeouts(
        connect=_SOON,
        greeting=_SOON,
        hello=_SOON,
        starttls=_SOON,
        handshake=_SOON,
        mail=_SOON,
        recipient=_SOON,
        data=_SOON,
        block=_SOON,
        message=_SOON,
        goodbye=_SOON,
    ),
)


class HandClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        """Seconds since 1970."""
        return self.time

    def monotonic(self) -> float:
        """The same, from another start."""
        return self.time - 1_800_000_000.0


class _Pipe:
    """Octets on their way in one direction."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.octets = bytearray()
        self.ended = False
        self.broken = False
        self.limit = limit
        self.changed = asyncio.Condition()

    async def notify(self) -> None:
        """Wake who waits."""
        async with self.changed:
            self.changed.notify_all()


class MemoryStream:
    """One end of a connection in memory, as ports.Stream."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer: str) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._peer = peer
        self._tasks: set[asyncio.Task[None]] = set()
        self.written = bytearray()

    @property
    def peer(self) -> str:
        """The peer's IP address."""
        return self._peer

    @property
    def over(self) -> bool:
        """Whether this end has closed."""
        return self._outgoing.ended

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not read."""
        pipe = self._incoming
        return not (pipe.octets or pipe.ended or pipe.broken or self._outgoing.ended)

    async def read(self, max_octets: int) -> bytes:
        """Some octets."""
        pipe = self._incoming
        async with pipe.changed:
            await pipe.changed.wait_for(lambda: pipe.octets or pipe.ended or pipe.broken)
            if pipe.broken:
                raise ConnectionResetError("reset by the peer")
            data = bytes(pipe.octets[:max_octets])
            del pipe.octets[:max_octets]
            pipe.changed.notify_all()
            return data

    async def write(self, data: bytes) -> None:
        """All octets, when there is room."""
        pipe = self._outgoing
        async with pipe.changed:
            await pipe.changed.wait_for(lambda: len(pipe.octets) < pipe.limit or pipe.ended or pipe.broken)
            if pipe.ended or pipe.broken:
                raise BrokenPipeError("nobody reads")
            self.written += data
            pipe.octets += data
            pipe.changed.notify_all()

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        """Read and write in turns."""
        await take_turns(self, first, answer, max_octets)

    async def close(self) -> None:
        """End after what was written."""
        self._end(broken=False)

    def abort(self) -> None:
        """Break it."""
        self._end(broken=True)

    def _end(self, *, broken: bool) -> None:
        self._outgoing.ended = True
        if broken:
            self._outgoing.broken = self._incoming.broken = True
        for pipe in (self._outgoing, self._incoming):
            task = asyncio.get_running_loop().create_task(pipe.notify())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Wrapped:
    """A stream that passes everything on, as ports.Stream; to be overridden in part."""

    def __init__(self, inner: Stream) -> None:
        self.inner = inner

    @property
    def peer(self) -> str:
        """The peer's IP address."""
        return self.inner.peer

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that was not read."""
        return self.inner.quiet

    async def read(self, max_octets: int) -> bytes:
        """Some octets."""
        return await self.inner.read(max_octets)

    async def write(self, data: bytes) -> None:
        """All octets."""
        await self.inner.write(data)

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        """Read and write in turns."""
        await take_turns(self, first, answer, max_octets)

    async def close(self) -> None:
        """End after what was written."""
        await self.inner.close()

    def abort(self) -> None:
        """Break it."""
        self.inner.abort()


def memory_pair(address: str) -> tuple[MemoryStream, MemoryStream]:
    """The client's end (its peer has the address) and the server's."""
    up, down = _Pipe(), _Pipe()
    return MemoryStream(down, up, address), MemoryStream(up, down, "192.0.2.254")


Handler = Callable[[MemoryStream], Awaitable[None]]


@dataclass
class MemoryDialer:
    """Dials handlers by address; what cannot be dialled is refused. TLS is the real pump."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)
    handshakes: list[tuple[str | None, bool]] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    clients: list[MemoryStream] = field(default_factory=list)

    async def dial(self, address: str, port: int) -> Stream:
        """Connect to a handler."""
        self.dialled.append(address)
        handler = self.handlers.get(address)
        if handler is None:
            raise ConnectionRefusedError(111, "Connection refused")
        client, server = memory_pair(address)
        self.clients.append(client)
        self.tasks.append(asyncio.create_task(_serve(handler, server)))
        return client

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        """The real handshake."""
        self.handshakes.append((sni, compatible))
        return await tls.start_tls(stream, sni, compatible=compatible)

    async def aclose(self) -> None:
        """End every server."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def _serve(handler: Handler, stream: MemoryStream) -> None:
    try:
        await handler(stream)
    except OSError:
        pass
    finally:
        await stream.close()


@dataclass
class Server:
    """A server that keeps to the protocol but where it is told not to.

    `answers` replace what a command gets, by its first word (`.` is the end of the message, `EHLO/TLS` EHLO inside
    TLS); several answers are used one after the other, the last one stays. Empty means: close the connection.
    """

    context: tls.ServerContext | None = None
    extensions: tuple[str, ...] = ("PIPELINING", "SIZE 1000000", "8BITMIME")
    answers: dict[str, list[bytes]] = field(default_factory=dict)
    starttls_answer: bytes = b"220 go\r\n"
    greeting: bytes = b"220 mx ESMTP\r\n"
    clear: list[str] = field(default_factory=list)
    secret: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    async def __call__(self, stream: Stream) -> None:
        """Serve one connection."""
        await stream.write(self.greeting)
        await _Connection(self, stream).run()


class _Connection:
    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self.stream = stream
        self.secure = False
        self.buffer = b""
        self.chunk = b""

    async def run(self) -> None:
        while (line := await self._line()) is not None:
            log = self.server.secret if self.secure else self.server.clear
            log.append(line)
            word = line.partition(" ")[0].upper()
            if word == "BDAT":
                await self._chunk(int(line.split()[1]))
            if word == "STARTTLS" and "STARTTLS" not in self.server.answers:
                await self._starttls()
            elif not await self._answer(word):
                return

    async def _starttls(self) -> None:
        await self.stream.write(self.server.starttls_answer)
        if self.server.starttls_answer.startswith(b"220") and self.server.context is not None:
            self.stream, _ = await tls.accept_tls(self.stream, self.server.context)
            self.secure, self.buffer = True, b""

    async def _chunk(self, octets: int) -> None:
        while len(self.buffer) < octets and (data := await self.stream.read(65536)):
            self.buffer += data
        self.chunk, self.buffer = self.buffer[:octets], self.buffer[octets:]

    async def _answer(self, word: str) -> bool:
        answer = self._scripted(word)
        if answer is None:
            answer = self._standard(word)
        if not answer:
            return False
        await self.stream.write(answer)
        if word == "DATA" and answer.startswith(b"354"):
            return await self._message()
        if word == "BDAT" and answer.startswith(b"250"):
            self.server.messages.append(self.chunk)
        return word != "QUIT" and not answer.startswith(b"421")

    async def _message(self) -> bool:
        while b"\r\n.\r\n" not in b"\r\n" + self.buffer:
            if not (data := await self.stream.read(65536)):
                return False
            self.buffer += data
        content, _, self.buffer = (b"\r\n" + self.buffer).partition(b"\r\n.\r\n")
        answer = self._scripted(".")
        if answer is None:
            answer = b"250 2.0.0 Ok: queued\r\n"
        if answer.startswith(b"250 "):
            self.server.messages.append(content.removeprefix(b"\r\n") + b"\r\n")
        if answer:
            await self.stream.write(answer)
        return bool(answer)

    def _scripted(self, word: str) -> bytes | None:
        key = f"{word}/TLS" if self.secure and f"{word}/TLS" in self.server.answers else word
        if key not in self.server.answers:
            return None
        answers = self.server.answers[key]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _standard(self, word: str) -> bytes:
        match word:
            case "EHLO":
                offer = list(self.server.extensions)
                if self.server.context is not None and not self.secure:
                    offer.append("STARTTLS")
                lines = ["mx", *offer]
                return b"".join(
                    f"250{'-' if number < len(lines) else ' '}{line}\r\n".encode()
                    for number, line in enumerate(lines, 1)
                )
            case "DATA":
                return b"354 go\r\n"
            case "QUIT":
                return b"221 bye\r\n"
        return b"250 2.0.0 Ok\r\n"

    async def _line(self) -> str | None:
        while b"\n" not in self.buffer:
            if not (data := await self.stream.read(65536)):
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("latin-1").rstrip("\r")


def raw(*pieces: bytes | None) -> Handler:
    """An evil server that says its pieces, each after it heard something (None: hears only); then waits for the end."""

    async def handle(stream: MemoryStream) -> None:
        for number, piece in enumerate(pieces):
            if number:
                await stream.read(65536)
            if piece is not None:
                await stream.write(piece)
        while await stream.read(65536):
            pass

    return handle


async def mute(stream: MemoryStream) -> None:
    """A server that never says anything and hangs up when the client does."""
    while await stream.read(65536):
        pass


def dane_ee(credential: Credential) -> str:
    """The TLSA 3 1 1 record of a certificate."""
    return f"3 1 1 {hashlib.sha256(credential.spki).hexdigest()}"


def answer(
    name: str, rdtype: str, *records: str, security: Security = Security.INSECURE, absence: Absence | None = None
) -> Answer:
    """A DNS answer by hand; without records it is NODATA, or the absence that is given."""
    kind = dns.rdatatype.from_text(rdtype)
    owner = dns.name.from_text(name)
    return Answer(
        question=Question(owner, kind),
        canonical_name=owner,
        records=tuple(dns.rdata.from_text(dns.rdataclass.IN, kind, record) for record in records),
        absence=None if records else absence or Absence.NODATA,
        security=security,
        expires_at=2_000_000_000.0,
        ttl=300,
    )


def lookup_failure(name: str, rdtype: str, kind: FailureKind = FailureKind.SERVFAIL) -> LookupFailure:
    """A lookup that could not find out."""
    question = Question(dns.name.from_text(name), dns.rdatatype.from_text(rdtype))
    return LookupFailure(question=question, kind=kind, detail="the name servers answer SERVFAIL")


@dataclass
class HandDiscoverer:
    """Evidence by hand: MX hosts in order with their addresses, and TLSA by host."""

    hosts: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"mx.example.org": (ADDRESS,)})
    tlsa: dict[str, Answer | LookupFailure] = field(default_factory=dict)
    rule: TlsRule | None = None
    mx: Answer | LookupFailure | None = None

    sts: StsEvidence | None = None
    sts_later: StsEvidence | None = None
    public_roots: TrustRoots | None = None

    routes: dict[str, str] = field(default_factory=dict)

    def destination_key(self, domain: str) -> str:
        """Where the routes lead."""
        return self.routes.get(domain, domain)

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        """Whether there is another policy now."""
        changed, self.sts = self.sts_later is not None, self.sts_later or self.sts
        return changed

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The MX answer and the rule."""
        records = (f"{number * 10} {host}." for number, host in enumerate(self.hosts, 1))
        mx = self.mx or answer(next_hop.domain, "MX", *records, security=Security.SECURE)
        rule = None
        if self.rule is not None:
            rule = DestinationRule(domain=next_hop.domain, tls=self.rule, source="test")
        return DestinationEvidence(next_hop=next_hop, mx=mx, rule=rule, sts=self.sts, public_roots=self.public_roots)

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """The addresses and the TLSA answer of one host, all of it secure."""
        addresses = tuple(self.hosts[host.name])
        ipv4 = (address for address in addresses if ":" not in address)
        lookup = answer(host.name, "A", *ipv4, security=Security.SECURE)
        name = f"_{port}._tcp.{host.name}"
        return TargetHost(
            host=host,
            port=port,
            canonical_name=host.name,
            addresses=addresses,
            address_lookups=(lookup,),
            address_security=Security.SECURE if addresses else None,
            tlsa_base=host.name,
            tlsa=self.tlsa.get(host.name, answer(name, "TLSA", security=Security.SECURE)),
        )


def as_they_are(items: Sequence[T], /) -> Sequence[T]:
    """No chance at all."""
    return items


def make_ports(dialer: MemoryDialer, discoverer: HandDiscoverer | None = None, clock: HandClock | None = None) -> Ports:
    """The outside world of an attempt."""
    return Ports(
        discoverer=discoverer or HandDiscoverer(),
        dialer=dialer,
        clock=clock or HandClock(),
        shuffle=as_they_are,
    )


def make_task(*recipients: Mailbox, message_id: str = "4F2A1", next_hop: str = "example.org") -> DeliveryTask:
    """A task for Ann, or for whom it is told."""
    envelope = Envelope(
        id=message_id,
        reverse_path=SENDER,
        recipients=recipients or (ANN,),
        size=len(BODY),
        accepted_at=1_800_000_000.0 - 1,
        expires_at=1_800_432_000.0,
    )
    lease = Lease(f"token-{message_id}", message_id, next_hop, 1_800_000_300.0)
    return DeliveryTask(lease=lease, envelope=envelope, recipients=recipients or (ANN,), attempts=0)
