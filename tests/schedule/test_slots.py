"""Slots: fair shares, trouble and recovery."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.schedule.slots import Slots
from tests.deliver.world import make_task


def task(next_hop: str) -> DeliveryTask:
    return make_task(next_hop=next_hop)


def attempt(*, setup: float, message: float) -> Attempt:
    """A delivery over a new session that took so long."""
    return Attempt(
        message_id="4F2A1",
        next_hop="example.org",
        started_at=0.0,
        ended_at=setup + message,
        outcomes=(),
        connected_at=0.0,
        ready_at=setup,
    )


SLOW, QUICK = attempt(setup=2.0, message=0.8), attempt(setup=0.2, message=0.08)


def test_next_hops_take_turns() -> None:
    slots = Slots(total=4, each=4, max_waiting=100, first=4)
    for next_hop in ("a", "a", "a", "b", "b", "c"):
        assert slots.wait(task(next_hop))
    taken = [taken.lease.next_hop for _ in range(4) if (taken := slots.take())]
    assert taken == ["a", "b", "c", "a"]
    assert slots.take() is None
    assert slots.free == 0


def test_one_next_hop_has_only_its_seats() -> None:
    slots = Slots(total=10, each=2, max_waiting=100, first=2)
    for _ in range(5):
        slots.wait(task("a"))
    assert [slots.take() is not None for _ in range(3)] == [True, True, False]
    slots.leave("a", well=True)
    assert slots.take() is not None


def test_trouble_takes_seats_and_recovery_gives_them_back() -> None:
    slots = Slots(total=100, each=8, max_waiting=200, first=8)

    def capacity() -> int:
        for _ in range(8):
            slots.wait(task("a"))
        count = 0
        while slots.take() is not None:
            count += 1
        for _ in range(count):
            slots.leave("a", well=None)
        slots.clear()
        return count

    assert capacity() == 8
    counts = []
    for well in (False, False, False, False, True, True):
        slots.wait(task("a"))
        slots.take()
        slots.leave("a", well=well)
        counts.append(capacity())
    assert counts == [4, 2, 1, 1, 2, 3]
    assert slots.troubled("a")


def test_a_full_room_keeps_nobody_out_who_has_a_seat() -> None:
    slots = Slots(total=10, each=2, max_waiting=4, first=2)
    assert [slots.wait(task("a")) for _ in range(4)] == [True, True, False, False]
    assert [slots.wait(task("b")) for _ in range(4)] == [True, True, False, False]
    assert [slots.wait(task("c")) for _ in range(3)] == [True, True, False]


def test_clear_gives_back_who_waited() -> None:
    slots = Slots(total=1, each=1, max_waiting=10, first=1)
    slots.wait(task("a"))
    slots.wait(task("b"))
    assert [one.lease.next_hop for one in slots.clear()] == ["a", "b"]
    assert slots.take() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["wait", "take", "well", "badly", "untried"]))))
def test_seats_are_never_overbooked(moves: list[tuple[str, str]]) -> None:
    slots, taken = Slots(total=5, each=3, max_waiting=6, first=3), list[str]()
    for next_hop, move in moves:
        if move == "wait":
            slots.wait(task(next_hop))
        elif move == "take":
            if (one := slots.take()) is not None:
                taken.append(one.lease.next_hop)
        elif next_hop in taken:
            taken.remove(next_hop)
            slots.leave(next_hop, well={"well": True, "badly": False}.get(move))
        assert slots.free == 5 - len(taken) >= 0
        assert all(taken.count(each) <= 3 for each in "abc")


def test_next_hops_that_routes_lead_to_one_place_share_its_seats_and_its_trouble() -> None:
    slots = Slots(
        total=10,
        each=2,
        max_waiting=100,
        first=2,
        destination_key={"a.example": "relay", "b.example": "relay"}.__getitem__,
    )
    tasks = [make_task(message_id=f"4F{number}", next_hop=f"{'ab'[number % 2]}.example") for number in range(4)]
    assert all(slots.wait(task) for task in tasks)
    assert [slots.take(), slots.take(), slots.take()] == [tasks[0], tasks[1], None]
    assert slots.queued("a.example") == slots.queued("b.example") == 2
    slots.leave("a.example", well=False)
    assert slots.troubled("b.example")
    assert slots.take() is None
    slots.leave("b.example", well=None)
    assert slots.take() == tasks[2]


def test_a_flush_gives_back_the_seats_that_were_lost() -> None:
    slots = Slots(total=10, each=4, max_waiting=10, first=4)
    for next_hop in ("a", "b"):
        slots.wait(task(next_hop))
        slots.take()
        slots.leave(next_hop, well=False)
    slots.forgive("a")
    assert (slots.troubled("a"), slots.troubled("b")) == (False, True)
    slots.forgive(None)
    assert not slots.troubled("b")


def test_a_place_may_have_seats_of_its_own_number() -> None:
    slots = Slots(total=10, each=4, max_waiting=100, first=6, exceptions={"small": 1, "large": 6})
    for place in ("small", "large", "usual"):
        for _ in range(8):
            assert slots.wait(task(place))
    taken = Counter(one.lease.next_hop for one in iter(slots.take, None))
    assert taken == {"small": 1, "large": 5, "usual": 4}, "ten in all"
    slots.leave("large", well=False)
    assert slots.troubled("large")
    slots.leave("small", well=False)
    assert not slots.troubled("small"), "one slot is the least"
    slots.forgive("large")
    assert not slots.troubled("large")


def test_where_a_place_rests_nobody_is_seated_and_who_waits_there_can_be_taken_out() -> None:
    slots = Slots(total=10, each=4, max_waiting=100, first=4)
    for place in ("resting", "awake"):
        for _ in range(3):
            slots.wait(task(place))
    seated = [one.lease.next_hop for one in iter(lambda: slots.take(lambda place: place == "resting"), None)]
    assert seated == ["awake"] * 3
    assert len(slots.take_out(lambda place: place == "resting", 2)) == 2
    assert slots.queued("resting") == 1
    assert slots.take_out(lambda place: place == "awake", 2) == []


def test_many_that_never_answer_cannot_hold_the_seats_of_those_that_did_well() -> None:
    slots = Slots(total=8, each=4, max_waiting=100, first=4)
    slots.wait(task("good"))
    assert slots.take() is not None
    slots.leave("good", well=True)
    for number in range(20):
        slots.wait(task(f"dead{number}"))
    assert len([*iter(slots.take, None)]) == 6, "a quarter is kept"
    for _ in range(3):
        slots.wait(task("good"))
    assert [one.lease.next_hop for one in iter(slots.take, None)] == ["good", "good"]


def test_seats_that_are_kept_are_kept_for_nobody_who_failed_since() -> None:
    slots = Slots(total=8, each=8, max_waiting=100, first=8)
    for well in (True, False):
        slots.wait(task("place"))
        assert slots.take() is not None
        slots.leave("place", well=well)
    for number in range(20):
        slots.wait(task(f"other{number}"))
    assert len([*iter(slots.take, None)]) == 8


def test_who_takes_long_stands_aside_and_keeps_the_seat_of_his_place_only() -> None:
    slots = Slots(total=2, each=2, max_waiting=100, first=2)
    for place in ("slow", "slow", "slow", "other"):
        slots.wait(task(place))
    slots.take()
    slots.take()
    slots.take()
    assert slots.free == 0
    assert slots.stand_aside("slow")
    assert slots.free == 1
    before = slots.free
    slots.leave("slow", well=False, aside=True)
    assert slots.free == before
    for _ in range(8):
        assert slots.stand_aside("slow")
    assert not slots.stand_aside("slow"), "four times as many as there are slots"


def warm_up(slots: Slots, place: str, deliveries: int, *, waiting: int) -> list[int]:
    """Let deliveries to a place succeed, one after the other, while others wait; how many it had at once after each."""
    counts = []
    for _ in range(deliveries):
        while slots.queued(place) < waiting:
            slots.wait(task(place))
        while slots.take() is not None:
            pass
        slots.leave(place, well=True)
        while slots.take() is not None:
            pass
        counts.append(slots.taken(place))
    return counts


def test_rfc5681_3_1_a_place_gets_one_session_and_more_as_deliveries_succeed_and_others_wait() -> None:
    slots = Slots(total=50, each=8, max_waiting=1000)
    for _ in range(100):
        slots.wait(task("a"))
    assert [slots.take() is not None for _ in range(2)] == [True, False]
    slots.leave("a", well=True)
    rounds = []
    for _ in range(5):
        begun = 0
        while slots.take() is not None:
            begun += 1
        rounds.append(begun)
        for _ in range(begun):
            slots.leave("a", well=True)
    assert rounds == [2, 4, 8, 8, 8]


def test_a_message_waits_for_a_session_that_will_be_free_in_a_moment() -> None:
    slots = Slots(total=50, each=8, max_waiting=1000)
    for _ in range(3):
        slots.wait(task("a"))
    for _ in range(3):
        assert slots.take() is not None
        assert slots.take() is None
        slots.leave("a", well=True)


def test_where_messages_wait_all_the_time_another_session_is_worth_it() -> None:
    slots = Slots(total=50, each=3, max_waiting=1000)
    assert warm_up(slots, "a", 12, waiting=2) == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]


def test_nobody_waits_for_a_session_that_may_be_stuck() -> None:
    slots = Slots(total=50, each=3, max_waiting=1000)
    for _ in range(5):
        slots.wait(task("a"))
    begun = 0
    while slots.take() is not None:
        begun += 1
        slots.pass_by("a")
    assert begun == 3


def test_a_slow_host_gets_no_second_session_for_a_message_that_the_first_one_will_soon_take() -> None:
    """The second one would be as slow to set up, and take the message later than the first one can."""
    slots = Slots(total=50, each=3, max_waiting=1000)
    for _ in range(2):
        slots.wait(task("slow"))
    assert slots.take() is not None
    assert slots.stand_aside("slow")
    assert slots.take() is None
    slots.leave("slow", well=True, aside=True)
    assert slots.take() is not None


def known(made: Attempt, *, total: int = 50, each: int = 5, waiting: int) -> Slots:
    """Slots with a place `a` that answered slowly at first and took a message, where the second is under way."""
    slots = Slots(total=total, each=each, max_waiting=1000)
    slots.wait(task("a"))
    assert slots.take() is not None
    slots.answers_slowly("a", 0.8, 0.4)
    slots.leave("a", well=True, made=made)
    for _ in range(1 + waiting):
        slots.wait(task("a"))
    assert slots.take() is not None
    return slots


@pytest.mark.parametrize(
    ("made", "waiting", "more"), [(SLOW, 2, 0), (SLOW, 3, 1), (SLOW, 7, 2), (SLOW, 100, 4), (QUICK, 100, 0)]
)
def test_a_place_that_is_slow_gets_as_many_sessions_as_pay(made: Attempt, waiting: int, more: int) -> None:
    slots = known(made, waiting=waiting)
    assert sum(slots.take() is not None for _ in range(10)) == more
    assert slots.taken("a") == 1 + more


def test_a_message_that_comes_later_can_make_another_session_pay() -> None:
    slots = known(SLOW, waiting=2)
    assert slots.take() is None
    slots.wait(task("a"))
    assert slots.take() is not None


def test_the_message_that_came_last_gets_the_session_that_a_slow_place_gets_more() -> None:
    """Those before it are sent over the open ones sooner than another one is ready."""
    slots = known(SLOW, waiting=2)
    first, last = slots.follower("a"), task("a")
    slots.wait(last)
    assert slots.take() is last
    assert slots.follower("a") is first is not None


def test_a_place_that_answers_ehlo_slowly_gets_more_sessions_before_the_first_delivery_is_over() -> None:
    slots = Slots(total=50, each=5, max_waiting=1000)
    for _ in range(50):
        slots.wait(task("a"))
    assert [slots.take() is not None for _ in range(2)] == [True, False]
    slots.answers_slowly("a", 0.8, 0.4)
    assert sum(slots.take() is not None for _ in range(10)) == 2
    slots.leave("a", well=True, made=SLOW)
    assert sum(slots.take() is not None for _ in range(10)) == 3


def test_a_place_in_trouble_gets_no_session_for_answering_ehlo_slowly() -> None:
    slots = Slots(total=50, each=5, max_waiting=1000)
    for _ in range(50):
        slots.wait(task("a"))
    assert slots.take() is not None
    slots.leave("a", well=False)
    assert slots.take() is not None
    slots.answers_slowly("a", 0.8, 0.4)
    assert slots.take() is None


@pytest.mark.parametrize("crowded", [False, True])
def test_a_slow_place_that_fails_gets_no_more_than_any_other(crowded: bool) -> None:
    slots = known(SLOW, waiting=50)
    assert [slots.take() is not None for _ in range(5)] == [True] * 4 + [False]
    slots.leave("a", well=False, crowded=crowded)
    for _ in range(4):
        slots.leave("a", well=None)
    assert [slots.take() is not None for _ in range(2)] == [True, False]
    slots.leave("a", well=True)
    assert [slots.take() is not None for _ in range(3)] == [True, True, False], "as the window opens"


def test_a_slow_place_that_refused_connections_gets_no_more_than_it_takes() -> None:
    slots = known(SLOW, waiting=50)
    assert sum(slots.take() is not None for _ in range(2)) == 2
    slots.leave("a", well=False, crowded=True)  # one of three
    for _ in range(2):
        slots.leave("a", well=None)
    for _ in range(2):  # it has got back what it lost
        assert slots.take() is not None
        slots.leave("a", well=True, made=SLOW)
    assert not slots.troubled("a")
    assert sum(slots.take() is not None for _ in range(10)) == 2


def test_only_while_many_slots_are_free_a_slow_place_gets_more_than_it_needs() -> None:
    slots = known(SLOW, total=8, waiting=50)
    for number in range(5):
        slots.wait(task(f"other{number}"))
    others = [f"other{number}" for number in range(5)]
    assert [each.lease.next_hop for each in iter(slots.take, None)] == ["a", *others]
    slots.leave("other0", well=None)
    slots.wait(task("a"))
    assert slots.take() is None, "two of eight are free"
    slots.leave("other1", well=None)
    slots.wait(task("a"))
    assert [each.lease.next_hop for each in iter(slots.take, None)] == ["a"]


def test_slow_places_that_wait_cost_no_time_while_slots_are_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [f"{number}.test" for number in range(600)]
    slots = Slots(total=800, each=5, max_waiting=100_000)
    for place in places:
        slots.wait(task(place))
    for each in [*iter(slots.take, None)]:
        slots.answers_slowly(each.lease.next_hop, 0.8, 0.4)
        slots.leave(each.lease.next_hop, well=True, made=SLOW)
    for place in places * 20:
        slots.wait(task(place))
    assert sum(1 for _ in iter(slots.take, None)) == 600
    looks = 0
    seats_of = slots._seats_of

    def counted(place: str) -> int:
        nonlocal looks
        looks += 1
        return seats_of(place)

    monkeypatch.setattr(slots, "_seats_of", counted)
    for place in places:
        slots.leave(place, well=True, made=SLOW)
        assert slots.take() is not None
    assert looks < 3 * len(places)


def test_a_place_that_failed_and_one_that_was_idle_begin_slowly_again() -> None:
    slots = Slots(total=50, each=8, max_waiting=1000)
    assert warm_up(slots, "a", 10, waiting=30)[-1] == 8
    slots.leave("a", well=False)
    slots.forgive("a")
    while slots.taken("a"):
        slots.leave("a", well=None)
    assert slots.take() is not None
    assert slots.take() is None
    assert warm_up(slots, "a", 10, waiting=30)[-1] == 8
    slots.clear()
    for _ in range(8):
        slots.leave("a", well=True)
    for _ in range(8):
        slots.wait(task("a"))
    assert len([*iter(slots.take, None)]) == 4


@pytest.mark.parametrize("seed", range(20))
def test_whoever_may_begin_is_found(seed: int) -> None:
    """Only places that may have a slot are looked at: that never overlooks one, whatever happened before."""
    chance = random.Random(seed)
    slots = Slots(total=12, each=3, max_waiting=100, first=chance.choice((1, 3)))
    places = [f"{number}.test" for number in range(8)]
    resting: set[str] = set()
    begun: list[tuple[str, bool]] = []  # and whether it stands aside
    for _ in range(600):
        place = chance.choice(places)
        match chance.randrange(9):
            case 0 | 1 | 2:
                slots.wait(task(place))
            case 3 if begun:
                at, aside = begun.pop(chance.randrange(len(begun)))
                slots.leave(
                    at,
                    well=chance.choice((True, True, None, False)),
                    aside=aside,
                    crowded=chance.random() < 0.3,
                    made=chance.choice((None, SLOW, SLOW, QUICK)),
                )
            case 4 if begun:
                number = chance.randrange(len(begun))
                at, aside = begun[number]
                begun[number] = at, aside or slots.stand_aside(at)
            case 5 if begun:
                at, aside = begun.pop()
                slots.park(at, aside=aside)
                slots.unpark(at)
            case 6:
                resting ^= {place}
            case 8:
                slots.answers_slowly(place, 0.8, 0.4)
            case 7:
                slots.forgive(chance.choice((None, place)))
        awake = [each for each in slots._waiting if each not in resting]
        unproven = sum(slots._busy(each) for each in slots._taken if each not in slots._well)
        assert slots._unproven == unproven
        if slots._reserve_reached():
            awake = [each for each in awake if each in slots._well]
        might = [each for each in awake if slots._taken[each] < slots._seats_of(each)]
        pays = [] if slots._scarce() else [each for each in awake if slots._another_pays(each)]
        free = slots.free
        found = slots.take(resting.__contains__)
        assert found is not None or not might or free <= 0
        if found is not None:
            assert found.lease.next_hop in (*might, *pays)
            assert free > 0
            begun.append((found.lease.next_hop, False))


def test_a_follower_has_the_slot_of_the_one_before_it_whatever_that_was() -> None:
    slots = Slots(total=4, each=1, max_waiting=100, first=1)
    for _ in range(3):
        slots.wait(task("a"))
    assert slots.take() is not None
    for aside in (False, True):
        if aside:
            assert slots.stand_aside("a")
        before = slots.free, slots.taken("a"), slots.queued("a")
        assert slots.follower("a") is not None
        slots.take_follower("a")
        slots.hand_on("a", well=True, crowded=False, made=QUICK)
        assert (slots.free, slots.taken("a"), slots.queued("a")) == (before[0], before[1], before[2] - 1)
    assert slots.follower("a") is None
    slots.leave("a", well=True, aside=True)
    assert (slots.free, slots.taken("a")) == (4, 0)


def test_others_come_before_a_follower_where_all_slots_are_taken() -> None:
    slots = Slots(total=2, each=2, max_waiting=100, first=1)
    for next_hop in ("a", "b", "a"):
        slots.wait(task(next_hop))
    assert slots.take() is not None
    assert slots.take() is not None
    assert slots.follower("a") is not None, "nobody else waits for a slot of all"
    slots.wait(task("c"))
    assert slots.follower("a") is None


def test_a_place_with_more_slots_than_it_should_have_gets_no_follower() -> None:
    slots = Slots(total=10, each=4, max_waiting=100, first=4)
    for _ in range(6):
        slots.wait(task("a"))
    for _ in range(4):
        assert slots.take() is not None
    slots.leave("a", well=False)
    assert slots.taken("a") == 3
    assert slots.follower("a") is None


def test_a_slow_place_has_followers_in_all_its_sessions() -> None:
    slots = Slots(total=10, each=4, max_waiting=100, first=1)
    for _ in range(9):
        slots.wait(task("a"))
    assert slots.take() is not None
    slots.answers_slowly("a", 0.8, 0.4)
    slots.leave("a", well=True, made=SLOW)
    assert [slots.take() is not None for _ in range(3)] == [True, True, True]
    assert slots.follower("a") is not None
