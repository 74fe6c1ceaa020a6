"""Seats: fair shares, trouble and recovery."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from letterlock.queue.tasks import DeliveryTask
from letterlock.schedule.slots import Seats
from tests.deliver.world import make_task


def task(next_hop: str) -> DeliveryTask:
    return make_task(next_hop=next_hop)


def test_next_hops_take_turns() -> None:
    seats = Seats(total=4, each=4, max_waiting=100)
    for next_hop in ("a", "a", "a", "b", "b", "c"):
        assert seats.wait(task(next_hop))
    taken = [taken.lease.next_hop for _ in range(4) if (taken := seats.take())]
    assert taken == ["a", "b", "c", "a"]
    assert seats.take() is None
    assert seats.free == 0


def test_one_next_hop_has_only_its_seats() -> None:
    seats = Seats(total=10, each=2, max_waiting=100)
    for _ in range(5):
        seats.wait(task("a"))
    assert [seats.take() is not None for _ in range(3)] == [True, True, False]
    seats.leave("a", well=True)
    assert seats.take() is not None


def test_trouble_takes_seats_and_recovery_gives_them_back() -> None:
    seats = Seats(total=100, each=8, max_waiting=200)

    def capacity() -> int:
        for _ in range(8):
            seats.wait(task("a"))
        count = 0
        while seats.take() is not None:
            count += 1
        for _ in range(count):
            seats.leave("a", well=None)
        seats.clear()
        return count

    assert capacity() == 8
    counts = []
    for well in (False, False, False, False, True, True):
        seats.wait(task("a"))
        seats.take()
        seats.leave("a", well=well)
        counts.append(capacity())
    assert counts == [4, 2, 1, 1, 2, 3]
    assert seats.troubled("a")


def test_a_full_room_keeps_nobody_out_who_has_a_seat() -> None:
    seats = Seats(total=10, each=2, max_waiting=4)
    assert [seats.wait(task("a")) for _ in range(4)] == [True, True, False, False]
    assert [seats.wait(task("b")) for _ in range(4)] == [True, True, False, False]
    assert [seats.wait(task("c")) for _ in range(3)] == [True, True, False]


def test_clear_gives_back_who_waited() -> None:
    seats = Seats(total=1, each=1, max_waiting=10)
    seats.wait(task("a"))
    seats.wait(task("b"))
    assert [one.lease.next_hop for one in seats.clear()] == ["a", "b"]
    assert seats.take() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["wait", "take", "well", "badly", "untried"]))))
def test_seats_are_never_overbooked(moves: list[tuple[str, str]]) -> None:
    seats, taken = Seats(total=5, each=3, max_waiting=6), list[str]()
    for next_hop, move in moves:
        if move == "wait":
            seats.wait(task(next_hop))
        elif move == "take":
            if (one := seats.take()) is not None:
                taken.append(one.lease.next_hop)
        elif next_hop in taken:
            taken.remove(next_hop)
            seats.leave(next_hop, well={"well": True, "badly": False}.get(move))
        assert seats.free == 5 - len(taken) >= 0
        assert all(taken.count(each) <= 3 for each in "abc")


def test_next_hops_that_routes_lead_to_one_place_share_its_seats_and_its_trouble() -> None:
    seats = Seats(total=10, each=2, max_waiting=100, leads_to={"a.example": "relay", "b.example": "relay"}.__getitem__)
    tasks = [make_task(message_id=f"4F{number}", next_hop=f"{'ab'[number % 2]}.example") for number in range(4)]
    assert all(seats.wait(task) for task in tasks)
    assert [seats.take(), seats.take(), seats.take()] == [tasks[0], tasks[1], None]
    assert seats.queued("a.example") == seats.queued("b.example") == 2
    seats.leave("a.example", well=False)
    assert seats.troubled("b.example")
    assert seats.take() is None
    seats.leave("b.example", well=None)
    assert seats.take() == tasks[2]


def test_a_flush_gives_back_the_seats_that_were_lost() -> None:
    seats = Seats(total=10, each=4, max_waiting=10)
    for next_hop in ("a", "b"):
        seats.wait(task(next_hop))
        seats.take()
        seats.leave(next_hop, well=False)
    seats.forgive("a")
    assert (seats.troubled("a"), seats.troubled("b")) == (False, True)
    seats.forgive(None)
    assert not seats.troubled("b")


def test_a_place_may_have_seats_of_its_own_number() -> None:
    seats = Seats(total=10, each=4, max_waiting=100, exceptions={"small": 1, "large": 6})
    for place in ("small", "large", "usual"):
        for _ in range(8):
            assert seats.wait(task(place))
    taken = Counter(one.lease.next_hop for one in iter(seats.take, None))
    assert taken == {"small": 1, "large": 5, "usual": 4}, "ten in all"
    seats.leave("large", well=False)
    assert seats.troubled("large")
    seats.leave("small", well=False)
    assert not seats.troubled("small"), "one seat is the least"
    seats.forgive("large")
    assert not seats.troubled("large")


def test_where_a_place_rests_nobody_is_seated_and_who_waits_there_can_be_taken_out() -> None:
    seats = Seats(total=10, each=4, max_waiting=100)
    for place in ("resting", "awake"):
        for _ in range(3):
            seats.wait(task(place))
    seated = [one.lease.next_hop for one in iter(lambda: seats.take(lambda place: place == "resting"), None)]
    assert seated == ["awake"] * 3
    assert len(seats.take_out(lambda place: place == "resting", 2)) == 2
    assert seats.queued("resting") == 1
    assert seats.take_out(lambda place: place == "awake", 2) == []


def test_many_that_never_answer_cannot_hold_the_seats_of_those_that_did_well() -> None:
    seats = Seats(total=8, each=4, max_waiting=100)
    seats.wait(task("good"))
    assert seats.take() is not None
    seats.leave("good", well=True)
    for number in range(20):
        seats.wait(task(f"dead{number}"))
    assert len([*iter(seats.take, None)]) == 6, "a quarter is kept"
    for _ in range(3):
        seats.wait(task("good"))
    assert [one.lease.next_hop for one in iter(seats.take, None)] == ["good", "good"]


def test_seats_that_are_kept_are_kept_for_nobody_who_failed_since() -> None:
    seats = Seats(total=8, each=8, max_waiting=100)
    for well in (True, False):
        seats.wait(task("place"))
        assert seats.take() is not None
        seats.leave("place", well=well)
    for number in range(20):
        seats.wait(task(f"other{number}"))
    assert len([*iter(seats.take, None)]) == 8


def test_who_takes_long_stands_aside_and_keeps_the_seat_of_his_place_only() -> None:
    seats = Seats(total=2, each=2, max_waiting=100)
    for place in ("slow", "slow", "slow", "other"):
        seats.wait(task(place))
    seats.take()
    seats.take()
    seats.take()
    assert seats.free == 0
    assert seats.stand_aside("slow")
    assert seats.free == 1
    before = seats.free
    seats.leave("slow", well=False, aside=True)
    assert seats.free == before
    for _ in range(8):
        assert seats.stand_aside("slow")
    assert not seats.stand_aside("slow"), "four times as many as there are seats"
