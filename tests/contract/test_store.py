"""What every store must do, whatever it keeps its messages in."""

from dataclasses import replace

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope, TlsDemand
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.policy.codes import Code
from letterlock.policy.reasons import Reason
from letterlock.queue.age import NEW, Age, Reading
from letterlock.queue.settle import settle
from letterlock.queue.store import LeaseLost, Store
from letterlock.queue.tasks import DeliveryTask, Lease, NoticeKind, OutcomeKind
from tests.contract.delivering import SCHEDULE, lease_one, settled
from tests.queue.messages import ANN, BEN, BODY, CAT, SENDER, attempt, envelope, outcome

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


async def test_the_queue_tells_the_last_reason(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DEFERRED, "greylisted"))
    message = await store.message("M1")
    assert message is not None
    [recipient] = message.recipients
    assert (recipient.state, recipient.attempts, recipient.last_text) == ("queued", 1, "greylisted")
    assert recipient.next_attempt_at == pytest.approx(310)
    [journalled] = await store.attempts("M1")
    assert journalled["host"] == "mx.one.test"


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


async def test_a_released_lease_is_due_when_it_says_and_was_not_an_attempt(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    leased = await lease_one(store)
    await store.release(leased.lease, next_attempt_at=5)
    again = await lease_one(store, 5)
    assert again.attempts == 0
    await store.release(leased.lease, next_attempt_at=0)
    assert await store.lease(6, limit=1, lease_seconds=60) == []


async def test_messages_are_listed_page_by_page(store: Store) -> None:
    for number in range(5):
        await store.accept(envelope(f"M{number}"), BODY, next_attempt_at=0)
    first = await store.messages(limit=2)
    rest = await store.messages(limit=10, after=first[-1].id)
    assert [message.id for message in (*first, *rest)] == ["M0", "M1", "M2", "M3", "M4"]


async def test_the_null_reverse_path_is_kept(store: Store) -> None:
    await store.accept(envelope("D1", sender=None), BODY, next_attempt_at=0)
    assert (await lease_one(store)).envelope.reverse_path is None


@pytest.mark.parametrize("demand", list(TlsDemand))
async def test_rfc8689_4_1_what_the_sender_demands_of_tls_is_remembered(store: Store, demand: TlsDemand) -> None:
    await store.accept(replace(envelope(), tls_demand=demand), BODY, next_attempt_at=0)
    assert (await lease_one(store)).envelope.tls_demand is demand


def wishing(*wanted: tuple[Mailbox, set[Event]]) -> Envelope:
    """A message whose sender says of whom he wants to hear what."""
    wishes = {mailbox: RecipientWishes(frozenset(events), "rfc822;x+2By@z") for mailbox, events in wanted}
    return replace(envelope("M1", *wishes), wishes=Wishes(Ret.FULL, "QQ+20", wishes))


async def test_rfc3461_4_wishes_are_remembered(store: Store) -> None:
    kept = wishing((ANN, set()), (BEN, set(Event)))
    await store.accept(kept, BODY, next_attempt_at=0)
    assert (await lease_one(store)).envelope == kept


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
