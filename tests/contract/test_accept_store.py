"""What every AcceptStore must do: an accepted message is all there, and due."""

from dataclasses import replace

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import LargeContent
from letterlock.mail.envelope import TlsDemand
from letterlock.mail.wishes import Event
from letterlock.queue.orders import Order, OrderKind
from letterlock.queue.store import LeaseLost, Store
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from tests.bodies import octets_of
from tests.contract.delivering import lease_one, settled, wishing
from tests.queue.messages import ANN, BEN, BODY, CAT, envelope, outcome

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED


async def test_what_was_accepted_is_leased_with_its_envelope_and_body(store: Store) -> None:
    await store.accept(envelope("M1", ANN, BEN), BODY, next_attempt_at=0)
    leased = await lease_one(store)
    assert leased.envelope == envelope("M1", ANN, BEN)
    assert leased.recipients == (ANN, BEN)
    assert leased.attempts == 0
    assert await store.body("M1") == BODY


async def test_an_envelope_beyond_ascii_comes_back_as_it_was(store: Store) -> None:
    joerg = Mailbox("jörg", "one.test")
    sent = replace(envelope("M1", joerg, sender=Mailbox("ömi", "two.test")), smtputf8=True)
    await store.accept(sent, BODY, next_attempt_at=0, leases=(Lease("mine", "M1", "one.test", 5.0),))
    [leased] = await store.lease(5, limit=10, lease_seconds=60)
    assert leased.envelope == sent
    assert leased.recipients == (joerg,)


async def test_there_is_one_task_for_each_next_hop(store: Store) -> None:
    await store.accept(envelope("M1", ANN, CAT, BEN), BODY, next_attempt_at=0)
    tasks = await store.lease(0, limit=10, lease_seconds=60)
    assert {leased.lease.next_hop: leased.recipients for leased in tasks} == {
        "one.test": (ANN, BEN),
        "two.test": (CAT,),
    }


async def test_the_tasks_of_a_message_share_one_envelope_in_memory(store: Store) -> None:
    many = [Mailbox("ann", f"d{number}.test") for number in range(30)]
    await store.accept(envelope("M1", *many), BODY, next_attempt_at=0)
    tasks = await store.lease(0, limit=100, lease_seconds=60)
    assert len(tasks) == 30
    assert len({id(task.envelope) for task in tasks}) == 1


async def test_a_message_can_be_accepted_with_leases_that_somebody_holds_already(store: Store) -> None:
    held = Lease("mine", "M1", "one.test", 60.0)
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0, leases=(held,))
    other = await lease_one(store)
    assert other.lease.next_hop == "two.test", "what is leased is not due"
    task = DeliveryTask(lease=held, envelope=envelope("M1", ANN, CAT), recipients=(ANN,), attempts=0)
    await settled(store, task, outcome(ANN, DELIVERED))
    with pytest.raises(LeaseLost):
        await settled(store, task, outcome(ANN, DELIVERED))
    await settled(store, other, outcome(CAT, DELIVERED))
    assert await store.message("M1") is None


async def test_the_null_reverse_path_is_kept(store: Store) -> None:
    await store.accept(envelope("D1", sender=None), BODY, next_attempt_at=0)
    assert (await lease_one(store)).envelope.reverse_path is None


@pytest.mark.parametrize("demand", list(TlsDemand))
async def test_rfc8689_4_1_what_the_sender_demands_of_tls_is_remembered(store: Store, demand: TlsDemand) -> None:
    await store.accept(replace(envelope(), tls_demand=demand), BODY, next_attempt_at=0)
    assert (await lease_one(store)).envelope.tls_demand is demand


async def test_rfc3461_4_wishes_are_remembered(store: Store) -> None:
    kept = wishing((ANN, set()), (BEN, set(Event)))
    await store.accept(kept, BODY, next_attempt_at=0)
    assert (await lease_one(store)).envelope == kept


async def test_what_is_quarantined_is_not_leased_until_it_is_released(store: Store) -> None:
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0, quarantined="DMARC: not authenticated")
    assert not await store.lease(1e9, limit=10, lease_seconds=60)
    message = await store.message("M1")
    assert message is not None
    assert [each.state for each in message.recipients] == ["quarantined", "quarantined"]
    assert {each.held_because for each in message.recipients} == {"DMARC: not authenticated"}
    assert await store.body("M1") == BODY
    await store.obey(Order(kind=OrderKind.RELEASE, at=5.0), ["M1"])
    assert len(await store.lease(6.0, limit=10, lease_seconds=60)) == 2


async def test_a_large_message_is_taken_with_what_was_spooled_of_it(store: Store) -> None:
    spool = store.spool()
    await spool.write([b"one\r\n", b".two\r\n"])
    tail = await spool.finish([b"three\r\n"])
    assert tail.octets == 18
    body = LargeContent(pieces=(b"Subject: x\r\n\r\n",), octets=32, ascii_only=True, dotless=False, tail=tail)
    await store.accept(envelope("M1", ANN, CAT), body, next_attempt_at=0)
    await store.accept(envelope("M2", ANN), body, next_attempt_at=0, leases=(Lease("mine", "M2", "one.test", 60.0),))
    for name in ("M1", "M2"):
        found = await store.body(name)
        assert isinstance(found, LargeContent)
        assert (found.head, len(found), found.dotless, found.isascii()) == (b"Subject: x\r\n\r\n", 32, False, True)
        assert octets_of(found) == b"Subject: x\r\n\r\none\r\n.two\r\nthree\r\n"


async def test_pieces_in_memory_are_one_content(store: Store) -> None:
    body = LargeContent(pieces=(b"Subject: x\r\n\r\n", b"one\r\n"), octets=19, ascii_only=True, dotless=True)
    await store.accept(envelope("M1", ANN, CAT), body, next_attempt_at=0)
    await store.accept(envelope("M2", ANN), body, next_attempt_at=0, leases=(Lease("mine", "M2", "one.test", 60.0),))
    for name in ("M1", "M2"):
        assert octets_of(await store.body(name)) == b"Subject: x\r\n\r\none\r\n"


async def test_what_is_spooled_and_discarded_is_no_message(store: Store) -> None:
    spool = store.spool()
    await spool.write([b"one\r\n"])
    spool.discard()
    assert await store.count() == 0


async def test_a_message_that_is_quarantined_is_not_leased_until_it_is_released(store: Store) -> None:
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    await lease_one(store)
    await store.quarantine("M1", "its content ends early")
    assert not await store.lease(10_000, limit=10, lease_seconds=60)
    found = await store.message("M1")
    assert found is not None
    assert [each.held_because for each in found.recipients] == ["its content ends early"]
