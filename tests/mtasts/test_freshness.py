"""The memory of policies: RFC 8461 sections 3.1, 3.3, 5.1, 8.3 and 10.2."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mtasts import (
    Absent,
    Change,
    Conclusion,
    Fetch,
    Fetched,
    FetchFailed,
    FetchFailure,
    InvalidSTSRecord,
    Known,
    KnownPolicy,
    Mode,
    NoSTSRecord,
    PastFailure,
    PolicyTrouble,
    PolicyUnavailable,
    StsPolicy,
    StsRecord,
    TxtFailed,
    TxtResult,
    after_fetch,
    next_step,
)

DOMAIN, NOW, DAY = "example.org", 1_800_000_000.0, 86_400.0
BLOCKED = FetchFailed(FetchFailure.FETCH, "no answer")
MISSING, INVALID, FAILED = NoSTSRecord(), InvalidSTSRecord("two records"), TxtFailed("timeout")
NOT_THERE: tuple[NoSTSRecord | InvalidSTSRecord | TxtFailed, ...] = (MISSING, INVALID, FAILED)


def text(mode: str = "enforce", max_age: int = 604_800, mx: str = "mx.example.org") -> Fetched:
    return Fetched(f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {max_age}\n".encode())


def known(**changes: object) -> KnownPolicy:
    """A policy fetched a tenth of a day ago, to be refreshed in a day, that holds for a week."""
    policy = StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=("mx.example.org",))
    good = KnownPolicy(
        domain=DOMAIN,
        id="1",
        policy=policy,
        fetched_at=NOW - 8_640,
        expires_at=NOW + 7 * DAY,
        refresh_at=NOW + DAY,
        history=(Change(at=NOW - 8_640, old_mode=None, old_id=None, new_mode=Mode.ENFORCE, new_id="1"),),
    )
    return replace(good, **changes)  # type: ignore[arg-type]  # fields by name


def withdrawn(**changes: object) -> KnownPolicy:
    return known(policy=StsPolicy(mode=Mode.NONE, max_age_seconds=604_800, mx=()), **changes)


EXPIRED = known(expires_at=NOW)


def step(before: KnownPolicy | None, txt: TxtResult, past: PastFailure | None = None) -> Conclusion | Fetch:
    return next_step(DOMAIN, before, past, txt, NOW)


def concluded(before: KnownPolicy | None, txt: TxtResult, past: PastFailure | None = None) -> Conclusion:
    found = step(before, txt, past)
    assert isinstance(found, Conclusion)
    return found


def fetched(
    before: KnownPolicy | None, txt: TxtResult, outcome: Fetched | FetchFailed, fraction: float = 0.0
) -> Conclusion:
    found = step(before, txt)
    assert isinstance(found, Fetch)
    return after_fetch(found, outcome, NOW, fraction)


def policy_of(conclusion: Conclusion) -> Known:
    assert isinstance(conclusion.evidence, Known)
    return conclusion.evidence


def remembered(conclusion: Conclusion) -> KnownPolicy:
    assert conclusion.remember is not None
    return conclusion.remember


def test_rfc8461_3_1_without_a_record_there_is_no_policy() -> None:
    assert concluded(None, MISSING) == Conclusion(Absent(), None)
    assert concluded(None, INVALID) == Conclusion(Absent("two records"), None)


def test_rfc8461_3_1_a_failed_lookup_is_not_an_absence() -> None:
    assert concluded(None, FAILED) == Conclusion(PolicyUnavailable("timeout"), None)


def test_rfc8461_3_3_a_new_policy_is_fetched_and_kept() -> None:
    conclusion = fetched(None, StsRecord("7"), text())
    evidence, entry = policy_of(conclusion), remembered(conclusion)
    assert (evidence.id, evidence.from_cache, evidence.suspicious, evidence.sign) == ("7", False, False, None)
    assert (entry.fetched_at, entry.expires_at) == (NOW, NOW + 604_800)
    assert evidence.policy.mx == ("mx.example.org",)
    first = Change(at=NOW, old_mode=None, old_id=None, new_mode=Mode.ENFORCE, new_id="7")
    assert entry.history == (first,)
    assert conclusion.failure is None


def test_rfc8461_3_3_while_the_id_is_the_same_nothing_is_fetched() -> None:
    conclusion = concluded(known(), StsRecord("1"))
    evidence = policy_of(conclusion)
    assert (evidence.from_cache, evidence.trouble, evidence.suspicious) == (True, None, False)
    assert conclusion.remember == known()


@pytest.mark.parametrize("other", ["2", "0", "11"])
def test_rfc8461_5_1_another_id_is_fetched_at_once(other: str) -> None:
    conclusion = fetched(known(), StsRecord(other), text("testing"))
    assert policy_of(conclusion).policy.mode is Mode.TESTING
    change = Change(at=NOW, old_mode=Mode.ENFORCE, old_id="1", new_mode=Mode.TESTING, new_id=other)
    assert remembered(conclusion).history == (*known().history, change)


def test_rfc8461_3_3_an_expired_policy_is_fetched_anew_under_the_same_id() -> None:
    conclusion = fetched(EXPIRED, StsRecord("1"), text())
    assert not policy_of(conclusion).from_cache
    assert remembered(conclusion).history == known().history


@pytest.mark.parametrize("before", [None, EXPIRED])
@pytest.mark.parametrize("kind", list(FetchFailure))
def test_rfc8461_3_3_no_policy_and_none_remembered_is_as_without_mta_sts(
    before: KnownPolicy | None, kind: FetchFailure
) -> None:
    conclusion = fetched(before, StsRecord("1"), FetchFailed(kind, "no"))
    assert conclusion.evidence == PolicyUnavailable("no", kind)
    assert conclusion.failure == FetchFailed(kind, "no")


def test_rfc8461_3_3_a_text_that_is_no_policy_is_a_failed_fetch() -> None:
    conclusion = fetched(None, StsRecord("1"), Fetched(b"<html>"))
    assert isinstance(conclusion.evidence, PolicyUnavailable)
    assert conclusion.evidence.kind is FetchFailure.INVALID
    assert conclusion.failure is not None
    kept = fetched(known(), StsRecord("2"), Fetched(b"<html>"))
    assert policy_of(kept).policy == known().policy


@pytest.mark.parametrize("txt", NOT_THERE)
def test_rfc8461_10_2_a_blocked_txt_lookup_does_not_shake_off_the_policy(txt: TxtResult) -> None:
    conclusion = concluded(known(), txt)
    evidence = policy_of(conclusion)
    assert evidence.policy == known().policy
    assert (evidence.from_cache, evidence.suspicious, evidence.since) == (True, True, NOW)
    assert evidence.trouble
    assert remembered(conclusion).txt_blocked_since == NOW


def test_rfc8461_10_2_each_kind_of_blocking_has_its_sign() -> None:
    signs = [policy_of(concluded(known(), txt)).sign for txt in NOT_THERE]
    assert signs == [PolicyTrouble.TXT_MISSING, PolicyTrouble.TXT_INVALID, PolicyTrouble.TXT_FAILED]
    due = known(refresh_at=NOW)
    assert policy_of(fetched(due, StsRecord("1"), BLOCKED)).sign is PolicyTrouble.REFRESH_FAILED
    assert policy_of(fetched(due, StsRecord("2"), BLOCKED)).sign is PolicyTrouble.UPDATE_FAILED
    assert policy_of(fetched(due, FAILED, BLOCKED)).sign is PolicyTrouble.TXT_FAILED


@pytest.mark.parametrize("txt", NOT_THERE)
def test_rfc8461_3_1_an_expired_policy_holds_no_longer(txt: TxtResult) -> None:
    assert not isinstance(concluded(EXPIRED, txt).evidence, Known)


def test_rfc8461_10_2_it_is_told_since_when_the_record_is_missing() -> None:
    before = known(txt_blocked_since=NOW - 5 * DAY)
    assert policy_of(concluded(before, MISSING)).since == NOW - 5 * DAY
    assert remembered(concluded(before, StsRecord("1"))).txt_blocked_since is None


@pytest.mark.parametrize("txt", [StsRecord("1"), *NOT_THERE])
def test_rfc8461_10_2_a_policy_is_refreshed_in_time_with_or_without_a_record(txt: TxtResult) -> None:
    conclusion = fetched(known(refresh_at=NOW), txt, text("testing"))
    assert remembered(conclusion).expires_at == NOW + 604_800
    assert remembered(conclusion).id == "1"
    assert policy_of(conclusion).suspicious is not isinstance(txt, StsRecord)


@pytest.mark.parametrize("policy_id", ["1", "2"])
def test_rfc8461_10_2_a_blocked_fetch_does_not_shake_off_the_policy(policy_id: str) -> None:
    conclusion = fetched(known(refresh_at=NOW), StsRecord(policy_id), BLOCKED, fraction=0.5)
    evidence, entry = policy_of(conclusion), remembered(conclusion)
    assert evidence.policy == known().policy
    assert (evidence.id, evidence.from_cache, evidence.suspicious, evidence.since) == ("1", True, True, NOW)
    assert evidence.trouble is not None
    assert "no answer" in evidence.trouble
    assert (entry.expires_at, entry.last_failure, entry.https_blocked_since) == (known().expires_at, "no answer", NOW)
    assert entry.refresh_at == NOW + 4_500
    again = fetched(replace(entry, refresh_at=NOW), StsRecord(policy_id), FetchFailed(FetchFailure.WEBPKI, "expired"))
    assert (remembered(again).https_blocked_since, remembered(again).last_failure) == (NOW, "expired")


def test_rfc8461_10_2_between_two_tries_the_trouble_stays_visible_and_a_good_fetch_ends_it() -> None:
    before = known(last_failure="no answer", https_blocked_since=NOW - 60, refresh_at=NOW + 1)
    evidence = policy_of(concluded(before, StsRecord("1")))
    assert (evidence.sign, evidence.since, evidence.suspicious) == (PolicyTrouble.REFRESH_FAILED, NOW - 60, True)
    entry = remembered(fetched(replace(before, refresh_at=NOW), StsRecord("1"), text()))
    assert (entry.last_failure, entry.https_blocked_since) == (None, None)


def test_rfc8461_3_3_a_failed_fetch_waits_five_minutes() -> None:
    for before, expected in ((None, PolicyUnavailable), (EXPIRED, PolicyUnavailable), (known(), Known)):
        recent = PastFailure(at=NOW - 299.9, failure=BLOCKED)
        assert isinstance(concluded(before, StsRecord("2"), recent).evidence, expected)
        assert isinstance(step(before, StsRecord("2"), replace(recent, at=NOW - 300)), Fetch)
        assert isinstance(step(before, StsRecord("2"), replace(recent, at=NOW + 1)), Fetch)  # the clock was set back
    waiting = concluded(known(refresh_at=NOW), FAILED, PastFailure(at=NOW - 1, failure=BLOCKED))
    assert policy_of(waiting).sign is PolicyTrouble.TXT_FAILED


def test_rfc8461_8_3_mode_none_and_then_no_record_is_a_withdrawal() -> None:
    assert concluded(withdrawn(), MISSING) == Conclusion(Absent(), None)
    assert fetched(known(refresh_at=NOW), MISSING, text("none")) == Conclusion(Absent(), None)


@pytest.mark.parametrize("txt", [INVALID, FAILED, StsRecord("1")])
def test_rfc8461_10_2_mode_none_raises_no_alarm(txt: TxtResult) -> None:
    evidence = policy_of(concluded(withdrawn(), txt))
    assert evidence.policy.mode is Mode.NONE
    assert not evidence.suspicious


def test_rfc8461_5_a_policy_of_mode_none_replaces_what_was_remembered() -> None:
    conclusion = fetched(known(), StsRecord("2"), text("none"))
    assert policy_of(conclusion).policy.mode is Mode.NONE
    assert remembered(conclusion).history[-1].new_mode is Mode.NONE


@pytest.mark.parametrize(
    ("max_age", "fraction", "seconds"),
    [
        (31_557_600, 0.0, DAY),
        (31_557_600, 1.0, 1.5 * DAY),
        (604_800, 0.5, 1.25 * DAY),
        (86_400, 0.0, 43_200),
        (86_400, 1.0, 64_800),
        (0, 0.5, 0),
    ],
)
def test_rfc8461_10_2_refreshes_are_daily_and_well_before_the_end(
    max_age: int, fraction: float, seconds: float
) -> None:
    assert remembered(fetched(None, StsRecord("1"), text(max_age=max_age), fraction)).refresh_at == NOW + seconds


def test_a_failing_refresh_is_tried_more_often_towards_the_end() -> None:
    nearly = known(refresh_at=NOW, expires_at=NOW + 2_400)
    assert remembered(fetched(nearly, StsRecord("1"), BLOCKED)).refresh_at == NOW + 600
    nearly = known(refresh_at=NOW, expires_at=NOW + 10)
    assert remembered(fetched(nearly, StsRecord("1"), BLOCKED)).refresh_at == NOW + 300


def test_a_policy_of_no_age_holds_for_the_question_it_was_fetched_for() -> None:
    conclusion = fetched(None, StsRecord("1"), text(max_age=0))
    assert policy_of(conclusion).expires_at == NOW
    assert isinstance(step(conclusion.remember, StsRecord("1")), Fetch)


def test_the_history_holds_the_last_20_changes() -> None:
    entry = known()
    for number in range(2, 40):
        entry = remembered(fetched(entry, StsRecord(str(number)), text()))
    assert [change.new_id for change in entry.history] == [str(number) for number in range(20, 40)]


def test_other_mx_patterns_under_the_same_id_are_a_change_too() -> None:
    entry = remembered(fetched(known(refresh_at=NOW), StsRecord("1"), text(mx="*.attacker.example")))
    assert entry.policy.mx == ("*.attacker.example",)
    assert entry.history[-1] == Change(at=NOW, old_mode=Mode.ENFORCE, old_id="1", new_mode=Mode.ENFORCE, new_id="1")
    longer = remembered(fetched(known(refresh_at=NOW), StsRecord("1"), text(max_age=700_000)))
    assert longer.history == known().history


TXTS = st.sampled_from([StsRecord("1"), StsRecord("2"), *NOT_THERE])
PASTS = st.none() | st.builds(PastFailure, at=st.floats(NOW - 1_000, NOW + 1_000), failure=st.just(BLOCKED))
ENTRIES = st.builds(known, expires_at=st.floats(NOW - DAY, NOW + DAY), refresh_at=st.floats(NOW - DAY, NOW + DAY))


@given(ENTRIES, TXTS, PASTS)
def test_rfc8461_10_2_no_blocking_whatsoever_shakes_off_a_policy_that_holds(
    before: KnownPolicy, txt: TxtResult, past: PastFailure | None
) -> None:
    found = step(before, txt, past)
    if isinstance(found, Fetch):
        found = after_fetch(found, BLOCKED, NOW, 0.5)
    holds = before.expires_at > NOW
    assert isinstance(found.evidence, Known) is holds
    if isinstance(found.evidence, Known):
        assert found.evidence.policy == before.policy
        assert found.evidence.expires_at == before.expires_at
        assert (found.evidence.sign is None) == (found.evidence.trouble is None)
        assert found.evidence.suspicious is (found.evidence.sign is not None)
