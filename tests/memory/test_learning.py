"""A memory is built from several successful deliveries over days; an attacker neither raises nor lowers it."""

from dataclasses import replace

import pytest

from letterlock.memory.comparison import MAX_HOSTS, AnnouncedTraits, differences, expectation
from letterlock.memory.learning import MAX_CHANGES, MAX_KEYS, Sighting, VerifiedKey, compared, learn
from letterlock.memory.memory_text import DamagedRecord, from_json, to_json
from letterlock.memory.remembered import Difference, DomainMemory
from letterlock.memory.traces import DAY_SECONDS, LIFETIME_SECONDS, NEEDED_DAYS, Trace, extended
from tests.memory.lives import CLEAR, DOMAIN, EVIL, GOOD, HOST, KEY, NOW, after, daily, remembered

HOUR = 3_600.0
HERE = AnnouncedTraits(host=HOST, signed=False, vouched=False, dane=False, mta_sts=False)
ELSEWHERE = replace(HERE, host="mx.evil.example")


def expects_tls(memory: DomainMemory | None, host: str = HOST, now: float = NOW) -> bool:
    return memory is not None and expectation(memory, host, now).tls is not None


# --- built slowly -----------------------------------------------------------------------------------------------------


def test_one_delivery_is_no_memory() -> None:
    assert not expects_tls(after([GOOD]))


def test_many_deliveries_on_one_day_are_no_memory() -> None:
    assert not expects_tls(after(replace(GOOD, at=NOW + number * 60) for number in range(500)))


def test_four_days_in_a_row_are_no_memory() -> None:
    assert not expects_tls(remembered(days=NEEDED_DAYS))


def test_several_days_over_two_weeks_are_one() -> None:
    times = (0.0, 5.0, 10.0, 14.0)
    memory = after(replace(GOOD, at=NOW - (14.0 - day) * DAY_SECONDS) for day in times)
    assert expects_tls(memory)
    expected = expectation(memory, HOST, NOW)
    assert expected.certificate is not None
    assert expected.keys == (KEY.sha256,)


def test_a_delivery_a_month_is_enough_in_the_end() -> None:
    memory = after(replace(GOOD, at=NOW - number * 30 * DAY_SECONDS) for number in (4, 3, 2, 1, 0))
    assert expects_tls(memory)
    assert expects_tls(memory, now=NOW + 60 * DAY_SECONDS)


def test_it_fades_with_time_and_with_nothing_else() -> None:
    memory = remembered()
    assert expects_tls(memory, now=NOW + LIFETIME_SECONDS)
    assert not expects_tls(memory, now=NOW + LIFETIME_SECONDS + 1)


def test_after_a_long_silence_half_of_the_days_count() -> None:
    trace = extended(Trace(8, NOW - 100 * DAY_SECONDS, NOW), NOW + LIFETIME_SECONDS + 10)
    assert trace == Trace(5, NOW - 100 * DAY_SECONDS, NOW + LIFETIME_SECONDS + 10)


# --- not lowered ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seen",
    [
        replace(CLEAR, missing=frozenset({Difference.TLS})),
        replace(GOOD, delivered=False, encrypted=False, missing=frozenset({Difference.TLS}), held=True),
        replace(GOOD, certificate=None, missing=frozenset({Difference.CERTIFICATE})),
        replace(CLEAR, host="mx.evil.example", hosts=("mx.evil.example",)),
    ],
    ids=["in clear", "failed", "other certificate", "in clear elsewhere"],
)
def test_no_number_of_failures_or_clear_deliveries_lowers_it(seen: Sighting) -> None:
    before = remembered()
    memory = after((replace(seen, at=NOW + number * HOUR) for number in range(1, 1000)), before)
    then = NOW + 80 * DAY_SECONDS
    assert expectation(memory, HOST, then).tls is not None
    assert expectation(memory, HOST, then).certificate == expectation(before, HOST, then).certificate
    assert expectation(memory, HOST, then).keys == (KEY.sha256,)
    assert HOST in {each.name for each in memory.known_hosts(then)}


def test_a_failure_is_not_even_a_first_sighting() -> None:
    assert learn(None, replace(GOOD, delivered=False)) is None
    memory = after([replace(GOOD, at=NOW - 14 * DAY_SECONDS)])
    assert after((replace(each, delivered=False) for each in daily(GOOD)), memory).tls == memory.tls


