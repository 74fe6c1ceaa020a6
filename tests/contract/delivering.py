"""Delivery as the stores see it: a lease, and its settling."""

from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import Store
from letterlock.queue.tasks import DeliveryTask, RecipientOutcome
from tests.queue.messages import attempt

SCHEDULE = RetrySchedule(first_seconds=300)


async def lease_one(store: Store, now: float = 0.0) -> DeliveryTask:
    """The one task that is due."""
    [leased] = await store.lease(now, limit=10, lease_seconds=60)
    return leased


async def settled(store: Store, leased: DeliveryTask, *outcomes: RecipientOutcome, now: float = 10.0) -> None:
    """Make an attempt with these outcomes."""
    made = attempt(leased, *outcomes, at=now)
    await store.settle(leased.lease, settle(leased, made, now=now, schedule=SCHEDULE), made, now=now)
