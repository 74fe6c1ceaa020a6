"""The worker: who is tried when, what is written, and what happens when the store or a lease goes."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

import pytest

from letterlock.deliver.log import DeliveryLog
from letterlock.deliver.options import Timeouts
from letterlock.deliver.route_settings import RouteSettings, SettingsByRoute
from letterlock.mail.addresses import Mailbox
from letterlock.net.sources import SourceAddresses
from letterlock.policy.evidence import DestinationEvidence
from letterlock.queue.age import Age, Reading
from letterlock.queue.observing import Observer, Observers
from letterlock.queue.settle import RetrySchedule
from letterlock.queue.store import WorkStore
from letterlock.queue.tasks import DeliveryTask
from letterlock.routing.domain_table import DomainTable
from letterlock.routing.routes import NextHop
from letterlock.schedule import backoff, settling
from letterlock.schedule import deliverer as worker
from letterlock.schedule.backoff import DOWN_SECONDS, FIRST_SECONDS, MAX_SECONDS, PATIENCE
from letterlock.schedule.deliverer import Deliverer
from tests.deliver.conftest import Ear
from tests.deliver.world import (
    ADDRESS,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    MemoryStream,
    Server,
    make_task,
)
from tests.schedule.hand_store import HandStore


class PerDomain(HandDiscoverer):
    """Every domain has one host, `mx.` and the domain, behind the address that is given."""

    def __init__(self, **addresses: str) -> None:
        super().__init__(hosts={f"mx.{name}.example": (address,) for name, address in addresses.items()})
        self._all = self.hosts
        self.name_of: Callable[[str], str] = "mx.{}".format

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        return False

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """Its one host."""
        if next_hop.domain == "bug.example":
            raise RuntimeError("a bug")
        host = self.name_of(next_hop.domain)
        self.hosts = {host: self._all[host]}
        evidence = await super().destination(next_hop)
        self.hosts = self._all
        return evidence


def task_for(domain: str, number: int) -> DeliveryTask:
    return make_task(Mailbox("ann", domain), message_id=f"{domain}-{number}", next_hop=domain)


class TimedStore(WorkStore, Protocol):
    """A store that goes by a clock of ours."""

    clock: HandClock


@asynccontextmanager
async def working(
    store: TimedStore,
    dialer: MemoryDialer,
    discoverer: HandDiscoverer | None = None,
    grace: float = 5.0,
    route_settings: SettingsByRoute | None = None,
    asked: list[SourceAddresses] | None = None,
    observers: Sequence[Observer] = (DeliveryLog(),),
    **changes: float | Timeouts,
) -> AsyncIterator[Deliverer]:
    """A deliverer at work; it is stopped at the end. `asked`: from which addresses it wished to dial."""

    def dialer_from(source: SourceAddresses) -> MemoryDialer:
        if asked is not None:
            asked.append(source)
        return dialer

    deliverer = Deliverer(
        replace(OPTIONS, **changes),  # type: ignore[arg-type] # int and float limits by name
        store=store,
        discoverer=discoverer or HandDiscoverer(),
        dialer_from=dialer_from,
        clock=store.clock,
        route_settings=route_settings or SettingsByRoute(),
        chance=random.Random(1),
        observers=Observers(observers),
    )
    running = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        async with asyncio.timeout(10):
            await deliverer.stop(grace)
            await running


async def until(condition: Callable[[], object]) -> None:
    """Let others run until it is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


@pytest.fixture
def store() -> HandStore:
    return HandStore(HandClock())


