"""What was just accepted goes to its delivery without another look into the queue; what does not fit waits there."""

import asyncio

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.queue.tasks import DeliveryTask, Lease
from letterlock.schedule.deliverer import Deliverer
from tests.deliver.conftest import Ear
from tests.deliver.world import ADDRESS, ANN, BODY, HandClock, MemoryDialer, Server, make_task
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import Gate, PerDomain, until, working

CAT = Mailbox("cat", "other.example")


@pytest.fixture
def store() -> HandStore:
    return HandStore(HandClock())


def envelope(*recipients: Mailbox, message_id: str = "M1") -> Envelope:
    return make_task(*recipients, message_id=message_id).envelope


def hand_over(deliverer: Deliverer, store: HandStore, accepted: Envelope, body: bytes = BODY) -> tuple[Lease, ...]:
    """As the listener does it, with a store that takes it."""
    leases = deliverer.prepare(accepted)
    for lease in leases:
        recipients = tuple(each for each in accepted.recipients if each.domain == lease.next_hop)
        store.leased[lease.token] = DeliveryTask(lease=lease, envelope=accepted, recipients=recipients, attempts=0)
    deliverer.take(accepted, body, leases)
    return leases


async def test_it_is_delivered_though_the_queue_is_never_asked(store: HandStore, dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    store.removed.add("M1")  # so that asking for the content fails
    async with working(store, dialer) as deliverer:
        assert [lease.next_hop for lease in hand_over(deliverer, store, envelope(ANN))] == ["example.org"]
        await until(lambda: store.settled)
    assert server.messages == [BODY]
    assert not store.leased


async def test_each_next_hop_has_a_lease_and_a_task_of_its_own(store: HandStore, dialer: MemoryDialer) -> None:
    dialer.handlers = {"192.0.2.1": Server(), "192.0.2.2": Server()}
    discoverer = PerDomain(slow="192.0.2.1", quick="192.0.2.2")
    mixed = envelope(Mailbox("a", "slow.example"), Mailbox("b", "quick.example"), Mailbox("c", "slow.example"))
    async with working(store, dialer, discoverer) as deliverer:
        leases = hand_over(deliverer, store, mixed)
        assert [lease.next_hop for lease in leases] == ["slow.example", "quick.example"]
        assert len({lease.token for lease in leases}) == 2
        await until(lambda: len(store.settled) == 2)
    assert sorted(len(settlement.delivered) for settlement, _ in store.settled) == [1, 2]


async def test_a_next_hop_without_room_gets_no_lease_and_waits_in_the_queue(
    store: HandStore, dialer: MemoryDialer
) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    async with working(store, dialer, max_concurrent=2, max_concurrent_per_destination=1, max_waiting=4) as deliverer:
        leased = [bool(hand_over(deliverer, store, envelope(message_id=f"M{number}"))) for number in range(6)]
        assert leased == [True, True, True, False, False, False], "one tried, and half of four waiting"
        gate.opened.set()
        await until(lambda: len(store.settled) == 3)


async def test_the_content_in_memory_is_bounded(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    async with working(store, dialer, max_content_octets=5 * len(BODY), max_concurrent_per_destination=1) as deliverer:
        assert hand_over(deliverer, store, envelope(message_id="M1"))
        await until(lambda: gate.waiting)
        assert hand_over(deliverer, store, envelope(message_id="M2"))
        assert hand_over(deliverer, store, envelope(message_id="M3"))
        assert not deliverer.prepare(envelope(message_id="M4"))
        gate.opened.set()
        await until(lambda: len(store.settled) == 3)
        assert deliverer.prepare(envelope(message_id="M4")), "what was delivered makes room"


async def test_a_lease_that_ran_out_while_it_waited_is_not_used(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    async with working(store, dialer, max_concurrent_per_destination=1) as deliverer:
        hand_over(deliverer, store, envelope(message_id="M1"))
        await until(lambda: gate.waiting)
        hand_over(deliverer, store, envelope(message_id="M2"))
        store.clock.time += 1_000
        gate.opened.set()
        await until(lambda: store.settled)
        await asyncio.sleep(0)
    assert [made.message_id for _, made in store.settled] == ["M1"]


async def test_stop_gives_back_what_waits(store: HandStore, dialer: MemoryDialer) -> None:
    gate = dialer.handlers[ADDRESS] = Gate()
    async with working(store, dialer, max_concurrent_per_destination=1) as deliverer:
        for number in range(3):
            hand_over(deliverer, store, envelope(message_id=f"M{number}"))
        await until(lambda: gate.waiting)
        gate.opened.set()
    assert {message_id for message_id, _ in store.released} == {"M1", "M2"}
    assert [made.message_id for _, made in store.settled] == ["M0"]
    assert not deliverer.prepare(envelope()), "and nothing new is begun"


async def test_a_lease_that_is_lost_on_the_way_ends_the_attempt(
    store: HandStore, dialer: MemoryDialer, heard: Ear
) -> None:
    """Removed by the operator, say: the next renewal finds out, and nothing is settled."""
    gate = dialer.handlers[ADDRESS] = Gate()
    async with working(store, dialer, lease_seconds=0.03) as deliverer:
        hand_over(deliverer, store, envelope())
        await until(lambda: gate.waiting)
        store.lose.add("M1")
        await until(lambda: any("the lease was lost" in line for line in heard.messages))
    assert not store.settled
    assert not store.released
