"""An exception that nobody foresaw is a deferral: whatever raises, every recipient ends with an outcome."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.local.delivery import deliver_locally
from letterlock.deliver.local.maildir import Letter
from letterlock.deliver.pool import PoolKey, SessionPool
from letterlock.deliver.route_settings import SettingsByRoute
from letterlock.deliver.session import Opened
from letterlock.deliver.unforeseen import INTERNAL_ERROR
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import Body
from letterlock.mail.envelope import Envelope
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Requirement
from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.ports import Stream
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, DeliveryTask, Lease, OutcomeKind, Settlement
from letterlock.routing.local_targets import LmtpLoopback, Maildir
from letterlock.routing.routes import NextHop
from letterlock.schedule.deliverer import Deliverer
from letterlock.schedule.lease_keeper import LeaseKeeper
from tests.deliver.conftest import Ear
from tests.deliver.world import (
    ANN,
    BOB,
    BODY,
    OPTIONS,
    SENDER,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    make_ports,
    make_task,
)
from tests.memory_store import MemoryStore
from tests.schedule.hand_store import HandStore

CAROL = Mailbox("carol", "example.com")
TWO_HOSTS = {"mx1.example.org": ("192.0.2.1",), "mx2.example.org": ("192.0.2.2",)}
LIFETIME_SECONDS = 7200.0
MAX_ROUNDS = 40


class Bug(Exception):
    """What no code of ours expects."""


@dataclass
class Fuse:
    """Raises at the call number `at` of one port, and with `stays` at every later one."""

    port: str = ""
    at: int = 0
    stays: bool = False
    error: Exception = field(default_factory=lambda: Bug("secret words"))
    calls: int = 0

    def burn(self, port: str) -> None:
        """One call of a port."""
        if port != self.port:
            return
        self.calls += 1
        if self.at and (self.calls == self.at or (self.stays and self.calls > self.at)):
            raise self.error


class Clock(HandClock):
    """Breaks in deliveries only: the loop that looks at the queue is not what is tried here."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def now(self) -> float:
        task = asyncio.current_task()
        if task is not None and "_deliver" in repr(task.get_coro()):
            self.fuse.burn("clock")
        return super().now()


class Looks(HandDiscoverer):
    """A discoverer that breaks."""

    fuse: Fuse

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        self.fuse.burn("discoverer")
        return await super().destination(next_hop, sender)

    async def host(self, host: MxHost, port: int) -> TargetHost:
        self.fuse.burn("discoverer")
        return await super().host(host, port)


class Wire:
    """A stream that breaks, as ports.Stream."""

    def __init__(self, inner: Stream, fuse: Fuse) -> None:
        self.inner = inner
        self._fuse = fuse

    @property
    def peer(self) -> str:
        return self.inner.peer

    @property
    def quiet(self) -> bool:
        self._fuse.burn("stream")
        return self.inner.quiet

    async def read(self, max_octets: int) -> bytes:
        self._fuse.burn("stream")
        return await self.inner.read(max_octets)

    async def write(self, data: bytes) -> None:
        self._fuse.burn("stream")
        await self.inner.write(data)

    async def converse(self, first: bytes, answer: Callable[[bytes], bytes | None], max_octets: int) -> None:
        self._fuse.burn("stream")

        def burning(octets: bytes) -> bytes | None:
            self._fuse.burn("stream")
            return answer(octets)

        await self.inner.converse(first, burning, max_octets)

    async def close(self) -> None:
        await self.inner.close()
        self._fuse.burn("stream")

    def abort(self) -> None:
        self.inner.abort()
        self._fuse.burn("stream")


class Dialer(MemoryDialer):
    """A dialer that breaks, and whose streams do."""

    fuse: Fuse

    async def dial(self, address: str, port: int) -> Stream:
        self.fuse.burn("dialer")
        return Wire(await super().dial(address, port), self.fuse)

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        self.fuse.burn("dialer")
        assert isinstance(stream, Wire)
        inner, handshake = await super().start_tls(stream.inner, sni, compatible=compatible)
        return Wire(inner, self.fuse), handshake


class Pool(SessionPool):
    """A pool that breaks."""

    fuse: Fuse

    def take(
        self, server: PoolKey, requirement: Requirement, *, ignored: frozenset[str] = frozenset()
    ) -> Opened | None:
        self.fuse.burn("pool")
        return super().take(server, requirement, ignored=ignored)

    def shared(
        self, session: Opened, server: PoolKey, requirement: Requirement, *, ignored: frozenset[str] = frozenset()
    ) -> Opened | None:
        self.fuse.burn("pool")
        return super().shared(session, server, requirement, ignored=ignored)

    async def put(self, server: PoolKey, session: Opened) -> None:
        await super().put(server, session)
        self.fuse.burn("pool")


