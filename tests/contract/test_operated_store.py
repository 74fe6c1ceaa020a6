"""What every OperatedStore must do: list, find, count, and obey orders."""

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mail.wishes import Event, RecipientWishes, Wishes
from letterlock.policy.codes import Code
from letterlock.policy.decision import Achieved, Level
from letterlock.policy.reasons import FINDINGS, Finding, Reason
from letterlock.queue.orders import MAX_ORDERED, OrderKind, RecipientState, Tally, TallyBy, Wanted
from letterlock.queue.settle import settle
from letterlock.queue.store import LeaseLost, Store
from letterlock.queue.tasks import OutcomeKind, QueuedMessage
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.contract.delivering import SCHEDULE, lease_one, settled
from tests.queue.messages import ANN, BEN, BODY, CAT, SENDER, attempt, envelope, outcome
from tests.queue.orders import obey, retry

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED
HOLD, QUARANTINE, RELEASE = OrderKind.HOLD, OrderKind.QUARANTINE, OrderKind.RELEASE
REMOVE, RETURN = OrderKind.REMOVE, OrderKind.RETURN
HOPS = ("one.test", "two.test")


async def accepted(store: Store, *message_ids: str, due: float = 0.0) -> None:
    for message_id in message_ids:
        await store.accept(envelope(message_id, ANN, CAT), BODY, next_attempt_at=due)


async def leased(store: Store, now: float = 0.0) -> list[tuple[str, str]]:
    tasks = await store.lease(now, limit=100, lease_seconds=60)
    return sorted((each.lease.message_id, each.lease.next_hop) for each in tasks)


async def seen(store: Store, message_id: str = "M1") -> QueuedMessage:
    message = await store.message(message_id)
    assert message is not None
    return message


async def states(store: Store, message_id: str = "M1") -> list[str]:
    return [each.state for each in (await seen(store, message_id)).recipients]


async def ids(store: Store, wanted: Wanted, limit: int = 100) -> list[str]:
    """All pages."""
    found: list[str] = []
    after: str | None = None
    while True:
        page = await store.select(wanted, limit=limit, after=after)
        assert len(page.found) <= limit
        found += page.found
        after = page.after
        if after is None:
            return found


async def tallies(store: Store, by: TallyBy, now: float = 0.0) -> dict[str, Tally]:
    page = await store.tally(by, now=now)
    assert page.after is None
    return {each.key: each for each in page.found}


async def test_what_is_held_is_not_tried_and_says_since_when_and_why(store: Store) -> None:
    await accepted(store, "M1", "M2")
    assert await obey(store, HOLD, "M1", at=5, reason="ask legal") == ["M1"]
    assert await leased(store, 1e6) == [("M2", hop) for hop in HOPS]
    [ann, cat] = (await seen(store)).recipients
    assert (ann.state, ann.held_at, ann.held_because, ann.next_attempt_at) == ("held", 5, "ask legal", None)
    assert cat.state == "held"
    assert await obey(store, HOLD, "M1", at=6, reason="again") == [], "it is held already"


async def test_a_queue_with_nothing_but_held_messages_has_nothing_due(store: Store) -> None:
    await accepted(store, "M1")
    await obey(store, HOLD, "M1")
    assert await store.next_due() is None


@pytest.mark.parametrize("kind", [HOLD, QUARANTINE])
async def test_what_is_released_is_due_at_once(store: Store, kind: OrderKind) -> None:
    await accepted(store, "M1", due=900)
    await obey(store, kind, "M1")
    assert await obey(store, RELEASE, "M1", at=20) == ["M1"]
    assert await store.next_due() == 20
    assert await leased(store, 20) == [("M1", hop) for hop in HOPS]
    assert [(each.held_at, each.held_because) for each in (await seen(store)).recipients] == [(None, None)] * 2


