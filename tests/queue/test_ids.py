"""Message ids."""

from letterlock.queue.ids import IdMaker


def test_ids_are_short_and_speakable() -> None:
    new_id = IdMaker(lambda: 1_800_000_000.0, lambda bits: 0)
    assert len(new_id()) == 13
    assert set(new_id()) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_ids_sort_by_time_even_when_the_clock_stands_or_jumps_back() -> None:
    times = iter([100.0, 100.0, 50.0, 101.0])
    new_id = IdMaker(lambda: next(times), lambda bits: 7)
    made = [new_id() for _ in range(4)]
    assert made == sorted(set(made))
