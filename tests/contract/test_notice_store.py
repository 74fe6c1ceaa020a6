"""What every NoticeStore must do: each sender is notified once of what was asked for (RFC 3461)."""

from dataclasses import replace

from letterlock.mail.wishes import Event
from letterlock.policy.codes import Code
from letterlock.policy.reasons import Reason
from letterlock.queue.settle import settle
from letterlock.queue.store import Store
from letterlock.queue.tasks import NoticeKind, OutcomeKind
from tests.contract.delivering import SCHEDULE, lease_one, settled, wishing
from tests.queue.messages import ANN, BEN, BODY, CAT, SENDER, attempt, envelope, outcome

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED


async def test_a_failed_recipient_stays_until_its_sender_was_told(store: Store) -> None:
    await store.accept(envelope("M1", ANN, BEN), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED), outcome(BEN, FAILED, "no such user"))
    [notice] = await store.due_notices(limit=10)
    assert notice.envelope.reverse_path == SENDER
    assert [(each.recipient, each.text) for each in notice.outcomes] == [(BEN, "no such user")]
    assert [each.host for each in notice.last_attempts] == ["mx.one.test"]
    assert await store.body("M1") == BODY
    await store.notified(notice, (envelope("D1", SENDER, sender=None), b"a notification"), now=11)
    assert await store.due_notices(limit=10) == []
    assert await store.message("M1") is None
    assert (await lease_one(store, 11)).lease.message_id == "D1"


async def test_a_failure_while_others_wait_is_told_at_once_and_once(store: Store) -> None:
    await store.accept(envelope("M1", ANN, BEN), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, FAILED), outcome(BEN, DEFERRED))
    [notice] = await store.due_notices(limit=10)
    await store.notified(notice, None, now=11)
    assert await store.due_notices(limit=10) == []
    assert (await lease_one(store, 400)).recipients == (BEN,)


async def test_of_a_recipient_who_waits_the_sender_is_told_once(store: Store) -> None:
    await store.accept(envelope("M1", ANN, BEN, CAT), BODY, next_attempt_at=0)
    tasks = {each.lease.next_hop: each for each in await store.lease(0, limit=10, lease_seconds=60)}
    assert await store.due_delays(100, limit=10) == [], "nothing was tried yet"
    await settled(store, tasks["one.test"], outcome(ANN, DELIVERED), outcome(BEN, DEFERRED, "greylisted"))
    assert await store.due_delays(-1, limit=10) == [], "the message is too young"
    [notice] = await store.due_delays(0, limit=10)
    assert notice.kind is NoticeKind.DELAYED
    assert [(each.recipient, each.kind, each.text) for each in notice.outcomes] == [(BEN, DEFERRED, "greylisted")]
    assert [each.host for each in notice.last_attempts] == ["mx.one.test"]
    await store.notified(notice, (envelope("D1", SENDER, sender=None), b"a notification"), now=11)
    assert await store.due_delays(100, limit=10) == []
    again = next(each for each in await store.lease(400, limit=10, lease_seconds=60) if each.recipients == (BEN,))
    await settled(store, again, outcome(BEN, DEFERRED, "still greylisted"), now=410)
    assert await store.due_delays(1000, limit=10) == [], "once is enough"
    assert await store.message("M1") is not None


async def test_nobody_is_told_that_a_notification_waits(store: Store) -> None:
    await store.accept(envelope("M1", sender=None), BODY, next_attempt_at=0)
    await store.accept(envelope("M2"), BODY, next_attempt_at=0)
    for leased in await store.lease(0, limit=10, lease_seconds=60):
        await settled(store, leased, outcome(ANN, DEFERRED))
    assert [notice.envelope.id for notice in await store.due_delays(100, limit=10)] == ["M2"]
    assert [notice.envelope.id for notice in await store.due_delays(100, limit=1)] == ["M2"]


