"""The contents that deliveries have in memory are bounded, and one of them may always go on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.deliver.contents import MEMORY, Contents
from letterlock.deliver.handshake_slots import Busy
from tests.deliver.world import BODY, HandClock, MemoryDialer
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import Gate, PerDomain, task_for, until, working

SLOW, QUICK = "192.0.2.66", "192.0.2.1"


def test_a_message_is_held_once_for_all_its_next_hops() -> None:
    contents = Contents(100)
    for token in ("one", "two", "three"):
        contents.keep(token, "M1", b"x" * 50)
    assert not contents.has_room(26)
    assert contents.has_room(25)
    for token in ("one", "two", "three"):
        assert contents.body("M1") == b"x" * 50
        contents.end(token)
    assert contents.body("M1") is None
    assert contents.has_room(50)


def test_what_is_sent_counts_twice_and_one_delivery_may_always_go_on() -> None:
    contents = Contents(100)
    contents.begin("one", "M1", 1000)
    with pytest.raises(Busy) as busy:
        contents.begin("two", "M2", 1)
    assert busy.value.key == MEMORY
    contents.end("one")
    contents.begin("two", "M2", 40)
    contents.begin("three", "M3", 10)
    with pytest.raises(Busy):
        contents.begin("four", "M4", 1)


def test_what_was_read_is_there_for_the_other_next_hops_of_the_message() -> None:
    contents = Contents(1000)
    contents.begin("one", "M1", 5)
    assert contents.body("M1") is None
    contents.read("M1", b"12345")
    contents.begin("two", "M1", 5)
    contents.end("one")
    assert contents.body("M1") == b"12345"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["keep", "begin", "end"]), st.integers(0, 60))))
def test_in_the_end_nothing_is_left(steps: list[tuple[str, str, int]]) -> None:
    contents, known = Contents(100), {"a": "M1", "b": "M1", "c": "M2"}
    begun = set[str]()
    for token, step, octets in steps:
        try:
            if step == "keep" and token not in begun:
                contents.keep(token, known[token], b"x" * octets)
            elif step == "begin" and token not in begun:
                contents.begin(token, known[token], octets)
                begun.add(token)
            elif step == "end":
                contents.end(token)
                begun.discard(token)
        except Busy:
            assert begun
    for token in known:
        contents.end(token)
    assert contents.has_room(50)
    assert not contents.has_room(51)


async def test_without_memory_a_delivery_waits_and_keeps_no_small_ones_waiting(dialer: MemoryDialer) -> None:
    store, slow, quick = HandStore(HandClock()), Gate(), Gate()
    quick.opened.set()
    dialer.handlers = {SLOW: slow, QUICK: quick}
    large = [task_for(name, number) for number, name in enumerate(["s1.example", "s2.example"])]
    for task in large:
        store.bodies[task.envelope.id] = BODY * 100
    store.put(*(replace(task, envelope=replace(task.envelope, size=100 * len(BODY))) for task in large))
    discoverer = PerDomain(s1=SLOW, s2=SLOW, q=QUICK)
    async with working(store, dialer, discoverer, max_content_octets=250 * len(BODY)) as deliverer:
        await until(lambda: slow.waiting == 1 and not store.due)
        store.put(task_for("q.example", 9))
        deliverer.wake()
        await until(lambda: len(store.settled) == 1)
        assert slow.waiting == 1
        slow.opened.set()
        await until(lambda: len(store.settled) == 3)
    assert all(settlement.delivered for settlement, _ in store.settled)


def test_what_waits_keeps_its_content_while_there_is_much_room() -> None:
    contents = Contents(400)
    for number in range(10):
        token = f"T{number}"
        contents.keep(token, f"M{number}", b"x" * 40)
        contents.begin(token, f"M{number}", 40)
        contents.rest(token)
    assert [number for number in range(10) if contents.body(f"M{number}")] == [0, 1]
    contents.begin("T0", "M0", 40)  # it goes on
    contents.end("T0")
    contents.end("T1")
    assert contents.has_room(200)
