"""Message ids."""

import random

from letterlock.queue.ids import STEP_BITS, IdMaker


def test_ids_are_speakable() -> None:
    new_id = IdMaker(lambda: 1_800_000_000.0, lambda bits: 0)
    assert len(new_id()) == 21
    assert set(new_id()) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_ids_sort_by_time_even_when_the_clock_stands_or_jumps_back() -> None:
    times = iter([100.0, 100.0, 50.0, 101.0])
    new_id = IdMaker(lambda: next(times), lambda bits: 7)
    made = [new_id() for _ in range(4)]
    assert made == sorted(set(made))


def test_ids_sort_behind_those_of_13_characters_that_older_versions_made() -> None:
    new_id = IdMaker(lambda: 1_800_000_000.001, lambda bits: 0)
    assert "1MCC5RM00ZZZZ" < new_id() < "1MCC5RM020000"


def test_workers_in_the_same_millisecond_never_make_the_same_id() -> None:
    makers = [IdMaker(lambda: 1_800_000_000.0, random.SystemRandom().getrandbits) for _ in range(8)]
    made = [new_id() for new_id in makers for _ in range(2_000)]
    assert len(set(made)) == len(made), "with 20 bits 16,000 ids would have met a hundred times"


def test_the_next_id_is_no_guess_even_while_the_clock_stands() -> None:
    asked: list[int] = []

    def bits(count: int) -> int:
        asked.append(count)
        return 0

    new_id = IdMaker(lambda: 1.0, bits)
    new_id(), new_id()
    assert asked[-1] == STEP_BITS >= 40