async def test_only_what_goes_to_one_next_hop_can_be_held_and_released(store: Store) -> None:
    await accepted(store, "M1")
    assert await obey(store, HOLD, "M1", next_hop="two.test") == ["M1"]
    assert await states(store) == ["queued", "held"]
    assert await leased(store) == [("M1", "one.test")]
    assert await obey(store, RELEASE, "M1", next_hop="one.test") == [], "there it is not held"
    assert await obey(store, RELEASE, "M1", next_hop="two.test") == ["M1"]
    assert await leased(store) == [("M1", "two.test")]


async def test_a_hold_in_the_middle_of_an_attempt_applies_to_whoever_is_deferred_by_it(store: Store) -> None:
    await store.accept(envelope("M1", ANN, BEN), BODY, next_attempt_at=0)
    task = await lease_one(store)
    assert await obey(store, HOLD, "M1", at=5) == ["M1"]
    await store.renew(task.lease, 500)
    await settled(store, task, outcome(ANN, DELIVERED), outcome(BEN, DEFERRED))
    assert await states(store) == ["delivered", "held"]
    assert await leased(store, 1e6) == []
    await obey(store, RELEASE, "M1", at=20)
    again = await lease_one(store, 20)
    assert (again.recipients, again.attempts) == ((BEN,), 1)