class BreakingStore(MemoryStore):
    """A store that breaks, and counts what it wrote."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse
        self.reasons: set[str] = set()
        self.settlements = 0

    async def body(self, message_id: str) -> Body:
        self.fuse.burn("body")
        return await super().body(message_id)

    async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
        self.fuse.burn("settle")
        await super().settle(lease, settlement, attempt, now=now)
        self.settlements += 1
        self.reasons |= {reason.code for reason in attempt.reasons}


@dataclass
class Life:
    """How a run went."""

    store: BreakingStore
    servers: list[Server]
    calls: int

    @property
    def copies(self) -> int:
        return sum(len(server.messages) for server in self.servers)


def _envelope(message_id: str, *recipients: Mailbox) -> Envelope:
    return Envelope(
        id=message_id,
        reverse_path=SENDER,
        recipients=recipients,
        size=len(BODY),
        accepted_at=1_800_000_000.0,
        expires_at=1_800_000_000.0 + LIFETIME_SECONDS,
    )


@asynccontextmanager
async def _working(store: BreakingStore, dialer: Dialer, fuse: Fuse) -> AsyncIterator[tuple[Deliverer, Clock]]:
    clock, discoverer = Clock(fuse), Looks(hosts=TWO_HOSTS)
    discoverer.fuse = dialer.fuse = fuse
    deliverer = Deliverer(
        OPTIONS,
        store=store,
        discoverer=discoverer,
        dialer_from=lambda _: dialer,
        clock=clock,
        route_settings=SettingsByRoute(),
        chance=random.Random(1),
    )
    deliverer._pool = pool = Pool(clock, OPTIONS)
    pool.fuse = fuse
    running = asyncio.create_task(deliverer.run())
    try:
        yield deliverer, clock
    finally:
        fuse.at = 0
        async with asyncio.timeout(10):
            await deliverer.stop(5)
            await running


async def _progress(store: BreakingStore, seen: int) -> None:
    async with asyncio.timeout(5):
        while store.settlements == seen:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


async def live(fuse: Fuse, context: ServerContext) -> Life:
    """Two messages for three recipients at two next hops, from acceptance to the end of all of them."""
    dialer, store = Dialer(), BreakingStore(fuse)
    servers = [Server(context), Server(context)]
    dialer.handlers.update({"192.0.2.1": servers[0], "192.0.2.2": servers[1]})
    await store.accept(_envelope("1", ANN, BOB, CAROL), BODY, next_attempt_at=0.0)
    await store.accept(_envelope("2", ANN, BOB, CAROL), BODY, next_attempt_at=0.0)
    async with _working(store, dialer, fuse) as (deliverer, clock):
        for _ in range(MAX_ROUNDS):
            due = await store.next_due()
            if due is None:
                break
            clock.time, seen = max(clock.time, due), store.settlements
            deliverer.forgive(None)
            await _progress(store, seen)
            while deliverer._deliveries:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)
        assert await store.next_due() is None, f"{fuse}: something is still in the queue"
    await dialer.aclose()
    return Life(store, servers, fuse.calls)


PORTS = ("clock", "discoverer", "dialer", "stream", "pool", "body", "settle")


@pytest.mark.parametrize("port", PORTS)
async def test_whatever_raises_once_everybody_has_the_message_in_the_end(port: str, context: ServerContext) -> None:
    calls = (await live(Fuse(port), context)).calls
    assert calls >= 2, "the port is used"
    for at in range(1, calls + 1):
        life = await live(Fuse(port, at), context)
        assert life.copies >= 4, f"{port} raises at call {at}: two messages, two next hops each"
        assert life.copies <= 5, f"{port} raises at call {at}: at most one of them comes twice"


ERRORS = (Bug("secret words"), StoreFailed("disk"), UnicodeError("x"), KeyError("x"))


@pytest.mark.parametrize(
    ("port", "error"),
    [
        *((port, error) for port in ("discoverer", "dialer", "stream", "pool") for error in ERRORS),
        *(("body", error) for error in ERRORS[:-1]),  # KeyError is what a removed message looks like
    ],
)
async def test_whatever_raises_for_ever_every_message_expires(
    port: str, error: Exception, context: ServerContext, heard: Ear
) -> None:
    life = await live(Fuse(port, 1, stays=True, error=error), context)
    assert life.copies == 0 or port == "pool"
    if port != "pool":
        notices = await life.store.due_notices(limit=10)
        assert {outcome.recipient for notice in notices for outcome in notice.outcomes} == {ANN, BOB, CAROL}
        assert all("secret" not in outcome.text for notice in notices for outcome in notice.outcomes)
        assert life.store.reasons & {INTERNAL_ERROR, "queue-unreadable"}
    assert "1: " in heard.text, "the log names the message"


async def test_a_bug_at_one_host_leaves_the_others_to_be_tried(heard: Ear) -> None:
    dialer = MemoryDialer()

    class Broken(HandDiscoverer):
        async def host(self, host: MxHost, port: int) -> TargetHost:
            if host.name == "mx1.example.org":
                raise Bug("secret words")
            return await super().host(host, port)

    second = dialer.handlers["192.0.2.2"] = Server()
    made = await attempt(make_task(), BODY, ports=make_ports(dialer, Broken(hosts=TWO_HOSTS)), options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert second.messages == [BODY]
    assert "4F2A1: internal error at mx1.example.org" in heard.text
    await dialer.aclose()


async def test_a_bug_after_the_final_dot_is_in_doubt_and_tries_no_other_host() -> None:
    fuse = Fuse("stream")
    dialer = Dialer()
    dialer.fuse = fuse
    servers = [Server(extensions=()), Server(extensions=())]
    dialer.handlers.update({"192.0.2.1": servers[0], "192.0.2.2": servers[1]})
    ports = make_ports(dialer, HandDiscoverer(hosts=TWO_HOSTS))
    await attempt(make_task(), BODY, ports=ports, options=OPTIONS)
    calls, doubted = fuse.calls, 0
    for at in range(1, calls + 1):
        for server in servers:
            server.messages.clear()
        fuse.calls, fuse.at = 0, at
        made = await attempt(make_task(), BODY, ports=ports, options=OPTIONS)
        (outcome,) = made.outcomes
        assert sum(len(server.messages) for server in servers) == 1, f"call {at}"
        doubted += outcome.in_doubt
        assert outcome.kind is (OutcomeKind.DEFERRED if outcome.in_doubt else OutcomeKind.DELIVERED)
    assert doubted
    await dialer.aclose()


async def test_a_bug_does_not_keep_a_delivery_from_being_cancelled() -> None:
    dialer = MemoryDialer()
    waiting = asyncio.Event()

    class Stuck(HandDiscoverer):
        async def host(self, host: MxHost, port: int) -> TargetHost:
            waiting.set()
            await asyncio.Event().wait()
            raise Bug

    trying = asyncio.create_task(attempt(make_task(), BODY, ports=make_ports(dialer, Stuck()), options=OPTIONS))
    await waiting.wait()
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying


@pytest.mark.parametrize("code", [b"500", b"501", b"502", b"503", b"504"])
async def test_rfc5321_4_1_4_a_server_that_knows_neither_ehlo_nor_helo_is_passed_over(code: bytes) -> None:
    dialer = MemoryDialer()
    dialer.handlers["192.0.2.1"] = Server(answers={"EHLO": [code + b" what?\r\n"], "HELO": [code + b" what?\r\n"]})
    second = dialer.handlers["192.0.2.2"] = Server()
    ports = make_ports(dialer, HandDiscoverer(hosts=TWO_HOSTS))
    made = await attempt(make_task(), BODY, ports=ports, options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert second.messages == [BODY]
    await dialer.aclose()


async def test_an_outcome_that_cannot_be_written_down_is_written_without_its_words(
    dialer: MemoryDialer, heard: Ear
) -> None:
    """A store that cannot take what a server said must not make the message come twice, nor stay for ever."""
    from tests.schedule.test_deliverer import until, working

    class Picky(HandStore):
        async def settle(self, lease: Lease, settlement: Settlement, attempt: Attempt, *, now: float) -> None:
            if any(outcome.remote_reply for outcome in attempt.outcomes):
                raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
            await super().settle(lease, settlement, attempt, now=now)

    dialer.handlers["192.0.2.1"] = Server()
    store = Picky(HandClock())
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: store.settled)
    ((settlement, made),) = store.settled
    assert [outcome.kind for outcome in settlement.delivered] == [OutcomeKind.DELIVERED]
    assert [reason.code for reason in made.reasons] == [INTERNAL_ERROR]
    assert "4F2A1: internal error in writing the outcome" in heard.text


async def test_the_log_cannot_change_what_became_of_a_message(
    dialer: MemoryDialer, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    from letterlock.deliver import log as delivery_log
    from tests.schedule.test_deliverer import until, working

    def broken(made: Attempt, *, accepted_at: float) -> Sequence[str]:
        raise Bug

    monkeypatch.setattr(delivery_log, "lines", broken)
    dialer.handlers["192.0.2.1"] = Server()
    store = HandStore(HandClock())
    store.put(replace(make_task(), attempts=3))
    async with working(store, dialer):
        await until(lambda: store.settled)
    ((settlement, _),) = store.settled
    assert [outcome.kind for outcome in settlement.delivered] == [OutcomeKind.DELIVERED]


async def test_a_bug_in_looking_at_the_queue_ends_nothing(
    dialer: MemoryDialer, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    from letterlock.schedule import deliverer as worker
    from tests.schedule.test_deliverer import until, working

    class Stumbling(HandStore):
        stumbles = 2

        async def lease(self, now: float, **asked: Any) -> Sequence[DeliveryTask]:
            self.stumbles -= 1
            if self.stumbles >= 0:
                raise Bug("secret words")
            return await super().lease(now, **asked)

    monkeypatch.setattr(worker, "STORE_PAUSE_SECONDS", 0.001)
    dialer.handlers["192.0.2.1"] = Server()
    store = Stumbling(HandClock())
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: store.settled)
    assert "internal error while looking at the queue" in heard.text


async def test_a_bug_in_putting_off_is_followed_by_the_next_try(
    dialer: MemoryDialer, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    from letterlock.schedule import deliverer as worker
    from tests.schedule.test_deliverer import until, working

    tries = 0

    async def stumbling() -> Sequence[DeliveryTask]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Bug("secret words")
        return ()

    monkeypatch.setattr(worker, "SWEPT_SECONDS", 0.001)
    async with working(HandStore(HandClock()), dialer) as deliverer:
        monkeypatch.setattr(deliverer._leasing, "sweep", stumbling)
        await until(lambda: tries > 1)
    assert "internal error while putting off" in heard.text


async def test_a_lease_that_cannot_be_renewed_for_a_bug_leaves_the_others_renewed(heard: Ear) -> None:
    class Stumbling(HandStore):
        async def renew(self, lease: Lease, expires_at: float) -> Lease:
            if lease.message_id == "bad":
                raise Bug("secret words")
            return replace(lease, expires_at=expires_at)

    clock = HandClock()
    leases = LeaseKeeper(Stumbling(clock), clock, 300.0)
    bad, good = (leases.hold(Lease(name, name, "example.org", clock.now()), lambda: None) for name in ("bad", "good"))
    await leases._renew_all()
    assert (bad.lease.expires_at, good.lease.expires_at) == (clock.now(), clock.now() + 300.0)
    assert "bad: internal error while renewing the lease" in heard.text


async def test_final_delivery_by_lmtp_survives_whatever_raises(heard: Ear) -> None:
    """At every call of the connection: an outcome for everybody, and no second copy at once."""
    fuse = Fuse("stream")
    dialer = Dialer()
    dialer.fuse = fuse
    server = dialer.handlers["127.0.0.1"] = Server(extensions=())
    target = LmtpLoopback("127.0.0.1", 24)
    ports = make_ports(dialer)
    made = await deliver_locally(make_task(), BODY, target, ports=ports, options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    doubted = 0
    for at in range(1, fuse.calls + 1):
        server.messages.clear()
        fuse.calls, fuse.at = 0, at
        made = await deliver_locally(make_task(), BODY, target, ports=ports, options=OPTIONS)
        (outcome,) = made.outcomes
        assert len(server.messages) <= 1, f"call {at}"
        assert outcome.kind is OutcomeKind.DEFERRED or server.messages, f"call {at}"
        doubted += outcome.in_doubt
        if outcome.kind is OutcomeKind.DEFERRED:
            assert INTERNAL_ERROR in {reason.code for reason in made.reasons}
    assert doubted
    await dialer.aclose()


async def test_a_bug_in_one_mailbox_leaves_the_others_their_mail(
    tmp_path: Path, heard: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Letter.for_recipient

    def broken_for_ann(letter: Letter, recipient: Mailbox) -> Iterator[bytes]:
        if recipient == ANN:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return whole(letter, recipient)

    monkeypatch.setattr(Letter, "for_recipient", broken_for_ann)
    target = Maildir(f"{tmp_path}/{{local}}", create=True)
    made = await deliver_locally(make_task(ANN, BOB), BODY, target, ports=make_ports(MemoryDialer()), options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DEFERRED, OutcomeKind.DELIVERED]
    assert str(tmp_path) not in made.outcomes[0].text, "senders read it"
    assert "4F2A1: internal error at " in heard.text
