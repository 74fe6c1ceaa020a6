"""Delivery as the stores see it: a lease, and its settling."""

from dataclasses import replace

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import WorkStore
from letterlock.queue.tasks import DeliveryTask, RecipientOutcome
from tests.queue.messages import attempt, envelope

SCHEDULE = RetrySchedule(first_seconds=300)


async def lease_one(store: WorkStore, now: float = 0.0) -> DeliveryTask:
    """The one task that is due."""
    [leased] = await store.lease(now, limit=10, lease_seconds=60)
    return leased


async def settled(store: WorkStore, leased: DeliveryTask, *outcomes: RecipientOutcome, now: float = 10.0) -> None:
    """Make an attempt with these outcomes."""
    made = attempt(leased, *outcomes, at=now)
    await store.settle(leased.lease, settle(leased, made, now=now, schedule=SCHEDULE), made, now=now)


def wishing(*wanted: tuple[Mailbox, set[Event]]) -> Envelope:
    """A message whose sender asked for these notifications (RFC 3461 NOTIFY)."""
    wishes = {mailbox: RecipientWishes(frozenset(events), "rfc822;x+2By@z") for mailbox, events in wanted}
    return replace(envelope("M1", *wishes), wishes=Wishes(Ret.FULL, "QQ+20", wishes))