async def test_a_hold_in_the_middle_of_an_attempt_that_delivers_changes_nothing(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    task = await lease_one(store)
    await obey(store, HOLD, "M1")
    await settled(store, task, outcome(ANN, DELIVERED))
    assert await store.message("M1") is None


async def test_a_release_in_the_middle_of_an_attempt_leaves_the_lease_to_its_holder(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    task = await lease_one(store)
    await obey(store, HOLD, "M1")
    assert await obey(store, RELEASE, "M1", at=1) == ["M1"]
    assert await leased(store, 2) == []
    await settled(store, task, outcome(ANN, DEFERRED))
    assert (await seen(store)).recipients[0].next_attempt_at == pytest.approx(310)


async def test_a_lease_that_is_given_back_leaves_the_message_held(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    task = await lease_one(store)
    await obey(store, HOLD, "M1")
    await store.release(task.lease, next_attempt_at=1)
    assert await states(store) == ["held"]
    assert await leased(store, 1e6) == []


async def test_what_is_held_does_not_expire_and_has_one_attempt_when_it_is_released(store: Store) -> None:
    await store.accept(envelope("M1", expires_at=100), BODY, next_attempt_at=0)
    await settled(store, await lease_one(store), outcome(ANN, DEFERRED), now=1)
    await obey(store, HOLD, "M1")
    assert await leased(store, 1e6) == []
    assert await store.due_notices(limit=10) == []
    await obey(store, RELEASE, "M1", at=1e6)
    task = await lease_one(store, 1e6)
    await settled(store, task, outcome(ANN, DEFERRED), now=1e6 + 1)
    [notice] = await store.due_notices(limit=10)
    assert "gave up" in notice.outcomes[0].text


async def test_what_is_quarantined_is_freed_by_name_only(store: Store) -> None:
    await accepted(store, "M1", "M2")
    await obey(store, HOLD, "M1")
    assert await obey(store, QUARANTINE, "M1", "M2", reason="a worm") == ["M1", "M2"]
    assert await obey(store, QUARANTINE, "M1") == []
    assert await obey(store, HOLD, "M1") == [], "quarantine is more than a hold"
    assert await obey(store, RELEASE, "M1", only=RecipientState.HELD) == []
    assert await obey(store, RELEASE, "M1", only=RecipientState.QUARANTINED) == ["M1"]
    assert await ids(store, Wanted(state=RecipientState.QUARANTINED)) == ["M2"]


async def test_the_journal_tells_what_was_ordered(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    await obey(store, HOLD, "M1", at=5, reason="ask legal")
    await obey(store, HOLD, "M1", at=6)
    await obey(store, RELEASE, "M1", at=7)
    await settled(store, await lease_one(store, 7), outcome(ANN, DEFERRED))
    first, second, tried = await store.attempts("M1")
    assert first == {"order": "hold", "at": 5, "next_hop": None, "reason": "ask legal"}
    assert (second["order"], second["at"]) == ("release", 7)
    assert "order" not in tried


async def test_retry_makes_what_waits_due_and_nothing_else(store: Store) -> None:
    await accepted(store, "M1", "M2", "M3", due=1000)
    await obey(store, HOLD, "M2")
    assert await retry(store, "M1", "M2", "unknown", now=5) == ["M1"]
    assert await leased(store, 5) == [("M1", hop) for hop in HOPS]
    assert await retry(store, "M1", now=6) == [], "it is being tried"
    assert await obey(store, OrderKind.RETRY, "M3", at=6, next_hop="two.test") == ["M3"]
    assert await leased(store, 6) == [("M3", "two.test")]


async def test_a_removed_message_is_gone_and_its_lease_with_it(store: Store) -> None:
    await store.accept(envelope(), BODY, next_attempt_at=0)
    task = await lease_one(store)
    assert await obey(store, REMOVE, "M1", "M1") == ["M1"]
    assert await obey(store, REMOVE, "M1") == []
    assert await store.due_notices(limit=10) == []
    with pytest.raises(LeaseLost):
        await settled(store, task, outcome(ANN, DEFERRED))
    with pytest.raises(LeaseLost):
        await store.renew(task.lease, 500)


async def test_only_what_goes_to_one_next_hop_can_be_removed(store: Store) -> None:
    await accepted(store, "M1")
    assert await obey(store, REMOVE, "M1", next_hop="two.test") == ["M1"]
    assert await states(store) == ["queued", "failed"]
    assert await store.due_notices(limit=10) == [], "nobody is told"
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED))
    assert await store.message("M1") is None


async def test_what_is_returned_has_failed_and_its_sender_is_told(store: Store) -> None:
    await accepted(store, "M1")
    await obey(store, HOLD, "M1")
    assert await obey(store, RETURN, "M1", reason="sent twice") == ["M1"]
    assert await leased(store, 1e6) == []
    [notice] = await store.due_notices(limit=10)
    assert [(each.recipient, each.status, each.text) for each in notice.outcomes] == [
        (ANN, "5.0.0", "removed by the operator: sent twice"),
        (CAT, "5.0.0", "removed by the operator: sent twice"),
    ]
    assert await store.body("M1") == BODY, "it is returned"
    await store.notified(notice, (envelope("D1", SENDER, sender=None), b"a notification"), now=11)
    assert await store.message("M1") is None
    assert await obey(store, RETURN, "M1") == []


async def test_what_is_being_tried_is_not_returned(store: Store) -> None:
    await accepted(store, "M1")
    tasks = {each.lease.next_hop: each for each in await store.lease(0, limit=10, lease_seconds=60)}
    await settled(store, tasks["one.test"], outcome(ANN, DEFERRED))
    assert await obey(store, RETURN, "M1") == ["M1"]
    assert await states(store) == ["failed", "leased"]
    assert await obey(store, RETURN, "M1") == []
    await settled(store, tasks["two.test"], outcome(CAT, DELIVERED))


async def test_rfc3461_4_1_nobody_hears_of_a_return_who_does_not_want_to(store: Store) -> None:
    wishes = Wishes(recipients={ANN: RecipientWishes(frozenset()), BEN: RecipientWishes(frozenset({Event.FAILURE}))})
    await store.accept(replace(envelope("M1", ANN, BEN), wishes=wishes), BODY, next_attempt_at=0)
    await obey(store, RETURN, "M1")
    [notice] = await store.due_notices(limit=10)
    assert [each.recipient for each in notice.outcomes] == [BEN]


async def test_no_order_is_obeyed_for_more_messages_than_the_limit(store: Store) -> None:
    names = [f"M{number:04}" for number in range(MAX_ORDERED + 1)]
    await accepted(store, *names)
    assert await obey(store, HOLD, *names) == names[:MAX_ORDERED]


@pytest.mark.parametrize("kind", list(OrderKind))
async def test_orders_about_nothing_change_nothing(store: Store, kind: OrderKind) -> None:
    await accepted(store, "M1")
    before = await seen(store)
    strange = ("", "M", "m1", "M1 ", "M1\x00", "\x1b[2J", "' OR 1=1 --", "%", "M1" * 10_000)
    assert await obey(store, kind, *strange) == []
    assert await obey(store, kind, "M1", next_hop="three.test") == []
    assert await seen(store) == before


async def test_messages_are_found_by_state(store: Store) -> None:
    await accepted(store, "M1", "M2", "M3", "M4", "M5")
    for task in await store.lease(0, limit=10, lease_seconds=1e9):
        if task.lease.message_id == "M2":
            await settled(store, task, outcome(task.recipients[0], DEFERRED))
        elif task.lease.message_id != "M1":
            await store.release(task.lease, next_attempt_at=0)
    await obey(store, HOLD, "M3", next_hop="two.test")
    await obey(store, QUARANTINE, "M4")
    await obey(store, RETURN, "M5", next_hop="one.test")
    found = {state: await ids(store, Wanted(state=state)) for state in RecipientState}
    assert found == {
        RecipientState.WAITING: ["M3", "M5"],
        RecipientState.DEFERRED: ["M2"],
        RecipientState.LEASED: ["M1"],
        RecipientState.HELD: ["M3"],
        RecipientState.QUARANTINED: ["M4"],
        RecipientState.FAILED: ["M5"],
        RecipientState.DELIVERED: [],
    }
    assert await ids(store, Wanted(state=RecipientState.HELD, domain="one.test")) == [], "only the other part is held"
    assert await ids(store, Wanted(state=RecipientState.HELD, domain="two.test")) == ["M3"]


async def test_messages_are_found_by_domain_sender_age_and_id(store: Store) -> None:
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    await store.accept(replace(envelope("M2", CAT), accepted_at=100), BODY, next_attempt_at=0)
    await store.accept(envelope("M3", ANN, sender=None), BODY, next_attempt_at=0)
    assert await ids(store, Wanted()) == ["M1", "M2", "M3"]
    assert await ids(store, Wanted(domain="two.test")) == ["M2"]
    assert await ids(store, Wanted(domain="test")) == []
    for sender in ("Sender@From.test", "from.test"):
        assert await ids(store, Wanted(sender=sender)) == ["M1", "M2"]
    assert await ids(store, Wanted(sender="om.test")) == [], "no part of a name"
    assert await ids(store, Wanted(sender="<>")) == ["M3"]
    assert await ids(store, Wanted(accepted_before=99)) == ["M1", "M3"]
    assert await ids(store, Wanted(accepted_before=-math.inf)) == []
    assert await ids(store, Wanted(ids=("M3", "M1", "M9"))) == ["M1", "M3"]
    assert await ids(store, Wanted(ids=("M3", "M1"), domain="one.test", sender="<>")) == ["M3"]
    assert await ids(store, Wanted(ids=())) == []


async def test_messages_are_found_by_what_is_said_of_why_they_wait(store: Store) -> None:
    await accepted(store, "M1", "M2", "M3")
    for task in await store.lease(0, limit=4, lease_seconds=60):
        text = "greylisted" if task.lease.message_id == "M1" else "busy"
        why = Reason(code=Code.RFC7672_2_2_3_STARTTLS_REQUIRED, subject="mx.one.test")
        made = replace(attempt(task, outcome(task.recipients[0], DEFERRED, text)), reasons=(why,))
        await store.settle(task.lease, settle(task, made, now=10, schedule=SCHEDULE), made, now=10)
    await obey(store, HOLD, "M3", reason="ask Legal")
    assert await ids(store, Wanted(reason="Greylist")) == ["M1"]
    assert await ids(store, Wanted(reason="4.2.0")) == ["M1", "M2"]
    assert await ids(store, Wanted(reason="starttls-required")) == ["M1", "M2"]
    assert await ids(store, Wanted(reason="legal")) == ["M3"]
    assert await ids(store, Wanted(reason="legal", domain="three.test")) == []


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(domain="one.test"), Wanted(reason="4"), Wanted(state=RecipientState.HELD)]
)
async def test_many_are_found_page_by_page(store: Store, wanted: Wanted) -> None:
    names = [f"M{number:02}" for number in range(11)]
    await accepted(store, *names)
    await obey(store, HOLD, *names, reason="4 reasons")
    assert await ids(store, wanted, limit=3) == names
    assert await ids(store, replace(wanted, ids=tuple(reversed(names))), limit=3) == names
    page = await store.find(wanted, limit=3, after="M05")
    assert ([each.id for each in page.found], page.after) == (["M06", "M07", "M08"], "M08")
    assert await store.count() == 11


