"""For how long a message is tried, whatever the clocks of the machine do meanwhile."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from letterlock.queue.age import NEW, Age, Reading
from letterlock.queue.settle import UNMEASURED_WAITS, RetrySchedule, settle
from letterlock.queue.tasks import DeliveryTask, OutcomeKind, Settlement
from tests.queue.messages import ANN, attempt, envelope, outcome, task

DAY = 86_400.0
IN_2026 = 1_790_000_000.0
SCHEDULE = RetrySchedule(first_seconds=300, maximum_seconds=4000)
HIGHEST_WAIT = 4000.0 * 1.1


def accepted(at: float, lifetime: float = 5 * DAY) -> DeliveryTask:
    return replace(task(ANN), envelope=replace(envelope("M1", ANN), accepted_at=at, expires_at=at + lifetime))


def deferred(leased: DeliveryTask, reading: Reading, schedule: RetrySchedule = SCHEDULE) -> Settlement:
    made = attempt(leased, outcome(ANN, OutcomeKind.DEFERRED), at=reading.wall)
    return settle(leased, made, now=reading.wall, schedule=schedule, reading=reading)


def again(leased: DeliveryTask, settlement: Settlement) -> DeliveryTask:
    return replace(leased, attempts=leased.attempts + 1, age=settlement.age)


def test_rfc5321_4_5_4_1_a_message_accepted_in_1970_is_tried_for_five_days_after_the_clock_is_right() -> None:
    leased = accepted(30.0)
    first = deferred(leased, Reading(31.0, 31.0, "a"))
    leased = again(leased, first)
    monotonic, attempts = 60.0, 1
    settlement = deferred(leased, Reading(IN_2026, monotonic, "a"))
    while settlement.deferred:
        assert settlement.next_attempt_at is not None
        leased, attempts = again(leased, settlement), attempts + 1
        monotonic += settlement.next_attempt_at - (IN_2026 + monotonic - 60)
        settlement = deferred(leased, Reading(IN_2026 + monotonic - 60, monotonic, "a"))
    assert 31 + 5 * DAY <= monotonic < 31 + 5 * DAY + 1
    assert attempts > 100
    assert settlement.failed[0].text.startswith("gave up after 5 days")


def test_the_first_attempt_is_never_the_last_for_its_age() -> None:
    for leased in (accepted(0.0), accepted(IN_2026 + DAY), accepted(0.0, lifetime=0.0)):
        settlement = deferred(leased, Reading(IN_2026, 5.0, "a"))
        assert settlement.deferred
        assert settlement.failed == ()


def test_a_clock_that_was_ahead_at_accept_makes_no_message_immortal() -> None:
    leased = accepted(IN_2026 + 20 * 365 * DAY)
    leased = again(leased, deferred(leased, Reading(IN_2026, 10.0, "a")))
    assert deferred(leased, Reading(IN_2026 + 5 * DAY, 10.0 + 5 * DAY, "a")).failed


def test_after_a_boot_counts_what_the_schedule_explains_and_not_what_the_clock_says() -> None:
    leased = replace(again(accepted(0.0), deferred(accepted(0.0), Reading(100.0, 100.0, "a"))), attempts=1)
    after = deferred(leased, Reading(IN_2026, 5.0, "b"))
    assert after.deferred, "a boot in 1970, an attempt, a boot with the right time"
    assert after.age.seconds == UNMEASURED_WAITS * 300
    back = deferred(again(leased, after), Reading(50.0, 9.0, "c"))
    assert back.age.seconds == after.age.seconds, "and a boot in 1970 again counts nothing"


def test_a_restart_of_the_server_alone_loses_no_time() -> None:
    leased = again(accepted(IN_2026), deferred(accepted(IN_2026), Reading(IN_2026, 1000.0, "a")))
    later = deferred(leased, Reading(IN_2026 + 2 * DAY, 1000.0 + 2 * DAY, "a"))
    assert later.age.seconds == 2 * DAY


def test_the_last_attempt_is_not_made_twice_for_rounding() -> None:
    leased = replace(accepted(IN_2026, lifetime=1000.0), attempts=3, age=Age(0.1 + 0.2, Reading(IN_2026, 0.7, "a")))
    due = deferred(leased, Reading(IN_2026 + 0.3, 1.0, "a")).next_attempt_at
    assert due is not None
    nearly = replace(leased, age=Age(999.9999, Reading(IN_2026, 0.7, "a")))
    assert deferred(nearly, Reading(IN_2026, 0.7, "a")).failed


def test_a_task_without_an_age_begins_now() -> None:
    assert NEW.grown(Reading(5.0, 6.0, "x"), at_most=1.0) == Age(0.0, Reading(5.0, 6.0, "x"))


Step = tuple[str, float]
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("jump"), st.floats(-60 * 365 * DAY, 60 * 365 * DAY)),
        st.tuples(st.just("boot"), st.floats(0, 30 * DAY)),  # off for so long
        st.tuples(st.just("late"), st.floats(0, 3 * DAY)),  # the queue has much to do
        st.tuples(st.just("wait"), st.just(0.0)),
    ),
    max_size=40,
)


@given(steps=_STEPS, start=st.sampled_from([0.0, IN_2026]), lifetime=st.sampled_from([600.0, DAY, 5 * DAY]))
def test_no_clock_gives_mail_up_before_it_was_tried_for_its_lifetime_or_keeps_it_for_ever(
    steps: list[Step], start: float, lifetime: float
) -> None:
    """True time passes by waits and delays; the wall clock jumps as it likes; boots start another monotonic clock."""
    wall, true, tried, boots, booted_at = start, 0.0, 0.0, 0, 0.0
    leased = accepted(wall, lifetime)
    settlement = deferred(leased, Reading(wall, true, "0"))
    for kind, value in [*steps, *[("wait", 0.0)] * 400]:
        assert settlement.next_attempt_at is not None
        wait = min(max(settlement.next_attempt_at - wall, 0.0), HIGHEST_WAIT)
        leased = again(leased, settlement)
        if kind == "boot":
            true, wall, boots = true + value, wall + value, boots + 1
            booted_at = true
        passed = wait + (value if kind == "late" else 0.0)
        true, wall, tried = true + passed, wall + passed, tried + passed
        wall += value if kind == "jump" else 0.0
        settlement = deferred(leased, Reading(wall, true - booted_at, str(boots)))
        if settlement.failed:
            break
    assert settlement.failed, "no message is immortal"
    assert leased.attempts >= 1
    assert tried + boots * UNMEASURED_WAITS * HIGHEST_WAIT >= lifetime - 1