async def test_rfc3461_4_1_nobody_hears_of_a_failure_who_does_not_want_to(store: Store) -> None:
    await store.accept(wishing((ANN, set()), (BEN, {Event.DELAY})), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, FAILED), outcome(BEN, FAILED))
    assert await store.due_notices(limit=10) == []
    assert await store.message("M1") is None


async def test_rfc3461_4_1_nobody_hears_of_a_delay_who_does_not_want_to(store: Store) -> None:
    await store.accept(wishing((ANN, set()), (BEN, {Event.FAILURE})), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DEFERRED), outcome(BEN, DEFERRED))
    assert await store.due_delays(100, limit=10) == []


async def test_rfc3461_4_1_only_those_are_told_of_whom_it_is_wanted(store: Store) -> None:
    await store.accept(wishing((ANN, {Event.FAILURE}), (BEN, {Event.DELAY})), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DEFERRED), outcome(BEN, DEFERRED))
    [notice] = await store.due_delays(100, limit=10)
    assert [each.recipient for each in notice.outcomes] == [BEN]
    await settled(store, await lease_one(store, 400), outcome(ANN, FAILED), outcome(BEN, FAILED), now=410)
    [notice] = await store.due_notices(limit=10)
    assert [each.recipient for each in notice.outcomes] == [ANN]


async def test_rfc3461_5_2_2_what_was_relayed_stays_until_its_sender_was_told(store: Store) -> None:
    await store.accept(wishing((ANN, {Event.SUCCESS}), (BEN, set())), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED), outcome(BEN, DELIVERED))
    assert await store.lease(1e6, limit=10, lease_seconds=60) == [], "it is not sent again"
    [notice] = await store.due_notices(limit=10)
    assert notice.kind is NoticeKind.RELAYED
    assert [(each.recipient, each.kind) for each in notice.outcomes] == [(ANN, DELIVERED)]
    assert [each.host for each in notice.last_attempts] == ["mx.one.test"]
    await store.notified(notice, (envelope("D1", SENDER, sender=None), b"a notification"), now=11)
    assert await store.due_notices(limit=10) == []
    assert await store.message("M1") is None


async def test_rfc3461_5_2_1_what_another_confirms_is_gone_at_once(store: Store) -> None:
    await store.accept(wishing((ANN, {Event.SUCCESS})), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), replace(outcome(ANN, DELIVERED), confirms=True))
    assert await store.message("M1") is None


async def test_what_failed_and_what_was_relayed_are_told_apart(store: Store) -> None:
    await store.accept(wishing((ANN, set(Event)), (BEN, set(Event))), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED), outcome(BEN, FAILED))
    notices = await store.due_notices(limit=10)
    assert [(each.kind, each.outcomes[0].recipient) for each in notices] == [
        (NoticeKind.FAILED, BEN),
        (NoticeKind.RELAYED, ANN),
    ]
    await store.notified(notices[0], None, now=11)
    assert await store.message("M1") is not None
    await store.notified(notices[1], None, now=11)
    assert await store.message("M1") is None


async def test_each_next_hop_has_its_own_last_attempt_with_its_reasons(store: Store) -> None:
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    for leased in await store.lease(0, limit=10, lease_seconds=60):
        host = f"mx.{leased.lease.next_hop}"
        why = Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject=host)
        made = replace(attempt(leased, outcome(leased.recipients[0], DEFERRED)), host=host, reasons=(why,))
        await store.settle(leased.lease, settle(leased, made, now=10, schedule=SCHEDULE), made, now=10)
    [notice] = await store.due_delays(100, limit=10)
    message = await store.message("M1")
    assert message is not None
    assert set(notice.last_attempts) == set(message.last_attempts)
    assert {(each.next_hop, each.host) for each in notice.last_attempts} == {
        ("one.test", "mx.one.test"),
        ("two.test", "mx.two.test"),
    }
    assert {each.reasons[0].section for each in notice.last_attempts} == {"RFC 7672 section 2.2.3"}
