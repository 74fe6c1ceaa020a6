"""Which places are slow, and when another session with them pays."""

from letterlock.queue.tasks import Attempt
from letterlock.schedule import paces
from letterlock.schedule.paces import Paces


def made(*, message: float, setup: float | None = None) -> Attempt:
    """A delivery that took so long, over a new session if it had a set-up."""
    ready = 100.0 if setup is None else 100.0 + setup
    return Attempt(
        message_id="4F2A1",
        next_hop="example.org",
        started_at=100.0,
        ended_at=ready + message,
        outcomes=(),
        connected_at=50.0 if setup is None else 100.0,
        ready_at=ready,
    )


def seen(*attempts: Attempt) -> Paces:
    """What is known of place `a` that answered slowly, after these deliveries."""
    found = Paces()
    found.answers_slowly("a", 0.8, 0.4)
    for each in attempts:
        found.saw("a", each)
    return found


def test_another_session_pays_where_half_of_a_set_up_is_waited_for_those_that_are_open() -> None:
    found = seen(made(setup=2.0, message=0.4))
    assert [found.another_pays("a", 1, waiting) for waiting in (2, 3)] == [False, True]
    assert [found.another_pays("a", 4, waiting) for waiting in (9, 11)] == [False, True]
    assert not found.another_pays("b", 1, 1000)


def test_only_an_answer_that_was_slow_makes_a_place_slow() -> None:
    """A delivery may have taken long because this machine was busy."""
    found = Paces()
    for each in (made(setup=60.0, message=60.0), made(message=60.0)):
        found.saw("a", each)
    assert not found.slow


def test_a_session_that_served_others_shows_only_how_long_a_message_takes() -> None:
    pace = seen(made(setup=2.0, message=0.8), made(message=0.4)).slow["a"]
    assert (round(pace.setup, 6), round(pace.message, 6)) == (2.0, 0.4)


def test_what_is_quicker_counts_at_once_and_what_is_slower_by_and_by() -> None:
    found = seen(made(setup=2.0, message=0.4), made(message=8.4))
    assert round(found.slow["a"].message, 6) == 2.4
    found.saw("a", made(message=0.3))
    assert round(found.slow["a"].message, 6) == 0.3


def test_a_place_that_is_quick_again_or_fails_is_slow_no_more() -> None:
    found = seen(made(setup=2.0, message=0.8), made(setup=0.2, message=0.1))
    assert not found.slow
    found.answers_slowly("a", 0.8, 0.4)
    found.forget("a")
    found.forget("a")
    assert not found.slow


def test_an_attempt_without_a_session_shows_nothing() -> None:
    nowhere = Attempt(message_id="4F2A1", next_hop="example.org", started_at=0.0, ended_at=60.0, outcomes=())
    assert seen(nowhere).slow == seen().slow


def test_what_a_clock_shows_that_was_set_back_meanwhile_does_not_count() -> None:
    found = seen(made(setup=2.0, message=0.8), made(message=-3600.0), made(setup=-3600.0, message=3600.0))
    assert found.slow["a"].message > 0.3
    assert found.slow["a"].setup == 2.0


def test_the_answer_to_ehlo_shows_what_to_expect_of_a_place_that_nobody_knows() -> None:
    found = seen()
    found.answers_slowly("a", 8.0, 4.0)  # it is known
    pace = found.slow["a"]
    assert (round(pace.setup, 6), round(pace.message, 6)) == (2.0, 0.4)


def test_only_so_many_places_are_remembered() -> None:
    found = Paces()
    for number in range(paces.MAX_REMEMBERED + 3):
        found.answers_slowly(f"{number}", 0.8, 0.4)
    assert len(found.slow) == paces.MAX_REMEMBERED
    assert "0" not in found.slow
