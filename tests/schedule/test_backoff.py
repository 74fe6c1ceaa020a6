"""Places that failed again and again."""

from letterlock.deliver.outcomes import deferred
from letterlock.queue.tasks import RecipientOutcome
from letterlock.schedule.backoff import FIRST_SECONDS, MAX_REMEMBERED, MAX_SECONDS, PATIENCE, Backoff
from tests.deliver.world import ANN

REFUSED = deferred(ANN, "4.4.1", "cannot connect")
BUSY = RecipientOutcome(
    recipient=ANN, kind=REFUSED.kind, status="4.7.0", text="421 too many connections", slow_down=True
)


def test_a_few_failures_are_nothing_more_are_a_rest() -> None:
    backoff = Backoff()
    for _ in range(PATIENCE - 1):
        backoff.failed("place", 100, REFUSED)
        assert backoff.of("place", 100) is None
    backoff.failed("place", 100, REFUSED)
    rest = backoff.of("place", 100)
    assert rest is not None
    assert (rest.until, rest.heard, rest.down) == (100 + FIRST_SECONDS, REFUSED, False)
    assert backoff.of("place", 100 + FIRST_SECONDS) is None
    assert backoff.of("other", 100) is None
    assert backoff.next_end(100) == 100 + FIRST_SECONDS


def test_rests_double_up_to_the_longest_and_a_place_is_down_by_then() -> None:
    backoff, now, spans = Backoff(), 0.0, []
    for _ in range(PATIENCE + 8):
        backoff.failed("place", now, REFUSED)
        if (rest := backoff.of("place", now)) is not None:
            spans.append(rest.span)
            now = rest.until
    assert spans == [1, 2, 4, 8, 16, MAX_SECONDS, MAX_SECONDS, MAX_SECONDS, MAX_SECONDS]
    backoff.failed("place", now, REFUSED)
    rest = backoff.of("place", now)
    assert rest is not None
    assert rest.down


def test_one_that_goes_well_ends_it() -> None:
    backoff = Backoff()
    for _ in range(PATIENCE):
        backoff.failed("place", 0, REFUSED)
    backoff.went_well("place")
    assert backoff.of("place", 0) is None
    backoff.failed("place", 0, REFUSED)
    assert backoff.of("place", 0) is None, "counted from the start"


def test_deliveries_that_end_during_the_rest_do_not_lengthen_it() -> None:
    backoff = Backoff()
    for _ in range(PATIENCE + 9):
        backoff.failed("place", 0, REFUSED)
    rest = backoff.of("place", 0)
    assert rest is not None
    assert rest.span == FIRST_SECONDS


def test_who_asks_for_less_mail_gets_a_rest_at_once() -> None:
    backoff = Backoff()
    backoff.failed("place", 0, BUSY)
    assert backoff.of("place", 0) is not None


def test_a_clock_that_was_set_back_ends_a_rest() -> None:
    backoff = Backoff()
    backoff.failed("place", 1_000_000, BUSY)
    assert backoff.of("place", 0) is None
    assert backoff.next_end(0) is None


def test_only_so_many_places_are_remembered() -> None:
    backoff = Backoff()
    for number in range(MAX_REMEMBERED + 1):
        backoff.failed(f"place {number}", 0, BUSY)
    assert backoff.of("place 0", 0) is None
    assert backoff.of(f"place {MAX_REMEMBERED}", 0) is not None


def test_a_flush_forgets_one_place_or_all() -> None:
    backoff = Backoff()
    for place in ("one", "two", "three"):
        for _ in range(PATIENCE):
            backoff.failed(place, 0, REFUSED)
    backoff.forget("one")
    assert [backoff.of(place, 0) is None for place in ("one", "two", "three")] == [True, False, False]
    backoff.forget(None)
    assert backoff.next_end(0) is None