async def test_tasks_are_counted_by_next_hop(store: Store) -> None:
    await accepted(store, "M1", "M2", "M3", "M4")
    tasks = await store.lease(0, limit=4, lease_seconds=1e9)
    for task in tasks[:2]:
        await settled(store, task, outcome(task.recipients[0], DEFERRED))
    await obey(store, HOLD, "M3", next_hop="one.test")
    await obey(store, QUARANTINE, "M4", next_hop="one.test")
    await store.accept(replace(envelope("M5"), accepted_at=1000), BODY, next_attempt_at=0)
    found = await tallies(store, TallyBy.DOMAIN, now=1000)
    one, two = found["one.test"], found["two.test"]
    assert (one.waiting, one.deferred, one.leased, one.held, one.quarantined, one.total) == (1, 1, 1, 1, 1, 5)
    assert (two.waiting, two.deferred, two.leased, two.held, two.quarantined, two.total) == (2, 1, 1, 0, 0, 4)
    assert (one.octets, one.oldest_at) == (5 * len(BODY), 0)
    assert one.ages == (1, 0, 4, 0, 0, 0)


async def test_tasks_are_counted_by_sender_reason_and_age(store: Store) -> None:
    ages = (300, 301, 3_600, 14_400, 86_400, 86_401)
    for number, age in enumerate(ages):
        kept = replace(envelope(f"M{number}", sender=None if number else SENDER), accepted_at=100_000 - age)
        await store.accept(kept, BODY, next_attempt_at=number)
    await settled(store, await lease_one(store), outcome(ANN, DEFERRED, "greylisted"))
    await obey(store, HOLD, "M1", reason="ask legal")
    assert {key: each.total for key, each in (await tallies(store, TallyBy.SENDER)).items()} == {
        "<>": 5,
        "sender@from.test": 1,
    }
    assert {key: each.total for key, each in (await tallies(store, TallyBy.REASON)).items()} == {
        "4.2.0 greylisted": 1,
        "held: ask legal": 1,
        "not tried yet": 4,
    }
    found = await tallies(store, TallyBy.AGE, now=100_000)
    assert {key: each.total for key, each in found.items()} == dict.fromkeys(
        ("5m", "15m", "1h", "4h", "1d", "older"), 1
    )
    assert found["older"].ages == (0, 0, 0, 0, 0, 1)