def test_cleartext_before_tls_held_does_not_excuse_a_host_that_has_tls() -> None:
    """An attacker strips STARTTLS now and then while the domain is new."""
    sightings = daily(GOOD)
    sightings[3:3] = [replace(CLEAR, at=sightings[2].at + HOUR)]
    assert expects_tls(after(sightings))


def test_a_host_that_never_had_tls_is_excused_and_so_is_its_domain() -> None:
    """One of two hosts speaks TLS: nothing can be said of the domain, and mail to the other one is not held in vain."""
    other = replace(CLEAR, host="old.example.org", hosts=(HOST, "old.example.org"))
    good = replace(GOOD, hosts=(HOST, "old.example.org"))
    memory = after(each for pair in zip(daily(good), daily(other), strict=True) for each in pair)
    assert expects_tls(memory)
    assert not expects_tls(memory, "old.example.org")
    assert not expects_tls(memory, "new.example.org")


# --- not raised, and the domain as against the host -------------------------------------------------------------------


def test_a_host_seen_once_is_not_the_domains() -> None:
    memory = after([EVIL], remembered())
    assert [each.name for each in memory.known_hosts(NOW)] == [HOST]
    assert differences(memory, ELSEWHERE, NOW, hold=True) == (Difference.HOST,)
    assert differences(memory, HERE, NOW, hold=True) == ()


def test_an_mx_forged_for_one_day_plants_nothing() -> None:
    before = remembered()
    forged = (replace(EVIL, at=NOW + number * HOUR, missing=frozenset({Difference.HOST})) for number in range(24))
    memory = learn(after(forged, before), replace(GOOD, at=NOW + 25 * HOUR))
    assert memory is not None
    assert differences(memory, ELSEWHERE, NOW + 26 * HOUR, hold=True) == (Difference.HOST,), (
        "the next forgery is noticed anew"
    )
    assert differences(memory, HERE, NOW + 26 * HOUR, hold=True) == ()


def test_a_planted_host_never_has_the_genuine_one_held() -> None:
    """Two weeks on the path, with a better certificate and DANE: what the attacker shows binds their own host."""
    evil = replace(EVIL, certificate=KEY, dane=True, hosts=("mx.evil.example",))
    bare = replace(GOOD, certificate=None)
    memory = after(each for pair in zip(daily(evil), daily(bare), strict=True) for each in pair)
    assert differences(memory, HERE, NOW, hold=True) == ()
    assert expectation(memory, HOST, NOW).certificate is None


def test_planted_hosts_do_not_crowd_out_the_genuine_one() -> None:
    many = tuple(f"mx{number}.evil.example" for number in range(100))
    flood = (replace(EVIL, host=each, hosts=(each,), at=NOW + number) for number, each in enumerate(many))
    memory = after(flood, remembered())
    assert len(memory.hosts) == MAX_HOSTS
    assert [each.name for each in memory.known_hosts(NOW + 100)] == [HOST]


def test_a_domain_is_known_by_tls_and_a_new_host_by_nothing_more() -> None:
    """An honest move: TLS is expected of any host, a verified certificate only of the one that had it."""
    expected = expectation(remembered(), "mx.new.example", NOW)
    assert expected.tls is not None
    assert expected.certificate is None


def test_a_host_that_signed_dns_or_a_policy_vouches_for_is_never_new() -> None:
    assert differences(remembered(), replace(ELSEWHERE, vouched=True), NOW, hold=True) == ()


# --- what the domain announces settles after a day, where it is proven or nothing waits for it ------------------------

NEW = replace(HERE, host="mx.new.example")


def moved(hours: float, step: float = 1.0, *, held: bool = False, last: Sighting = GOOD) -> DomainMemory:
    """Mail to a new host, tried each `step` hours until `hours` after the first time."""
    tries = int(hours / step) + 1
    sent = replace(EVIL, host="mx.new.example", hosts=("mx.new.example",), missing=frozenset({Difference.HOST}))
    sent = replace(sent, delivered=False, encrypted=False, held=True) if held else sent
    return after((replace(sent, at=NOW + number * step * HOUR) for number in range(tries)), remembered(last))


@pytest.mark.parametrize(("hours", "accepted"), [(1.0, False), (23.0, False), (24.0, True), (30.0, True)])
def test_a_move_is_news_for_a_day_while_memory_only_observes(hours: float, accepted: bool) -> None:
    assert (differences(moved(hours), NEW, NOW + hours * HOUR, hold=False) == ()) is accepted


