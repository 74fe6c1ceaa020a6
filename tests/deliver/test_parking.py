"""Tasks whose host is busy: they wait without a slot, in order, and not for ever."""

import asyncio
from dataclasses import replace

import pytest

from letterlock.schedule.parking import Parking
from letterlock.schedule.slots import Slots
from tests.deliver.world import OPTIONS, HandClock, HandDiscoverer, MemoryDialer, MemoryStream, Server, mute
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import Gate, PerDomain, task_for, until, working

SILENT, GOOD = "192.0.2.66", "192.0.2.1"


@pytest.fixture
def store() -> HandStore:
    return HandStore(HandClock())


def test_first_come_first_called_and_called_in_vain_stays_first() -> None:
    parking = Parking(10, 100.0)
    one, two = task_for("a.example", 1), task_for("b.example", 2)
    assert parking.park(one, "mx", "mx", 0.0)
    assert parking.park(two, "mx", "mx", 1.0)
    assert parking.call("mx") is one
    assert parking.park(one, "mx", "mx", 50.0)
    assert parking.call("mx") is one
    assert parking.call("mx") is two
    assert parking.call("mx") is None


def test_waiting_is_counted_from_the_first_time() -> None:
    parking = Parking(10, 100.0)
    one = task_for("a.example", 1)
    parking.park(one, "mx", "mx", 0.0)
    parking.call("mx")
    parking.park(one, "mx", "mx", 99.0)
    assert not parking.overdue(99.0, 10)
    assert [parked.task for parked in parking.overdue(100.0, 10)] == [one]
    assert one.lease.token not in parking


def test_there_is_room_for_so_many() -> None:
    parking = Parking(1, 100.0)
    assert parking.park(task_for("a.example", 1), "mx", "mx", 0.0)
    assert not parking.park(task_for("b.example", 2), "mx", "mx", 0.0)


def test_a_parked_task_keeps_the_seat_of_its_next_hop_only() -> None:
    slots = Slots(total=1, each=1, max_waiting=10)
    for number in range(2):
        slots.wait(task_for("a.example", number))
    slots.wait(task_for("b.example", 0))
    assert slots.take()
    assert slots.free == 0
    slots.park("a.example")
    assert slots.free == 1
    taken = slots.take()
    assert taken is not None
    assert taken.lease.next_hop == "b.example"
    slots.leave("b.example", well=True)
    assert slots.take() is None
    slots.unpark("a.example")
    assert slots.take() is not None


@pytest.mark.parametrize("same_name", [True, False])
async def test_240_domains_at_one_silent_host_keep_no_other_waiting(
    store: HandStore, dialer: MemoryDialer, same_name: bool
) -> None:
    """Whether all of them name one MX host, or each its own at the same address."""
    silent, good = Gate(), Server()
    dialer.handlers = {SILENT: silent, GOOD: good}
    addresses = {f"d{number}": SILENT for number in range(240)} | {f"n{number}": GOOD for number in range(20)}
    discoverer = PerDomain(**addresses, silent=SILENT)
    if same_name:
        discoverer.name_of = lambda domain: "mx.silent.example" if domain.startswith("d") else f"mx.{domain}"
    store.put(*(task_for(f"d{number}.example", number) for number in range(240)))
    async with working(store, dialer, discoverer, grace=0.1) as deliverer:
        await until(lambda: not store.due and silent.waiting)
        for _ in range(100):
            await asyncio.sleep(0)
        store.put(*(task_for(f"n{number}.example", number) for number in range(20)))
        deliverer.wake()
        await until(lambda: len(store.settled) == 20)
        assert all(made.next_hop.startswith("n") for _, made in store.settled)
        assert silent.most <= OPTIONS.max_handshakes_per_host


async def test_when_the_host_answers_all_of_them_arrive(store: HandStore, dialer: MemoryDialer) -> None:
    gate = Gate()
    dialer.handlers = {SILENT: gate}
    store.put(*(task_for(f"d{number}.example", number) for number in range(60)))
    discoverer = PerDomain(**{f"d{number}": SILENT for number in range(60)})
    async with working(store, dialer, discoverer):
        await until(lambda: not store.due and gate.waiting == OPTIONS.max_handshakes_per_host)
        gate.opened.set()
        await until(lambda: len(store.settled) == 60)
    assert all(settlement.delivered for settlement, _ in store.settled)


async def test_waiting_for_a_busy_host_ends_in_a_deferral(
    store: HandStore, dialer: MemoryDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it counts as an attempt, ages, and expires."""
    monkeypatch.setattr("letterlock.schedule.deliverer.SWEPT_SECONDS", 0.01)
    gate = Gate()
    dialer.handlers = {SILENT: gate}
    store.put(*(task_for(f"d{number}.example", number) for number in range(12)))
    discoverer = PerDomain(**{f"d{number}": SILENT for number in range(12)})
    async with working(store, dialer, discoverer, grace=0.1):
        await until(lambda: not store.due and gate.waiting == OPTIONS.max_handshakes_per_host)
        store.clock.time += OPTIONS.lease_seconds / 3 + 1
        await until(lambda: len(store.settled) == 4)
    assert all(settlement.deferred for settlement, _ in store.settled)
    for _, made in store.settled:
        assert made.outcomes[0].status == "4.4.5"
        assert "max_handshakes_per_host" in made.outcomes[0].text


async def test_what_is_parked_is_given_back_at_the_end(store: HandStore, dialer: MemoryDialer) -> None:
    gate = Gate()
    dialer.handlers = {SILENT: gate}
    store.put(*(task_for(f"d{number}.example", number) for number in range(12)))
    discoverer = PerDomain(**{f"d{number}": SILENT for number in range(12)})
    async with working(store, dialer, discoverer, grace=0.01):
        await until(lambda: not store.due and gate.waiting == OPTIONS.max_handshakes_per_host)
    assert len(store.released) == 12


async def test_no_more_handshakes_with_one_host_than_allowed_and_free_sessions_serve_the_others(
    store: HandStore, dialer: MemoryDialer
) -> None:
    at_once, most, go, server = 0, 0, asyncio.Event(), Server()

    async def slow(stream: MemoryStream) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await go.wait()
        at_once -= 1
        await server(stream)

    dialer.handlers = {SILENT: slow}
    store.put(*(task_for(f"d{number}.example", 1) for number in range(8)))
    everywhere = HandDiscoverer(hosts={"mx.example.org": (SILENT,)})
    async with working(store, dialer, everywhere, max_handshakes_per_host=2):
        await until(lambda: at_once == 2)
        go.set()
        await until(lambda: len(store.settled) == 8)
    assert all(settlement.delivered for settlement, _ in store.settled)
    assert most == 2
    assert len(dialer.dialled) < 8, "sessions that became free served those who waited"


async def test_a_mute_server_holds_its_turns_no_longer_than_its_time_out(
    store: HandStore, dialer: MemoryDialer
) -> None:
    dialer.handlers = {SILENT: mute}
    timeouts = replace(OPTIONS.timeouts, greeting=0.02, goodbye=0.02)
    store.put(*(task_for(f"d{number}.example", number) for number in range(3)))
    discoverer = PerDomain(**{f"d{number}": SILENT for number in range(3)})
    async with working(store, dialer, discoverer, max_handshakes_per_host=1, timeouts=timeouts):
        await until(lambda: len(store.settled) == 3)
    assert all(settlement.deferred for settlement, _ in store.settled)
    assert len(dialer.dialled) == 3