async def tried(store: Store, *reasons: Code, reply: str | None = None, achieved: Achieved | None = None) -> None:
    """One message to one.test, deferred by an attempt that had these reasons."""
    number = await store.count()
    await store.accept(envelope(f"M{number}", ANN), BODY, next_attempt_at=0)
    task = await lease_one(store)
    deferred = replace(outcome(ANN, DEFERRED, f"mx{number}.one.test: as told"), remote_reply=reply)
    found = tuple(Reason(code=code, subject=f"mx{number}.one.test", facts=(("source", "x:1"),)) for code in reasons)
    made = replace(attempt(task, deferred), reasons=found, achieved=achieved)
    await store.settle(task.lease, settle(task, made, now=10, schedule=SCHEDULE), made, now=10)


async def test_what_the_policy_refused_is_counted_by_its_code_whatever_the_domain(store: Store) -> None:
    for _ in range(2):
        await tried(store, Code.RFC7672_2_1_2_NO_RESOLVER)
    routed = next(code for code in Code if FINDINGS[code] is Finding.ROUTED)
    await tried(store, routed, Code.RFC7672_2_2_3_STARTTLS_REQUIRED)
    await tried(store, routed)
    await tried(store, Code.RFC7672_2_2_USABLE, reply="450 4.2.0 later")
    await tried(store, Code.RFC7672_2_2_USABLE, achieved=Achieved(level=Level.AUTHENTICATED, by="dane-ee"))
    await store.accept(envelope("M6", ANN), BODY, next_attempt_at=0)
    assert {key: each.total for key, each in (await tallies(store, TallyBy.REASON)).items()} == {
        "rfc7672-2.1.2-no-resolver": 2,
        "rfc7672-2.2.3-starttls-required": 1,
        "4.2.0 mx3.one.test: as told": 1,
        "4.2.0 mx4.one.test: as told": 1,
        "4.2.0 mx5.one.test: as told": 1,
        "not tried yet": 1,
    }


