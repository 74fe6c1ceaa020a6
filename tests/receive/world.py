"""A listener on loopback with a store in memory, and a client that says what it is told to."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from letterlock.mail.checked_content import Body, DotlessContent
from letterlock.mail.envelope import BodyType, Envelope
from letterlock.ports import Rates
from letterlock.queue.observing import Observers
from letterlock.queue.store import AcceptStore
from letterlock.queue.tasks import Lease
from letterlock.receive.authenticate_mail import JudgeMail
from letterlock.receive.listener import Listener
from letterlock.receive.options import ReceiveOptions
from letterlock.receive.pipeline import Draft, Facts
from letterlock.receive.profiles import Profile
from letterlock.receive.receipt_log import ReceiptLog
from letterlock.smtp.server_events import MessageReceived
from tests.bodies import octets_of
from tests.memory_store import MemorySpool

NOW = 1_790_000_000.0
PATIENCE_SECONDS = 20.0  # a test that waits longer hangs
ENVELOPE = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
FACTS = Facts(client="192.0.2.1", client_label="unknown[192.0.2.1]")


def draft_of(content: bytes) -> Draft:
    """A message with this content, as a step that is tested by itself gets it."""
    message = MessageReceived(
        reverse_path=None, recipients=(), body_type=BodyType.SEVEN_BIT, content=DotlessContent(content)
    )
    return Draft.of(message, "ID1", NOW)


class MovingClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()


class StandingClock:
    """A clock that stands still."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass
class FakeStore:
    """Keeps messages in memory; fails with `fault`, or waits for `gate`, when told to."""

    kept: list[tuple[Envelope, bytes, float]] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    fault: Exception | None = None
    gate: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    bodies: list[Body] = field(default_factory=list)
    spools: list[MemorySpool] = field(default_factory=list)

    async def share(self, body: Body) -> Body:
        """The same body for another message."""
        return body

    def spool(self) -> MemorySpool:
        self.spools.append(spool := MemorySpool())
        return spool

    async def accept(
        self,
        envelope: Envelope,
        body: Body,
        *,
        next_attempt_at: float,
        leases: Sequence[Lease] = (),
        quarantined: str | None = None,
    ) -> None:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        self.kept.append((envelope, octets_of(body), next_attempt_at))
        self.bodies.append(body)
        self.leases += leases
        if quarantined is not None:
            self.quarantined[envelope.id] = quarantined


@dataclass
class Delivery:
    """Leases everything, and remembers what it was given."""

    taken: list[tuple[Envelope, bytes, tuple[Lease, ...]]] = field(default_factory=list)

    def prepare(self, envelope: Envelope) -> tuple[Lease, ...]:
        hops = dict.fromkeys(mailbox.domain for mailbox in envelope.recipients)
        return tuple(Lease(f"lease-{hop}", envelope.id, hop, NOW + 300) for hop in hops)

    def take(self, envelope: Envelope, body: Body, leases: Sequence[Lease]) -> None:
        self.taken.append((envelope, octets_of(body), tuple(leases)))


class Client:
    """A raw SMTP client; every wait is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.writer.drain()

    async def reply(self) -> bytes:
        """One reply, all its lines."""
        lines = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                line = await self._reader.readline()
                lines += line
                if line[3:4] != b"-":
                    return lines

    async def ask(self, data: bytes) -> bytes:
        await self.send(data)
        return await self.reply()

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.read()

    def stop_reading(self) -> None:
        """Leave what the server says in the kernel."""
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    async def start_mail(self) -> None:
        """Greeting, EHLO, and the envelope up to 354."""
        await self.reply()
        await self.ask(b"EHLO client.example\r\n")
        await self.send(ENVELOPE)
        assert [(await self.reply())[:3] for _ in range(3)] == [b"250", b"250", b"354"]


@dataclass
class World:
    """A running listener."""

    listener: Listener
    store: FakeStore
    address: tuple[str, int]
    delivery: Delivery

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def empty(self) -> None:
        """Wait for the end of the sessions that there are."""
        if sessions := list(self.listener._sessions):
            await asyncio.wait(sessions, timeout=PATIENCE_SECONDS)
        assert self.listener.connections == 0


@contextlib.asynccontextmanager
async def world(
    options: ReceiveOptions | None = None,
    profile: Profile | None = None,
    *,
    host: str = "127.0.0.1",
    judge: JudgeMail | None = None,
    rates: Rates | None = None,
    moving: bool = False,
) -> AsyncIterator[World]:
    """A listener with these options and this profile, stopped at the end; `moving`: time passes."""
    store, delivery, ids = FakeStore(), Delivery(), itertools.count(1)
    listener = Listener(
        options or ReceiveOptions(hostname="mx.example.org"),
        store=cast("AcceptStore", store),
        clock=MovingClock() if moving else StandingClock(),
        new_id=lambda: f"ID{next(ids)}",
        handover=delivery,
        observers=Observers((ReceiptLog(),)),
        rates=None if rates is None else lambda: rates,
        judge=judge,
    )
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
        await listener.start([bound], profile or Profile())
        try:
            yield World(listener, store, bound.getsockname()[:2], delivery)
        finally:
            await listener.stop(0)