class Gate:
    """A server that waits for `open` before it greets."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0
        self.most = 0
        self.server = Server()

    async def __call__(self, stream: MemoryStream) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.opened.wait()
            await self.server(stream)
        finally:
            self.waiting -= 1


async def test_what_is_due_is_delivered_settled_and_logged(store: HandStore, dialer: MemoryDialer, heard: Ear) -> None:
    dialer.handlers[ADDRESS] = Server()
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: store.settled)
    ((settlement, made),) = store.settled
    assert len(settlement.delivered) == 1
    assert made.message_id == "4F2A1"
    (line,) = heard.messages
    assert line.startswith("4F2A1: to=<ann@example.org>, relay=mx.example.org[192.0.2.1]:25, delay=1, delays=1/0/0/0, ")
    assert "status=sent (250 2.0.0 Ok: queued) tls=may:none protection=clear" in line


async def test_wake_begins_at_once(store: HandStore, dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    async with working(store, dialer) as deliverer:
        await asyncio.sleep(0.01)
        store.put(make_task())
        deliverer.wake()
        await until(lambda: store.settled)


async def test_a_deferred_message_is_due_again_later(store: HandStore, dialer: MemoryDialer) -> None:
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: store.settled)
    ((settlement, _),) = store.settled
    assert settlement.next_attempt_at is not None
    assert settlement.next_attempt_at > store.clock.now()


async def test_a_slow_destination_has_its_seats_and_no_more(store: HandStore, dialer: MemoryDialer) -> None:
    gate = Gate()
    dialer.handlers = {"192.0.2.1": gate, "192.0.2.2": Server()}
    discoverer = PerDomain(slow="192.0.2.1", quick="192.0.2.2")
    store.put(*(task_for("slow.example", number) for number in range(300)))
    store.put(*(task_for("quick.example", number) for number in range(20)))
    async with working(store, dialer, discoverer, max_concurrent=10, max_concurrent_per_destination=4, max_waiting=50):
        await until(lambda: len(store.settled) == 20)
        assert {made.next_hop for _, made in store.settled} == {"quick.example"}
        assert gate.most == 1, "nothing succeeded there yet"
        assert len(store.released) == 100 - 25, "of the first hundred; the others were passed over"
        gate.opened.set()
        await until(lambda: len(store.settled) == 20 + 300)
        assert gate.most == 4


class Taking(list[str]):
    """A server's list of commands: for each, time passes."""

    def __init__(self, clock: HandClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    def append(self, line: str) -> None:
        self._clock.time += self._seconds
        super().append(line)


@pytest.mark.parametrize(("seconds", "messages", "sessions"), [(0.04, 3, 1), (0.4, 3, 1), (0.4, 4, 2)])
async def test_where_ehlo_is_answered_slowly_who_waits_gets_another_session_at_once(
    store: HandStore, dialer: MemoryDialer, seconds: float, messages: int, sessions: int
) -> None:
    server = dialer.handlers[ADDRESS] = Server(clear=Taking(store.clock, seconds))
    store.put(*(make_task(message_id=f"m{number}") for number in range(messages)))
    async with working(store, dialer):
        await until(lambda: len(store.settled) == messages)
    assert len(server.messages) == messages
    assert len(dialer.dialled) == sessions


async def test_two_slow_destinations_do_not_keep_the_third_out(store: HandStore, dialer: MemoryDialer) -> None:
    gate = Gate()
    dialer.handlers = {"192.0.2.1": gate, "192.0.2.2": Server()}
    discoverer = PerDomain(slow="192.0.2.1", slack="192.0.2.1", quick="192.0.2.2")
    for domain in ("slow.example", "slack.example"):
        store.put(*(task_for(domain, number) for number in range(100)))
    store.put(task_for("quick.example", 1))
    async with working(store, dialer, discoverer, max_concurrent=10, max_concurrent_per_destination=4, max_waiting=20):
        await until(lambda: len(store.settled) == 1)
        gate.opened.set()


async def test_stop_finishes_what_is_in_hand_and_gives_back_the_rest(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.put(*(make_task(message_id=f"m{number}") for number in range(5)))
    async with working(store, dialer, max_concurrent_per_destination=2) as deliverer:
        await until(lambda: gate.waiting == 1)
        stopping = asyncio.create_task(deliverer.stop(5))
        await asyncio.sleep(0.01)
        gate.opened.set()
        await stopping
    assert len(store.settled) == 1
    assert len(store.released) == 4
    assert not store.leased


async def test_stop_cuts_off_what_takes_longer_than_its_grace(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.put(make_task())
    async with working(store, dialer, grace=0.01):
        await until(lambda: gate.waiting == 1)
    assert store.settled == []
    assert store.released == [("4F2A1", store.clock.now())]
    await until(lambda: gate.waiting == 0 or dialer.clients[0].over)


async def test_a_store_that_cannot_be_read_is_asked_again(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch, heard: Ear
) -> None:
    monkeypatch.setattr(worker, "STORE_PAUSE_SECONDS", 0.01)
    dialer.handlers[ADDRESS] = Server()
    store.fail = {"lease": 2, "next_due": 1}
    store.put(make_task())
    async with working(store, dialer) as deliverer:
        deliverer._store_pause = 0.01
        deliverer.wake()
        await until(lambda: store.settled)
    assert "no space left" in heard.text


async def test_an_outcome_that_cannot_be_written_is_written_later(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "STORE_PAUSE_SECONDS", 0.01)
    server = dialer.handlers[ADDRESS] = Server()
    store.fail = {"settle": 3}
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: store.settled)
    assert len(server.messages) == 1


async def test_an_outcome_that_can_never_be_written_is_said_to_be_lost(
    store: HandStore, dialer: MemoryDialer, heard: Ear
) -> None:
    dialer.handlers[ADDRESS] = Server()
    store.fail = {"settle": 100}
    store.put(make_task())
    async with working(store, dialer, lease_seconds=0.5):
        await until(lambda: "may come twice" in heard.text)
    assert store.leased, "the lease runs out, and the message is tried again"


async def test_a_long_delivery_renews_its_lease(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.fail = {"renew": 1}
    store.put(make_task())
    async with working(store, dialer, lease_seconds=0.03):
        await until(lambda: store.renewals >= 3)
        gate.opened.set()
        await until(lambda: store.settled)


async def test_a_lost_lease_ends_the_delivery(store: HandStore, dialer: MemoryDialer, heard: Ear) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.put(make_task())
    async with working(store, dialer, lease_seconds=0.03):
        await until(lambda: gate.waiting)
        store.lose.add("4F2A1")
        await until(lambda: "lease was lost" in heard.text)
        gate.opened.set()
    assert store.settled == []
    assert gate.server.messages == []


async def test_a_lease_that_waited_long_is_renewed_before_it_is_used(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.put(make_task(message_id="first"), make_task(message_id="second"))
    async with working(store, dialer, max_concurrent=1):
        await until(lambda: gate.waiting)
        store.clock.time += 200
        gate.opened.set()
        await until(lambda: len(store.settled) == 2)
    assert store.renewals == 1


async def test_a_lease_that_ran_out_while_it_waited_is_left_to_the_next_one(
    store: HandStore, dialer: MemoryDialer
) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.put(make_task(message_id="first"), make_task(message_id="second"))
    async with working(store, dialer, max_concurrent=1):
        await until(lambda: gate.waiting)
        store.clock.time += 400
        gate.opened.set()
        await until(lambda: store.settled)
    assert [made.message_id for _, made in store.settled] == ["first"]
    assert len(dialer.dialled) == 1


async def test_a_removed_message_is_not_delivered(store: HandStore, dialer: MemoryDialer, heard: Ear) -> None:
    store.removed.add("4F2A1")
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: "removed" in heard.text)
    assert dialer.dialled == []


async def test_a_body_that_cannot_be_read_is_deferred_with_a_reason(
    store: HandStore, dialer: MemoryDialer, heard: Ear
) -> None:
    store.fail = {"body": 1}
    store.put(make_task())
    async with working(store, dialer):
        await until(lambda: store.settled)
    ((settlement, made),) = store.settled
    assert [outcome.status for outcome in settlement.deferred] == ["4.3.0"]
    assert [reason.code for reason in made.reasons] == ["queue-unreadable"]
    assert "cannot be read: no space left on device" in heard.text


async def test_a_bug_in_one_delivery_stops_no_other(store: HandStore, dialer: MemoryDialer, heard: Ear) -> None:
    dialer.handlers["192.0.2.2"] = Server()
    store.put(task_for("bug.example", 1), task_for("quick.example", 1))
    async with working(store, dialer, PerDomain(quick="192.0.2.2")):
        await until(lambda: len(store.settled) == 2)
    settled = {made.next_hop: settlement for settlement, made in store.settled}
    assert settled["quick.example"].delivered
    assert [outcome.text for outcome in settled["bug.example"].deferred] == [
        "bug.example: an error inside Letterlock; the log has the details"
    ]
    assert "bug.example-1: internal error at bug.example" in heard.text


async def test_leases_that_cannot_be_given_back_run_out(store: HandStore, dialer: MemoryDialer, heard: Ear) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    store.fail = {"release": 1}
    store.put(make_task())
    async with working(store, dialer, grace=0.01):
        await until(lambda: gate.waiting)
    assert "cannot be returned and will expire" in heard.text


async def test_a_place_that_keeps_failing_rests_and_what_is_due_there_is_put_off_untried(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch, heard: Ear
) -> None:
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.001)
    monkeypatch.setattr(worker, "SWEPT_SECONDS", 0.001)
    dialer.handlers["192.0.2.2"] = Server()
    discoverer = PerDomain(dead="192.0.2.1", quick="192.0.2.2")
    store.put(*(task_for("dead.example", number) for number in range(40)))
    async with working(store, dialer, discoverer, max_concurrent_per_destination=1) as deliverer:
        for failures in range(PATIENCE, PATIENCE + 4):  # rests of 1, 2, 4 and 8 seconds
            await until(lambda: len(store.settled) >= failures)  # noqa: B023 - waited for within the turn
            if failures < PATIENCE + 3:
                store.clock.time += MAX_SECONDS
                deliverer.wake()
        await until(lambda: len(store.settled) == 40)
        store.put(task_for("quick.example", 1))
        store.clock.time += 1
        deliverer.wake()
        await until(lambda: len(store.settled) == 41)
    assert dialer.dialled == ["192.0.2.1"] * (PATIENCE + 3) + ["192.0.2.2"]
    settlement, made = store.settled[20]
    assert made.outcomes[0].text.startswith("not tried: 0 seconds ago mail to the same place failed: mx.dead.example[")
    assert made.outcomes[0].status == "4.4.1"
    assert settlement.next_attempt_at is not None
    assert settlement.next_attempt_at >= store.clock.now() + 299
    assert any("status=deferred (not tried: " in line for line in heard.messages)


async def test_what_is_put_off_past_its_expiry_is_given_up(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.001)
    monkeypatch.setattr(worker, "SWEPT_SECONDS", 0.001)
    monkeypatch.setattr(backoff, "FIRST_SECONDS", DOWN_SECONDS)
    tasks = [task_for("example.org", number) for number in range(PATIENCE)]
    late = task_for("example.org", PATIENCE)
    clock = store.clock
    store.put(*tasks, replace(late, attempts=9, age=Age(1e9, Reading(clock.now(), clock.monotonic()))))
    async with working(store, dialer, max_concurrent_per_destination=1):
        await until(lambda: len(store.settled) == PATIENCE + 1)
    ((outcome,),) = [settlement.failed for settlement, _ in store.settled if settlement.failed]
    assert "gave up after" in outcome.text


async def test_fresh_mail_for_a_place_that_is_down_waits_in_the_queue(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", DOWN_SECONDS)
    store.put(*(make_task(message_id=f"m{number}") for number in range(PATIENCE)))
    async with working(store, dialer, max_concurrent_per_destination=1) as deliverer:
        await until(lambda: len(store.settled) == PATIENCE)
        assert deliverer.prepare(make_task().envelope) == ()
        store.clock.time += DOWN_SECONDS
        assert len(deliverer.prepare(make_task().envelope)) == 1, "the next one finds out whether it is up again"


async def test_a_place_that_says_it_is_too_much_is_left_alone_for_a_moment(
    store: HandStore, dialer: MemoryDialer
) -> None:
    busy = Server(greeting=b"421 4.7.0 too many connections\r\n")
    dialer.handlers[ADDRESS] = busy
    store.put(*(make_task(message_id=f"m{number}") for number in range(3)))
    async with working(store, dialer, max_concurrent_per_destination=1) as deliverer:
        await until(lambda: store.settled)
        await asyncio.sleep(0.01)
        assert len(dialer.dialled) == 1
        busy.greeting = b"220 mx ESMTP\r\n"
        store.clock.time += FIRST_SECONDS
        deliverer.wake()
        await until(lambda: len(store.settled) == 3)
    assert len(busy.messages) == 2


async def test_the_schedule_and_the_lifetime_are_those_of_the_route(store: HandStore, dialer: MemoryDialer) -> None:
    short = RouteSettings(schedule=RetrySchedule(first_seconds=10, maximum_seconds=10, lifetime_seconds=60))
    route_settings = SettingsByRoute(routes=DomainTable({"example.org": short}))
    store.put(make_task())
    async with working(store, dialer, route_settings=route_settings) as deliverer:
        await until(lambda: store.settled)
        store.clock.time += 100
        (first, _), *_ = store.settled
        store.put(replace(make_task(message_id="again"), attempts=1, age=first.age))
        deliverer.wake()
        await until(lambda: len(store.settled) == 2)
    _, (second, _) = store.settled
    assert first.next_attempt_at == pytest.approx(1_800_000_010, abs=1)
    assert second.failed[0].text.startswith("gave up after 2 minutes; the last reason: ")


async def test_each_route_is_dialled_from_its_own_addresses(store: HandStore, dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    source = SourceAddresses(ipv4="198.51.100.1")
    route_settings = SettingsByRoute(routes=DomainTable({"example.org": RouteSettings(source=source)}))
    asked: list[SourceAddresses] = []
    store.put(make_task())
    async with working(store, dialer, route_settings=route_settings, asked=asked):
        await until(lambda: store.settled)
    assert asked == [source]


@pytest.mark.parametrize("next_hop", ["example.org", None])
async def test_at_the_operators_word_a_place_that_is_down_is_tried_at_once(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch, next_hop: str | None
) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", DOWN_SECONDS)
    store.put(*(make_task(message_id=f"m{number}") for number in range(PATIENCE)))
    async with working(store, dialer, max_concurrent_per_destination=2) as deliverer:
        await until(lambda: len(store.settled) == PATIENCE)
        assert deliverer.prepare(make_task().envelope) == ()
        server = dialer.handlers[ADDRESS] = Server()
        store.put(make_task(message_id="again"))
        deliverer.forgive(next_hop)
        await until(lambda: server.messages)


async def test_a_clock_that_is_set_back_stops_no_retries(store: HandStore, dialer: MemoryDialer) -> None:
    class SetBack(HandClock):
        back = 0.0

        def now(self) -> float:
            return super().now() - self.back

    store.clock = clock = SetBack()
    store.due.append((clock.now() + 300, task_for("example.org", 1)))
    async with working(store, dialer) as deliverer:
        clock.back = 365 * 86400.0
        deliverer.wake()
        await until(lambda: store.due[0][0] < clock.now() + 301)
        clock.time += 300
        deliverer.wake()
        await until(lambda: len(store.settled) == 1)
    assert not store.settled[0][0].failed