async def test_the_last_attempt_at_the_next_hop_decides_what_is_counted(store: Store) -> None:
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    for reasons in ((Code.RFC7672_2_1_2_NO_RESOLVER,), (Code.RFC7672_2_2_3_STARTTLS_REQUIRED,)):
        for task in await store.lease(1e6, limit=10, lease_seconds=60):
            only = reasons if task.lease.next_hop == "one.test" else ()
            made = replace(
                attempt(task, outcome(task.recipients[0], DEFERRED, "later")),
                reasons=tuple(Reason(code=code, subject="x") for code in only),
            )
            await store.settle(task.lease, settle(task, made, now=10, schedule=SCHEDULE), made, now=10)
    await obey(store, RELEASE, "M1")  # its record in the journal is no attempt
    assert {key: each.total for key, each in (await tallies(store, TallyBy.REASON)).items()} == {
        "rfc7672-2.2.3-starttls-required": 1,
        "4.2.0 later": 1,
    }


@pytest.mark.parametrize(
    "record", ["", "{", "[]", '{"next_hop": "one.test", "ended_at": 1, "reasons": ["x", 1, {}]}', '"x"']
)
async def test_a_damaged_record_of_an_attempt_spoils_no_count(tmp_path: Path, record: str) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1", ANN), BODY, next_attempt_at=0)
    with sqlite3.connect(tmp_path / "queue.db") as database:
        database.execute("INSERT INTO attempt (message_id, record) VALUES ('M1', ?)", (record,))
    database.close()
    page = await store.tally(TallyBy.REASON, now=0)
    assert [each.key for each in page.found] == ["not tried yet"]
    await store.close()


async def test_an_empty_queue_has_no_counts(store: Store) -> None:
    assert await tallies(store, TallyBy.DOMAIN) == {}
    assert await store.count() == 0
    assert await ids(store, Wanted(state=RecipientState.HELD)) == []


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


async def test_messages_are_listed_page_by_page(store: Store) -> None:
    for number in range(5):
        await store.accept(envelope(f"M{number}"), BODY, next_attempt_at=0)
    first = await store.messages(limit=2)
    rest = await store.messages(limit=10, after=first[-1].id)
    assert [message.id for message in (*first, *rest)] == ["M0", "M1", "M2", "M3", "M4"]
