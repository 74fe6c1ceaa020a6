"""What every store must do when an operator copies messages out of it and puts them into another one."""

import itertools
import json
from dataclasses import replace

import pytest

from letterlock.mail.wishes import Event
from letterlock.queue.age import Age, Reading
from letterlock.queue.copies import BadCopy, MessageCopy, copy_values, read_copy
from letterlock.queue.orders import OrderKind
from letterlock.queue.store import Store
from letterlock.queue.tasks import Lease, OutcomeKind
from letterlock.store.segments.messages_in_memory import Kept, KeptTask
from tests.contract.delivering import lease_one, settled, wishing
from tests.memory_store import MemoryStore
from tests.queue.messages import ANN, BEN, BODY, CAT, envelope, outcome
from tests.queue.orders import obey

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED
ARCHIVE = "20261126T000000Z-0123456789abcdef"


async def copied(store: Store, message_id: str = "M1") -> MessageCopy:
    copy = await store.copy(message_id)
    assert copy is not None
    return copy


def through_a_file(copy: MessageCopy) -> MessageCopy:
    return read_copy(json.loads(json.dumps(copy_values(copy))), copy.content)


async def test_what_is_not_there_has_no_copy(store: Store) -> None:
    assert await store.copy("M1") is None


async def test_a_copy_has_all_that_the_queue_knows_and_another_queue_knows_it_then(store: Store) -> None:
    await store.accept(wishing((ANN, {Event.DELAY}), (BEN, {Event.SUCCESS}), (CAT, set())), BODY, next_attempt_at=0)
    tasks = {each.lease.next_hop: each for each in await store.lease(0, limit=10, lease_seconds=60)}
    await settled(store, tasks["one.test"], outcome(ANN, DEFERRED), outcome(BEN, FAILED))
    await store.release(tasks["two.test"].lease, next_attempt_at=77)
    await obey(store, OrderKind.HOLD, "M1", at=20, next_hop="two.test", reason="ask legal")
    copy = through_a_file(await copied(store))
    other = MemoryStore()
    assert await other.restore(ARCHIVE, copy)
    assert await other.message("M1") == await store.message("M1")
    assert await other.attempts("M1") == await store.attempts("M1")
    assert await other.body("M1") == BODY
    assert await other.copy("M1") == copy
    back = await copied(store)
    await obey(store, OrderKind.REMOVE, "M1")
    assert await store.restore(ARCHIVE, copy)
    assert await copied(store) == back


async def test_a_failure_that_nobody_was_notified_of_is_notified_by_the_other_queue(store: Store) -> None:
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    tasks = {each.lease.next_hop: each for each in await store.lease(0, limit=10, lease_seconds=60)}
    await settled(store, tasks["one.test"], outcome(ANN, FAILED))
    await store.release(tasks["two.test"].lease, next_attempt_at=0)
    copy = await copied(store)
    await obey(store, OrderKind.REMOVE, "M1")
    assert await store.restore(ARCHIVE, copy)
    [notice] = await store.due_notices(limit=10)
    assert [each.recipient for each in notice.outcomes] == [ANN]
    await store.notified(notice, None, now=1)
    again = await copied(store)
    await obey(store, OrderKind.REMOVE, "M1")
    assert await store.restore("another", again)
    assert await store.due_notices(limit=10) == []


