"""What an attempt means for the queue."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.mail.wishes import Event, RecipientWishes, Wishes
from letterlock.queue.age import Age, Reading
from letterlock.queue.settle import MAX_ATTEMPTS_AS_ASKED, RetrySchedule, all_delivered, settle
from letterlock.queue.tasks import DeliveryTask, OutcomeKind
from tests.queue.messages import ANN, BEN, CAT, SENDER, attempt, outcome, task

SCHEDULE = RetrySchedule(first_seconds=300, maximum_seconds=4000)


def test_every_outcome_goes_where_it_belongs() -> None:
    leased = task(ANN, BEN, CAT)
    made = attempt(
        leased,
        outcome(ANN, OutcomeKind.DELIVERED),
        outcome(BEN, OutcomeKind.FAILED),
        outcome(CAT, OutcomeKind.DEFERRED),
    )
    settlement = settle(leased, made, now=10, schedule=SCHEDULE)
    assert [each.recipient for each in settlement.delivered] == [ANN]
    assert [each.recipient for each in settlement.failed] == [BEN]
    assert [each.recipient for each in settlement.deferred] == [CAT]
    assert settlement.next_attempt_at == pytest.approx(310)


def test_a_recipient_that_the_attempt_forgot_is_deferred_and_not_lost() -> None:
    leased = task(ANN, BEN)
    settlement = settle(leased, attempt(leased, outcome(ANN, OutcomeKind.DELIVERED)), now=10, schedule=SCHEDULE)
    assert [each.recipient for each in settlement.deferred] == [BEN]
    assert settlement.deferred[0].status.startswith("4.")


def test_nothing_is_tried_again_when_all_is_final() -> None:
    leased = task(ANN)
    settlement = settle(leased, attempt(leased, outcome(ANN, OutcomeKind.DELIVERED)), now=10, schedule=SCHEDULE)
    assert settlement.next_attempt_at is None


def tried(leased: DeliveryTask, seconds: float, now: float) -> DeliveryTask:
    """The task as it is when it has been tried for so long, and for the last time just now."""
    return replace(leased, attempts=max(leased.attempts, 1), age=Age(seconds, Reading(now, now)))


def test_rfc5321_4_5_4_1_after_the_lifetime_the_message_is_given_up_with_the_last_reason() -> None:
    leased = tried(task(ANN, expires_at=5 * 86400), 4 * 86400, 4 * 86400)
    made = attempt(leased, outcome(ANN, OutcomeKind.DEFERRED, "greylisted"))
    settlement = settle(leased, made, now=5 * 86400, schedule=SCHEDULE)
    assert settlement.deferred == ()
    assert settlement.failed[0].status == "5.4.7"
    assert settlement.failed[0].text == "gave up after 5 days; the last reason: greylisted"


def test_the_last_attempt_is_made_at_the_expiry() -> None:
    leased = tried(task(ANN, attempts=20, expires_at=1000), 800, 800)
    made = attempt(leased, outcome(ANN, OutcomeKind.DEFERRED))
    assert settle(leased, made, now=900, schedule=SCHEDULE).next_attempt_at == 1000


def test_rfc5321_4_5_4_1_the_wait_doubles_up_to_its_maximum() -> None:
    assert [SCHEDULE.delay(attempts) for attempts in (1, 2, 3, 4, 5, 500)] == [300, 600, 1200, 2400, 4000, 4000]


@given(attempts=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_the_wait_is_never_zero_and_never_far_above_its_maximum(attempts: int, chance: float) -> None:
    assert 300 <= SCHEDULE.delay(attempts, chance) <= 4400


WISHES = Wishes(recipients={ANN: RecipientWishes(frozenset({Event.SUCCESS})), BEN: RecipientWishes(frozenset())})


def test_rfc3461_5_2_2_whoever_asked_for_success_is_told_where_the_next_host_confirms_nothing() -> None:
    leased = task(ANN, BEN, CAT)
    leased = replace(leased, envelope=replace(leased.envelope, wishes=WISHES))
    made = attempt(leased, *(outcome(each, OutcomeKind.DELIVERED) for each in (ANN, BEN, CAT)))
    settlement = settle(leased, made, now=10, schedule=SCHEDULE)
    assert [each.recipient for each in settlement.relayed] == [ANN]
    assert [each.recipient for each in settlement.delivered] == [BEN, CAT]


@pytest.mark.parametrize(("confirms", "sender"), [(True, SENDER), (False, None)])
def test_rfc3461_5_2_1_nobody_is_told_by_us_where_the_next_host_does_it_or_nobody_asked(
    confirms: bool, sender: Mailbox | None
) -> None:
    leased = task(ANN)
    leased = replace(leased, envelope=replace(leased.envelope, wishes=WISHES, reverse_path=sender))
    made = attempt(leased, replace(outcome(ANN, OutcomeKind.DELIVERED), confirms=confirms))
    settlement = settle(leased, made, now=10, schedule=SCHEDULE)
    assert (len(settlement.delivered), settlement.relayed) == (1, ())


def test_a_route_may_give_mail_up_sooner_than_the_queue_and_never_later() -> None:
    leased = task(ANN, expires_at=1000)
    made = attempt(leased, outcome(ANN, OutcomeKind.DEFERRED, "busy"))
    leased = tried(leased, 400, 400)
    sooner = RetrySchedule(lifetime_seconds=500)
    assert settle(leased, made, now=499, schedule=sooner).next_attempt_at == 500
    assert settle(leased, made, now=500, schedule=sooner).failed
    later = RetrySchedule(lifetime_seconds=5000)
    assert settle(leased, made, now=999, schedule=later).deferred
    assert settle(leased, made, now=1000, schedule=later).failed


def test_what_servers_asked_for_counts_while_attempts_are_few() -> None:
    asked = replace(outcome(ANN, OutcomeKind.DEFERRED), retry_after=60.0)
    other = outcome(BEN, OutcomeKind.DEFERRED)
    assert SCHEDULE.wait(4, [asked]) == 60
    assert SCHEDULE.wait(4, [asked, replace(asked, retry_after=3600.0)]) == 3600, "the longest, where all asked"
    assert SCHEDULE.wait(4, [asked, other]) == 60
    assert SCHEDULE.wait(1, [replace(asked, retry_after=3600.0), other]) == 300, "who did not ask is not kept waiting"
    assert SCHEDULE.wait(4, [other]) == SCHEDULE.delay(4)
    assert SCHEDULE.wait(MAX_ATTEMPTS_AS_ASKED + 1, [asked]) == SCHEDULE.delay(MAX_ATTEMPTS_AS_ASKED + 1)


@given(st.lists(st.tuples(st.sampled_from((ANN, BEN, CAT)), st.sampled_from(OutcomeKind)), max_size=4), st.booleans())
def test_what_is_settled_without_a_look_at_the_clocks_is_settled_as_all_else(
    found: list[tuple[Mailbox, OutcomeKind]], wishes: bool
) -> None:
    leased = replace(task(ANN, BEN), attempts=2)
    if wishes:
        leased = replace(leased, envelope=replace(leased.envelope, wishes=WISHES))
    made = attempt(leased, *(outcome(recipient, kind) for recipient, kind in found))
    at_once = all_delivered(leased, made)
    assert at_once in (None, settle(leased, made, now=9e9, schedule=SCHEDULE))
    if found == [(ANN, OutcomeKind.DELIVERED), (BEN, OutcomeKind.DELIVERED)] and not wishes:
        assert at_once is not None