@pytest.mark.parametrize("hours", [24.0, 30 * 24.0])
def test_an_mx_forged_for_days_is_held_for_days_and_the_alarm_goes_on(hours: float) -> None:
    """An attacker can forge unsigned DNS for as long as they like: only the operator, or the old hosts, end it."""
    memory, now = moved(hours, held=True), NOW + hours * HOUR
    assert differences(memory, NEW, now, hold=True) == (Difference.HOST,)
    [alarm] = memory.alarms(now)
    assert (alarm.since, alarm.last) == (NOW, now)
    assert alarm.ends() is None


def test_what_was_accepted_while_observing_is_not_where_mail_is_to_be_held() -> None:
    assert differences(moved(30.0), NEW, NOW + 30 * HOUR, hold=True) == (Difference.HOST,)


def test_a_host_that_mail_is_held_from_does_not_become_known_by_being_named_again_and_again() -> None:
    """Forged beside the genuine host: mail goes on to that one, and must not vouch for the other meanwhile."""
    both = replace(GOOD, hosts=("mx.new.example", HOST))
    ruled_out = replace(both, host="mx.new.example", delivered=False, missing=frozenset({Difference.HOST}), held=True)
    memory = remembered()
    for day in range(30):
        memory = after((replace(each, at=NOW + day * DAY_SECONDS) for each in (ruled_out, both)), memory)
    now = NOW + 30 * DAY_SECONDS
    assert [each.name for each in memory.known_hosts(now)] == [HOST]
    assert differences(memory, NEW, now, hold=True) == (Difference.HOST,)


def test_each_difference_that_settles_is_reported_once() -> None:
    reported = 0
    for hours in range(60):
        learned = compared(moved(float(hours)), moved(hours + 1.0))
        reported += len(learned.settled) if learned is not None else 0
        held = compared(moved(float(hours), held=True), moved(hours + 1.0, held=True))
        assert held is None or not held.settled
    assert reported == 1


def test_a_move_that_was_accepted_stays_so_in_a_quiet_domain() -> None:
    assert differences(moved(24.0), NEW, NOW + 40 * DAY_SECONDS, hold=False) == ()


def test_two_forgeries_a_day_apart_are_no_move() -> None:
    memory = moved(24.0, step=24.0)
    assert differences(memory, NEW, NOW + 24 * HOUR, hold=False) == (Difference.HOST,)


@pytest.mark.parametrize("held", [True, False])
def test_a_genuine_answer_in_between_ends_the_difference(held: bool) -> None:
    memory = after([replace(GOOD, at=NOW + 13 * HOUR)], moved(12.0, held=held))
    assert memory.change(Difference.HOST, "mx.new.example") is None


@pytest.mark.parametrize("what", [Difference.SIGNED, Difference.MTA_STS, Difference.DANE])
def test_rfc4035_5_4_what_is_proven_to_be_gone_settles_and_a_hidden_policy_does_not(what: Difference) -> None:
    full = replace(GOOD, signed=True, mta_sts=True, dane=True)
    announced = AnnouncedTraits(host=HOST, signed=True, vouched=True, dane=True, mta_sts=True)
    gone = {
        Difference.SIGNED: replace(announced, signed=False),
        Difference.MTA_STS: replace(announced, mta_sts=False),
        Difference.DANE: replace(announced, dane=False),
    }[what]
    memory = remembered(full)
    assert differences(memory, announced, NOW, hold=True) == ()
    assert differences(memory, gone, NOW, hold=True) == (what,)
    waits = replace(full, delivered=False, missing=frozenset({what}), held=True)
    waits = replace(waits, signed=gone.signed is True, mta_sts=gone.mta_sts is True, dane=gone.dane is True)
    waiting = after((replace(waits, at=NOW + number * HOUR) for number in range(25)), memory)
    left = (what,) if what is Difference.MTA_STS else ()
    assert differences(waiting, gone, NOW + 24 * HOUR, hold=True) == left
    back = after([replace(full, at=NOW + 26 * HOUR)], waiting)
    assert back.changes == ()


