"""Memory from end to end: attempts teach it, and it holds them, or tells."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.memory_keeper import MAX_NOTES, MOST_PUT_OFF, MemoryKeeper
from letterlock.identity.trust import TrustRoots
from letterlock.memory.remembered import Difference, DomainMemory
from letterlock.memory.traces import DAY_SECONDS, NEEDED_DAYS
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import MemoryMode
from letterlock.routing.routes import NextHop
from letterlock.spare_time import SpareTime
from letterlock.state.remembered_domains import DomainMemoryStore
from tests.certificates import Authority, self_signed
from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    make_ports,
    make_task,
)

EVIL = "192.0.2.66"
HOUR = 3_600.0


@dataclass
class UnsignedDiscoverer(HandDiscoverer):
    """Unsigned MX records without TLSA, and what the store remembers."""

    store: DomainMemoryStore | None = None
    mode: MemoryMode = MemoryMode.HOLD
    clock: HandClock = field(default_factory=HandClock)

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        records = (f"{number * 10} {host}." for number, host in enumerate(self.hosts, 1))
        self.mx = answer(next_hop.domain, "MX", *records, security=Security.INSECURE)
        found = await super().destination(next_hop, sender)
        memory: DomainMemory | MemoryUnreadable | None
        try:
            memory = await self.store.load(next_hop.domain) if self.store is not None else None
        except StoreFailed as error:
            memory = MemoryUnreadable(str(error))
        return replace(found, memory=memory, memory_mode=self.mode, at=self.clock.now())


class Life:
    """A server that delivers to example.org, day after day."""

    def __init__(self, dialer: MemoryDialer, issuer: Authority) -> None:
        self.clock = HandClock()
        self.store = DomainMemoryStore.open(None)
        self.dialer = dialer
        self.keeper = MemoryKeeper(lambda: self.store, self.clock, lambda: True)
        roots = TrustRoots("test", (issuer.der,))
        self.discoverer = UnsignedDiscoverer(store=self.store, clock=self.clock, public_roots=roots)

    async def send(self) -> Attempt:
        """One message."""
        task = make_task()
        ports = make_ports(self.dialer, self.discoverer, self.clock)
        made = await attempt(task, BODY, ports=ports, options=OPTIONS)
        self.keeper.attempted(task, made)
        await self.keeper.flush()
        return made

    async def become_known(self) -> None:
        """A message each fifth day, until the domain is known."""
        for _ in range(NEEDED_DAYS):
            self.clock.time += 5 * DAY_SECONDS
            assert kind(await self.send()) is OutcomeKind.DELIVERED


@pytest.fixture
async def life(dialer: MemoryDialer, issuer: Authority) -> AsyncIterator[Life]:
    """At the beginning."""
    life = Life(dialer, issuer)
    yield life
    await life.store.close()


@pytest.fixture
def new_context(issuer: Authority, tmp_path: Path) -> Callable[..., ServerContext]:
    """Another key for mx.example.org: from the same authority, or from nobody (`own`)."""

    def make(*, own: bool) -> ServerContext:
        fresh = self_signed("mx.example.org") if own else issuer.leaf("mx.example.org")
        return ServerContext.load(*fresh.write(tmp_path))

    return make


def kind(made: Attempt) -> OutcomeKind:
    return made.outcomes[0].kind


def codes(made: Attempt) -> list[str]:
    return [each.code.value for each in made.reasons]


async def test_starttls_that_disappears_is_held_until_it_is_back(
    life: Life, dialer: MemoryDialer, context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    genuine, stripped = Server(context), Server()
    dialer.handlers[ADDRESS] = genuine
    await life.become_known()
    dialer.handlers[ADDRESS] = stripped
    for _ in range(3):
        life.clock.time += HOUR
        made = await life.send()
        assert kind(made) is OutcomeKind.DEFERRED
        assert codes(made)[0] == "memory-no-starttls"
    assert stripped.messages == []
    assert not any(line.startswith("MAIL") for line in stripped.clear)
    await life.keeper.sum_up()
    ((domain, change),) = life.keeper.summary.alarms
    assert (domain, change.what, change.held, change.count) == ("example.org", Difference.TLS, True, 3)
    began = [line for line in caplog.messages if line.startswith("memory:")]
    assert began == ["memory: example.org: mx.example.org: takes mail in clear only; mail waits"]
    assert life.keeper.began["tls"] == 1
    dialer.handlers[ADDRESS] = genuine
    assert kind(await life.send()) is OutcomeKind.DELIVERED
    life.clock.time += 60
    await life.keeper.sum_up()
    assert life.keeper.summary.alarms == ()


async def test_another_certificate_is_held_and_a_renewed_one_is_not(
    life: Life, dialer: MemoryDialer, context: ServerContext, new_context: Callable[..., ServerContext]
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    await life.become_known()
    evil = dialer.handlers[ADDRESS] = Server(new_context(own=True))
    life.clock.time += HOUR
    made = await life.send()
    assert (kind(made), codes(made)[0]) == (OutcomeKind.DEFERRED, "memory-other-certificate")
    assert evil.messages == []
    dialer.handlers[ADDRESS] = Server(new_context(own=False))
    assert kind(await life.send()) is OutcomeKind.DELIVERED


async def test_a_forged_mx_is_held_and_the_genuine_one_never(
    life: Life, dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    evil = dialer.handlers[EVIL] = Server(context)
    await life.become_known()
    genuine, forged = life.discoverer.hosts, {"mx.evil.example": (EVIL,)}
    for _ in range(4):
        life.clock.time += 9 * HOUR
        life.discoverer.hosts = forged
        assert kind(await life.send()) is OutcomeKind.DEFERRED
        life.discoverer.hosts = genuine
        assert kind(await life.send()) is OutcomeKind.DELIVERED
    assert evil.messages == []
    life.discoverer.hosts = {**forged, **genuine}
    assert kind(await life.send()) is OutcomeKind.DELIVERED, "a forged host before the genuine one is passed over"
    assert evil.messages == []


async def test_a_move_is_held_until_an_operator_forgives_it(
    life: Life, dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    await life.become_known()
    dialer.handlers["192.0.2.2"] = Server(context)
    life.discoverer.hosts = {"mx.new.example": ("192.0.2.2",)}
    for _ in range(4 * 7):
        assert kind(await life.send()) is OutcomeKind.DEFERRED
        life.clock.time += 6 * HOUR
    await life.keeper.sum_up()
    [(domain, alarm)] = life.keeper.summary.alarms
    assert (domain, alarm.what, alarm.held) == ("example.org", Difference.HOST, True)
    assert alarm.last - alarm.since > 6 * DAY_SECONDS, "since when it is so"
    assert await life.keeper.forget(["example.org"]) == 1
    await life.become_known()
    memory = await life.store.load("example.org")
    assert memory is not None
    assert "mx.new.example" in {each.name for each in memory.known_hosts(life.clock.now())}


async def test_observing_delivers_and_tells(
    life: Life, dialer: MemoryDialer, context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    life.discoverer.mode = MemoryMode.OBSERVE
    dialer.handlers[ADDRESS] = Server(context)
    await life.become_known()
    dialer.handlers[ADDRESS] = Server()
    life.clock.time += HOUR
    made = await life.send()
    assert kind(made) is OutcomeKind.DELIVERED
    assert "memory-would-hold" in codes(made)
    began = [line for line in caplog.messages if line.startswith("memory:")]
    effect = "mail is sent all the same, for memory only observes"
    assert began == [f"memory: example.org: mx.example.org: takes mail in clear only; {effect}"]


async def test_forget_forgives_at_once(life: Life, dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    await life.become_known()
    dialer.handlers[ADDRESS] = Server()
    assert kind(await life.send()) is OutcomeKind.DEFERRED
    assert await life.keeper.forget(["example.org"]) == 1
    assert kind(await life.send()) is OutcomeKind.DELIVERED


async def test_nothing_is_learned_where_memory_is_off(life: Life, dialer: MemoryDialer, context: ServerContext) -> None:
    life.discoverer.mode = MemoryMode.OFF
    dialer.handlers[ADDRESS] = Server(context)
    await life.become_known()
    assert await life.store.count() == 0


async def test_a_message_that_was_not_taken_teaches_nothing(
    life: Life, dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context, answers={"RCPT": [b"450 4.2.0 later\r\n"]})
    assert kind(await life.send()) is OutcomeKind.DEFERRED
    assert await life.store.count() == 0


async def test_a_store_that_fails_loses_lessons_and_no_mail(
    life: Life, dialer: MemoryDialer, context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> DomainMemoryStore:
        raise StoreFailed("the disk is gone")

    life.discoverer.mode = MemoryMode.OBSERVE
    life.keeper = MemoryKeeper(broken, life.clock, lambda: True)
    dialer.handlers[ADDRESS] = Server(context)
    assert kind(await life.send()) is OutcomeKind.DELIVERED
    assert life.keeper.lost == 1
    assert "the disk is gone" in caplog.text
    await life.keeper.sum_up()
    assert life.keeper.summary.trouble == "the disk is gone"


async def test_notes_are_bounded(
    life: Life, dialer: MemoryDialer, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    task = make_task()
    made = await attempt(task, BODY, ports=make_ports(dialer, life.discoverer, life.clock), options=OPTIONS)
    for number in range(MAX_NOTES + 10):
        later = replace(made, ended_at=made.ended_at + number * HOUR)
        life.keeper.attempted(task, later)
    assert life.keeper.lost == 10
    monkeypatch.setattr(SpareTime, "is_there", lambda _: False)
    assert life.keeper._is_time()  # else more would be lost


async def test_a_busy_server_learns_half_a_minute_later(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """To verify certificates is work that nobody waits for; but it is not put off for ever."""
    monkeypatch.setattr(SpareTime, "is_there", lambda _: False)
    keeper = life.keeper
    assert [keeper._is_time() for _ in range(7)] == [False] * MOST_PUT_OFF + [True, False]
