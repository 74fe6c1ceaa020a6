"""What every WorkStore must do: leases, the results of attempts, and when tasks are due."""

import pytest

from letterlock.queue.age import NEW, Age, Reading
from letterlock.queue.settle import settle
from letterlock.queue.store import LeaseLost, Store
from letterlock.queue.tasks import DeliveryTask, Lease, OutcomeKind
from tests.contract.delivering import SCHEDULE, lease_one, settled
from tests.queue.messages import ANN, BEN, BODY, CAT, attempt, envelope, outcome

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED


async def test_a_lease_from_the_start_runs_out_like_any_other(store: Store) -> None:
    held = Lease("mine", "M1", "one.test", 60.0)
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0, leases=(held,))
    assert await store.lease(59, limit=10, lease_seconds=60) == []
    assert await store.next_due() == 60
    again = await lease_one(store, now=60)
    task = DeliveryTask(lease=held, envelope=envelope("M1", ANN), recipients=(ANN,), attempts=0)
    with pytest.raises(LeaseLost):
        await settled(store, task, outcome(ANN, DELIVERED), now=61)
    await settled(store, again, outcome(ANN, DELIVERED), now=61)


async def test_nothing_is_leased_before_it_is_due(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=50)
    assert await store.lease(49, limit=10, lease_seconds=60) == []
    assert await store.next_due() == 50
    assert len(await store.lease(50, limit=10, lease_seconds=60)) == 1


async def test_the_longest_due_come_first_and_no_more_than_asked_for(store: Store) -> None:
    for message_id, due in (("M1", 3), ("M2", 1), ("M3", 2)):
        await store.accept(envelope(message_id), BODY, next_attempt_at=due)
    tasks = await store.lease(10, limit=2, lease_seconds=60)
    assert [leased.lease.message_id for leased in tasks] == ["M2", "M3"]


async def test_only_some_next_hops_or_all_but_some(store: Store) -> None:
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=1)
    await store.accept(envelope("M2", CAT), BODY, next_attempt_at=2)
    await store.accept(envelope("M3", ANN), BODY, next_attempt_at=3)
    (other,) = await store.lease(10, limit=10, lease_seconds=60, avoid=[ANN.domain])
    assert other.lease.message_id == "M2"
    assert not await store.lease(10, limit=10, lease_seconds=60, only=[CAT.domain])
    assert not await store.lease(10, limit=10, lease_seconds=60, avoid=[ANN.domain], only=[ANN.domain, "none.test"])
    assert not await store.lease(10, limit=10, lease_seconds=60, since=3.5)
    (newest,) = await store.lease(10, limit=10, lease_seconds=60, since=3)
    assert newest.lease.message_id == "M3"
    (oldest,) = await store.lease(10, limit=1, lease_seconds=60, only=[ANN.domain])
    assert oldest.lease.message_id == "M1"


async def test_what_is_leased_is_nobody_elses_until_the_lease_runs_out(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    first = await lease_one(store, 0)
    assert await store.lease(59, limit=10, lease_seconds=60) == []
    assert await store.next_due() == 60
    second = await lease_one(store, 60)
    with pytest.raises(LeaseLost):
        await settled(store, first, outcome(ANN, DELIVERED), now=61)
    await settled(store, second, outcome(ANN, DELIVERED), now=61)


async def test_a_lease_that_ran_out_is_refused_even_if_nobody_took_it(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    leased = await lease_one(store, 0)
    with pytest.raises(LeaseLost):
        await settled(store, leased, outcome(ANN, DELIVERED), now=60)


async def test_a_renewed_lease_lasts_longer(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    leased = await lease_one(store, 0)
    renewed = await store.renew(leased.lease, 500)
    assert renewed.expires_at == 500
    assert await store.lease(499, limit=10, lease_seconds=60) == []
    await settled(store, leased, outcome(ANN, DELIVERED), now=499)


async def test_a_delivered_message_is_gone(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED))
    assert await store.message("M1") is None
    assert await store.messages(limit=10) == []
    assert await store.next_due() is None
    with pytest.raises(KeyError):
        await store.body("M1")


async def test_a_deferred_recipient_is_tried_again_and_a_delivered_one_is_not(store: Store) -> None:
    await store.accept(envelope("M1", ANN, BEN), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED), outcome(BEN, DEFERRED))
    again = await lease_one(store, 310)
    assert again.recipients == (BEN,)
    assert again.attempts == 1


async def test_a_released_lease_is_due_when_it_says_and_was_not_an_attempt(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    leased = await lease_one(store)
    await store.release(leased.lease, next_attempt_at=5)
    again = await lease_one(store, 5)
    assert again.attempts == 0
    await store.release(leased.lease, next_attempt_at=0)
    assert await store.lease(6, limit=1, lease_seconds=60) == []


async def test_the_age_of_a_task_is_kept_from_attempt_to_attempt(store: Store) -> None:
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    leased = await lease_one(store)
    assert leased.age == NEW
    for now, age in ((10.0, 0.0), (500.0, 490.0)):
        made = attempt(leased, outcome(ANN, DEFERRED), at=now)
        reading = Reading(now, now + 7, "boot")
        await store.settle(
            leased.lease, settle(leased, made, now=now, schedule=SCHEDULE, reading=reading), made, now=now
        )
        leased = await lease_one(store, now=now + 700)
        assert leased.age == Age(age, reading)
    assert leased.attempts == 2


async def test_a_clock_that_is_set_back_delays_nothing_that_waits(store: Store) -> None:
    year = 365 * 86400.0
    for message_id in ("M1", "M2", "M3"):
        await store.accept(envelope(message_id, ANN), BODY, next_attempt_at=year)
    first, second, _ = await store.lease(year, limit=10, lease_seconds=600)
    await settled(store, first, outcome(ANN, DEFERRED), now=year + 10)
    await store.clock_set_back(20.0, year, lease_seconds=600)
    assert await store.lease(310 - 1, limit=10, lease_seconds=60) == []
    [due] = await store.lease(310, limit=10, lease_seconds=6000)
    assert due.envelope.id == first.envelope.id
    await settled(store, second, outcome(ANN, DELIVERED), now=619)
    [abandoned] = await store.lease(620, limit=10, lease_seconds=60)
    assert abandoned.envelope.id == "M3", "and a lease lasts no longer than a lease"