def test_tls_and_certificates_never_settle() -> None:
    lost = replace(CLEAR, missing=frozenset({Difference.TLS, Difference.CERTIFICATE}))
    memory = after((replace(lost, at=NOW + number * HOUR) for number in range(24 * 60)), remembered())
    assert expects_tls(memory, now=NOW + 60 * DAY_SECONDS)
    assert {each.what for each in memory.alarms(NOW + 60 * DAY_SECONDS)} == {Difference.TLS, Difference.CERTIFICATE}


# --- what an operator is told -----------------------------------------------------------------------------------------


def test_a_difference_begins_and_ends_once() -> None:
    lost = replace(CLEAR, missing=frozenset({Difference.TLS}))
    first = compared(remembered(), after([replace(lost, at=NOW + 1)], remembered()))
    assert first is not None
    assert [(each.what, each.since, each.count) for each in first.began] == [(Difference.TLS, NOW + 1, 1)]
    again = after([replace(lost, at=NOW + 2)], first.memory)
    assert compared(first.memory, again) is None
    held = after([replace(lost, at=NOW + 3, held=True)], again)
    begun = compared(again, held)
    assert begun is not None
    assert [each.held for each in begun.began] == [True], "that mail waits now is worth another line"
    back = compared(held, after([replace(GOOD, at=NOW + 4)], held))
    assert back is not None
    assert [(each.what, each.since) for each in back.ended] == [(Difference.TLS, NOW + 1)]


def test_a_difference_that_nobody_sees_any_more_is_no_alarm() -> None:
    memory = after([replace(CLEAR, missing=frozenset({Difference.TLS}))], remembered())
    assert memory.alarms(NOW + DAY_SECONDS)
    assert not memory.alarms(NOW + 8 * DAY_SECONDS)


# --- bounds, clocks, texts --------------------------------------------------------------------------------------------


def test_a_memory_has_bounds() -> None:
    wild = (
        replace(
            EVIL,
            host=f"mx{number}.evil.example",
            hosts=tuple(f"mx{number + more}.evil.example" for more in range(50)),
            at=NOW + number,
            certificate=VerifiedKey(f"{number:064x}", "x" * 255),
            missing=frozenset(Difference),
        )
        for number in range(300)
    )
    memory = after([*wild, *(replace(GOOD, certificate=VerifiedKey(f"{n:064x}", "")) for n in range(50))], remembered())
    assert len(memory.hosts) <= MAX_HOSTS
    assert len(memory.changes) <= MAX_CHANGES
    assert all(len(each.keys) <= MAX_KEYS for each in memory.hosts)
    assert len(to_json(memory)) < 20_000


@pytest.mark.parametrize("ahead", [-400 * DAY_SECONDS, -DAY_SECONDS, 400 * DAY_SECONDS, 40_000 * DAY_SECONDS])
def test_a_clock_that_is_wrong_for_a_while_loses_nothing(ahead: float) -> None:
    memory = after([replace(GOOD, at=NOW + ahead)], remembered())
    memory = after([replace(GOOD, at=NOW + HOUR)], memory)
    assert expects_tls(memory, now=NOW + 2 * HOUR)
    assert expectation(memory, HOST, NOW + 2 * HOUR).certificate is not None


def test_a_clock_set_back_makes_nothing_fade() -> None:
    assert expects_tls(remembered(), now=NOW - 1_000 * DAY_SECONDS)


def test_a_clock_far_ahead_makes_everything_fade_until_it_is_right_again() -> None:
    memory = remembered()
    assert not expects_tls(memory, now=NOW + 1_000 * DAY_SECONDS)
    assert expects_tls(memory, now=NOW + DAY_SECONDS)


def test_a_memory_survives_as_text() -> None:
    full = after(
        [*daily(replace(GOOD, signed=True, mta_sts=True, dane=True)), replace(EVIL, missing=frozenset(Difference))]
    )
    assert from_json(DOMAIN, to_json(full)) == full


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"domain":"other.example"}',
        '{"domain":"example.org","tls":{"days":"4"}}',
        "[" * 100_000,
        '{"domain":"example.org","hosts":[{"name":5}]}',
        '{"domain":"example.org","tls":{"days":1e999}}',
        '{"domain":"example.org","changes":[{"what":"wind"}]}',
        '{"domain":"example.org","hosts":[{"name":"a","keys":1}]}',
    ],
    ids=range(10),
)
def test_a_text_that_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(DamagedRecord):
        from_json(DOMAIN, text)
