"""The contract of the database of reports that several workers share: counts add up, and each report has one sender."""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from letterlock.mailauth.dmarc.aggregate import PublishedPolicy, ReportRow
from letterlock.mailauth.dmarc.writing import Observation
from letterlock.queue.store import NewerStore, StoreFailed
from letterlock.state import report_store
from letterlock.state.report_store import FILE, ReportStore, SendingMark
from letterlock.state.shared_state import STATE_ENGINES, open_state
from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult
from letterlock.tlsrpt.report import SessionFailure
from letterlock.tlsrpt.tally import DAY_SECONDS, MAX_FAILURES, TlsTally
from tests.tlsrpt.reports import DAY, EXPIRED, FAILURE, REPORT, STS, SUCCESS

NOON = (DAY + 0.5) * DAY_SECONDS
MARK = SendingMark("tls", DAY, "receiver.example", "mailto:a@receiver.example")


@pytest.fixture(params=["memory", *STATE_ENGINES])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ReportStore, ReportStore]]:
    """One database as two workers see it."""
    if request.param == "memory":
        state = open_state("", None)
        yield state.reports(), state.reports()
        await state.close()
        return
    ours, theirs = open_state(request.param, tmp_path), open_state(request.param, tmp_path)
    yield ours.reports(), theirs.reports()
    await ours.close()
    await theirs.close()


def observed(domain: str, address: str, policy: str = "none") -> Observation:
    row = ReportRow(source_ip=address, count=1, disposition="none", dkim="pass", spf="fail", header_from=domain)
    return Observation(PublishedPolicy(domain=domain, p=policy), row)


async def test_what_workers_count_adds_up_in_any_order(both: tuple[ReportStore, ReportStore]) -> None:
    chance = random.Random(7)
    whole = TlsTally()
    work = []
    for _ in range(40):
        part = TlsTally()
        for _ in range(chance.randrange(1, 20)):
            failure = EXPIRED._replace(receiving_ip=f"192.0.2.{chance.randrange(4)}")
            failed = SessionResult("b.example", (PolicyOutcome(STS, succeeded=False, failures=(failure,)),))
            result = chance.choice((SUCCESS, FAILURE, failed))
            moment = NOON + chance.randrange(2) * DAY_SECONDS
            whole.add(result, moment)
            part.add(result, moment)
        work.append(chance.choice(both).add_tls(part))
    await asyncio.gather(*work)
    for store in both:
        for group, counts in whole:
            assert counts.results(group.policy) in await store.tls_results(group.day, group.domain)
        assert await store.tls_domains(DAY) == ["b.example", "receiver.example"]
        assert await store.tls_domains(DAY, "b.example") == ["receiver.example"]
        assert await store.tls_hosts(DAY) == ["mx.receiver.example"]
        ((found),) = await store.tls_results_of_host(DAY, "mx.receiver.example")
        assert found.domain == "receiver.example"


async def test_messages_add_up_and_the_last_policy_is_stated(both: tuple[ReportStore, ReportStore]) -> None:
    ours, theirs = both
    await ours.add_dmarc(Counter({(DAY, observed("a.example", "192.0.2.1")): 3}))
    await theirs.add_dmarc({(DAY, observed("a.example", "192.0.2.1", "reject")): 2})
    await ours.add_dmarc({(DAY + 1, observed("a.example", "192.0.2.1")): 1})
    found = await ours.dmarc_rows(DAY, "a.example")
    assert found is not None
    policy, rows = found
    assert policy.p == "reject"
    assert [row.count for row in rows] == [5]
    assert await theirs.dmarc_domains(DAY) == ["a.example"]
    assert await theirs.dmarc_rows(DAY, "b.example") is None


async def test_a_report_has_one_sender_and_so_has_each_retry(both: tuple[ReportStore, ReportStore]) -> None:
    assert sorted(await asyncio.gather(*(store.claim(MARK) for store in both for _ in range(5)))) == [False] * 9 + [
        True
    ]
    assert await both[0].due(NOON) == []
    await both[0].failed(MARK, NOON, "answered 500")
    (due,) = await both[1].due(NOON)
    assert due == MARK
    assert sorted(await asyncio.gather(*(store.reclaim(due) for store in both for _ in range(5)))) == [False] * 9 + [
        True
    ]
    assert not await both[0].reclaim(due)
    assert await both[0].due(NOON) == []
    (sent,) = await both[0].sent()
    assert (sent.mark.tries, sent.note) == (2, "answered 500")


async def test_a_report_that_comes_twice_is_kept_once(both: tuple[ReportStore, ReportStore]) -> None:
    assert await both[0].receive(REPORT, "file", NOON)
    assert not await both[1].receive(REPORT, "mail", NOON + 1)
    (found,) = await both[1].received()
    assert (found.domain, found.good, found.bad) == ("receiver.example", 19, 4)
    assert await both[1].received_report(found.number) == REPORT
    assert await both[1].received_report(99) is None
    assert await both[1].received(domain="other.example") == []


async def test_what_is_forgotten_is_gone_for_both(both: tuple[ReportStore, ReportStore]) -> None:
    tally = TlsTally()
    tally.add(FAILURE, NOON)
    await both[0].add_tls(tally)
    await both[0].claim(MARK)
    await both[1].forget(DAY)
    assert await both[0].tls_domains(DAY)
    await both[1].forget(DAY + 1)
    assert not await both[0].tls_domains(DAY)
    assert await both[0].claim(MARK)


async def test_a_day_is_bounded_and_what_finds_no_room_is_counted(
    both: tuple[ReportStore, ReportStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_store, "MAX_GROUPS_A_DAY", 10)
    tally = TlsTally()
    for number in range(30):
        tally.add(SessionResult(f"{number}.example", (PolicyOutcome(STS, succeeded=True),)), NOON)
    await both[0].add_tls(tally)
    await both[1].add_tls(tally)  # those that are there are counted on
    assert len(await both[0].tls_domains(DAY)) == 10
    assert await both[0].losses() == [(DAY, "sessions", 40)]


async def test_failures_of_one_policy_are_bounded(both: tuple[ReportStore, ReportStore]) -> None:
    for number in range(3 * MAX_FAILURES):
        tally = TlsTally()
        failure = EXPIRED._replace(receiving_host=f"{number}.example")
        tally.add(SessionResult("a.example", (PolicyOutcome(STS, succeeded=False, failures=(failure,)),)), NOON)
        await both[number % 2].add_tls(tally)
    (results,) = await both[0].tls_results(DAY, "a.example")
    assert results.failed == sum(each.sessions for each in results.failures) == 3 * MAX_FAILURES
    assert results.failures[0].failure == SessionFailure("certificate-expired")


async def test_a_file_that_is_none_is_set_aside_and_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    await ReportStore.open(tmp_path).close()
    assert (tmp_path / FILE).with_suffix(".damaged").exists()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerStore):
        ReportStore.open(tmp_path)


async def test_damaged_rows_are_an_error_and_no_crash(tmp_path: Path) -> None:
    store = ReportStore.open(tmp_path)
    tally = TlsTally()
    tally.add(FAILURE, NOON)
    await store.add_tls(tally)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("UPDATE tls_group SET policy = 'x' || id")
        connection.commit()
    with pytest.raises(StoreFailed, match="damaged"):
        await store.tls_results(DAY, "receiver.example")
    await store.close()
