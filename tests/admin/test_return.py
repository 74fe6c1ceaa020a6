"""From an operator's order to the notification that the sender reads."""

import email
import email.policy
from email.message import EmailMessage
from typing import cast

from letterlock.queue.orders import OrderKind
from letterlock.report.worker import Reporter
from letterlock.routing.rules import Rules
from tests.bodies import octets_of
from tests.deliver.world import HandClock
from tests.memory_store import MemoryStore
from tests.queue.messages import ANN, BODY, CAT, SENDER, envelope
from tests.queue.orders import obey


def reporter(store: MemoryStore) -> Reporter:
    return Reporter(
        store,
        clock=HandClock(),
        hostname="us.test",
        new_id=lambda: "D1",
        lifetime_seconds=1000,
        delay_notice_seconds=0,
        wake_deliverer=lambda: None,
        rules=Rules({}),
    )


async def test_rfc3464_a_message_that_the_operator_removed_comes_back() -> None:
    store = MemoryStore()
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    await obey(store, OrderKind.HOLD, "M1")
    await obey(store, OrderKind.RETURN, "M1", reason="it was sent twice")
    assert await reporter(store).report_due()
    assert await store.message("M1") is None
    [task] = await store.lease(2e9, limit=10, lease_seconds=60)
    assert (task.envelope.reverse_path, task.recipients) == (None, (SENDER,))
    sent = email.message_from_bytes(octets_of(await store.body("D1")), policy=email.policy.default)
    text, status, *_ = sent.iter_parts()
    assert "removed by the operator: it was sent twice" in " ".join(cast("EmailMessage", text).get_content().split())
    _, *recipients = cast("EmailMessage", status).iter_parts()
    assert [(each["Final-Recipient"], each["Action"], each["Status"]) for each in recipients] == [
        ("rfc822; ann@one.test", "failed", "5.0.0"),
        ("rfc822; cat@two.test", "failed", "5.0.0"),
    ]


async def test_rfc5321_4_5_5_nobody_is_told_that_a_notification_was_removed() -> None:
    store = MemoryStore()
    await store.accept(envelope("M1", ANN, sender=None), BODY, next_attempt_at=0)
    await obey(store, OrderKind.RETURN, "M1")
    assert await reporter(store).report_due()
    assert await store.messages(limit=10) == []