async def test_the_age_of_a_message_is_not_forgotten(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    copy = await copied(store)
    age = Age(4711.0, Reading(10.0, 20.0, "boot"))
    old = replace(copy, tasks=(replace(copy.tasks[0], age=age, attempts=7),))
    await obey(store, OrderKind.REMOVE, "M1")
    await store.restore(ARCHIVE, through_a_file(old))
    task = await lease_one(store)
    assert (task.age, task.attempts) == (age, 7)


async def test_what_is_being_delivered_is_due_at_once_in_the_other_queue(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=5, leases=[Lease("mine", "M1", "one.test", 60.0)])
    copy = await copied(store)
    assert [each.due_at for each in copy.tasks] == [0.0]
    other = MemoryStore()
    await other.restore(ARCHIVE, copy)
    assert [each.lease.message_id for each in await other.lease(1, limit=9, lease_seconds=9)] == ["M1"]
    message = await store.message("M1")
    assert message is not None
    assert message.recipients[0].state == "leased", "copying changes nothing"


async def test_a_message_of_an_archive_is_put_in_once_even_if_it_has_left(store: Store) -> None:
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    copy = await copied(store)
    assert not await store.restore(ARCHIVE, copy), "it is here already"
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED))
    assert await store.count() == 0
    assert not await store.restore(ARCHIVE, copy), "it was here when it was put in first"
    assert await store.restore("another", copy), "another archive is another wish"
    await settled(store, await lease_one(store), outcome(ANN, DELIVERED))
    assert not await store.restore("another", copy)
    await store.skip("third", "M1")
    assert not await store.restore("third", copy)
    assert await store.count() == 0


async def test_what_is_put_in_can_be_held(store: Store) -> None:
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    await obey(store, OrderKind.QUARANTINE, "M1", at=3, next_hop="two.test", reason="odd")
    copy = (await copied(store)).held(9.0, "a drill")
    await obey(store, OrderKind.REMOVE, "M1")
    await store.restore(ARCHIVE, copy)
    message = await store.message("M1")
    assert message is not None
    assert [(each.state, each.held_at, each.held_because) for each in message.recipients] == [
        ("held", 9.0, "a drill"),
        ("quarantined", 3.0, "odd"),
    ]


BROKEN: dict[str, list[object]] = {
    "id": ["", "a b", "../x", "x" * 65, None, 7],
    "sender": ["no address", 7, "a@b\r\nRCPT TO:<c@d>"],
    "size": [-1, 1.5, True, "7", len(BODY) + 1, 1 << 70],
    "accepted_at": [None, "now", float("inf"), float("nan")],
    "expires_at": [None, True],
    "body_type": ["BINARYMIME", None],
    "tls_demand": ["perhaps", 1],
    "ret": ["SOME"],
    "envid": ["a b"],
    "smtputf8": [0, None],
    "sealed": ["no"],
    "recipients": [[], None, [7], {}],
    "next_hops": [[], None],
    "journal": [None, [7]],
}


@pytest.mark.parametrize(("field", "value"), [(name, each) for name, all_ in BROKEN.items() for each in all_])
async def test_what_is_no_message_is_refused_before_a_store_sees_it(field: str, value: object) -> None:
    store = MemoryStore()
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    values = copy_values(await copied(store))
    read_copy(values, BODY)
    with pytest.raises(BadCopy):
        read_copy(values | {field: value}, BODY)
    with pytest.raises(BadCopy):
        read_copy({name: each for name, each in values.items() if name != field}, BODY)


async def test_next_hops_are_those_of_the_recipients_that_wait() -> None:
    store = MemoryStore()
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    values = copy_values(await copied(store))
    hops = values["next_hops"]
    assert isinstance(hops, list)
    first, second = hops
    for wrong in ([first], [first, second, second], [first, second | {"next_hop": "three.test"}]):
        with pytest.raises(BadCopy):
            read_copy(values | {"next_hops": wrong}, BODY)
    for name, value in itertools.product(("state", "due_at", "attempts", "tried_seconds", "tried_until"), ("?", [])):
        with pytest.raises(BadCopy):
            read_copy(values | {"next_hops": [first | {name: value}, second]}, BODY)


def test_fields_of_a_later_version_are_ignored() -> None:
    assert read_copy(copy_values(_plain()) | {"colour": "red"}, BODY) == _plain()


def _plain() -> MessageCopy:
    return Kept(envelope("M1"), BODY, {"one.test": KeptTask(0.0)}, {ANN: "queued"}).copied()
