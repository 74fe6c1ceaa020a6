"""Roll-ups of sessions: what is counted, and what is bounded."""

from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult
from letterlock.tlsrpt.report import CountedFailure, PolicyResults, SessionFailure
from letterlock.tlsrpt.tally import DAY_SECONDS, MAX_FAILURES, Group, TlsTally
from tests.tlsrpt.reports import DAY, EXPIRED, FAILURE, STS, SUCCESS, TLSA

NOON = (DAY + 0.5) * DAY_SECONDS


def test_rfc8460_4_4_sessions_are_counted_by_day_domain_and_policy() -> None:
    tally = TlsTally()
    for result, moment in ((SUCCESS, NOON), (FAILURE, NOON), (FAILURE, NOON), (SUCCESS, NOON + DAY_SECONDS)):
        tally.add(result, moment)
    results = {group: counts.results(group.policy) for group, counts in tally}
    assert results == {
        Group(DAY, "receiver.example", STS): PolicyResults(
            policy=STS, successful=1, failed=2, failures=(CountedFailure(EXPIRED, 2),)
        ),
        Group(DAY, "receiver.example", TLSA): PolicyResults(policy=TLSA, successful=3, failed=0),
        Group(DAY + 1, "receiver.example", STS): PolicyResults(policy=STS, successful=1, failed=0),
        Group(DAY + 1, "receiver.example", TLSA): PolicyResults(policy=TLSA, successful=1, failed=0),
    }


def test_days_change_at_midnight_utc() -> None:
    tally = TlsTally()
    tally.add(SUCCESS, (DAY + 1) * DAY_SECONDS - 0.001)
    tally.add(SUCCESS, (DAY + 1) * DAY_SECONDS)
    assert {group.day for group, _ in tally} == {DAY, DAY + 1}


def test_too_many_kinds_of_failure_are_counted_without_their_details() -> None:
    tally = TlsTally()
    for number in range(5 * MAX_FAILURES):
        failure = EXPIRED._replace(receiving_ip=f"192.0.2.{number}", receiving_host=f"{number}.example")
        tally.add(SessionResult("a.example", (PolicyOutcome(STS, succeeded=False, failures=(failure,)),)), NOON)
    ((group, counts),) = tally
    results = counts.results(group.policy)
    assert results.failed == 5 * MAX_FAILURES
    assert len(results.failures) == MAX_FAILURES + 1
    assert results.failures[0] == CountedFailure(SessionFailure("certificate-expired"), 4 * MAX_FAILURES)


def test_too_many_domains_are_lost_and_counted() -> None:
    tally = TlsTally(max_groups=10)
    for number in range(100):
        tally.add(SessionResult(f"{number}.example", (PolicyOutcome(STS, succeeded=True),)), NOON)
    assert (len(tally), tally.lost) == (10, 90)


def test_merged_tallies_are_one_tally() -> None:
    whole, part, other = TlsTally(), TlsTally(), TlsTally()
    for tally in (whole, part):
        tally.add(FAILURE, NOON)
        tally.add(SUCCESS, NOON)
    for tally in (whole, other):
        tally.add(FAILURE, NOON)
    for group, counts in other:
        part.merge(group, counts)
    assert dict(part) == dict(whole)
