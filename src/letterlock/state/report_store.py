"""What reports are made of, and reports of others, in one database for all workers.

A SQLite file beside the queue, and not in it: losing it loses no mail, and `letterlock reports` may read and write it
while the server runs (a rollback journal, not the WAL). What workers add is added up by the database, in one
transaction each, so no worker's copy can win over another's. The worker that inserts the mark of a report is its only
sender, and the mark is on disk before anything is sent.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from letterlock.mailauth.dmarc.aggregate import AggregateReport, PublishedPolicy, ReportRow
from letterlock.mailauth.dmarc.writing import Observation
from letterlock.queue.store import StoreFailed
from letterlock.sqlite.named import read_statements
from letterlock.sqlite.side_file import SideFile
from letterlock.sqlite.writer import Writer
from letterlock.state.report_rows import (
    DamagedReport,
    aggregate_report_of,
    failure_of,
    failure_text,
    packed_report,
    policy_of,
    policy_text,
    published_of,
    published_text,
    row_of,
    row_text,
    tls_report_of,
)
from letterlock.tlsrpt.report import CountedFailure, PolicyResults, SessionFailure, TlsReport
from letterlock.tlsrpt.tally import MAX_FAILURES, Counts, Group

FILE = "reports.db"
VERSION = 1  # of the schema
MAX_GROUPS_A_DAY = 200_000  # policies of domains: more than one server sends to in a day, and some 200 MB
MAX_ROWS = 5_000  # of one domain in a DMARC report: what comes after that is counted as lost
MAX_RECEIVED = 50_000  # reports of others; the oldest are forgotten first
MAX_RECEIVED_OCTETS = 1 << 30  # of all of them, packed
ROOM_SHARE = 0.05  # dropped at once to make room
LOCK_SECONDS = 20.0  # chosen: a large roll-up holds the file for a second or two
PAGE = 500  # domains that are looked at in one go

_Found = TypeVar("_Found")
_SQL = read_statements((files("letterlock.state") / "sql" / "reports.sql").read_text())
_FILE = SideFile("reports", _SQL, VERSION, LOCK_SECONDS)


@dataclass(frozen=True, slots=True, order=True)
class SendingMark:
    """A report on its way: `kind` is tls, tls-host or dmarc; `uri` whom it is for; `tries` how often it was tried."""

    kind: str
    day: int
    domain: str
    uri: str
    tries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SentReport:
    """What became of a report: `next_at` is when it is tried again (seconds since 1970), `note` why."""

    mark: SendingMark
    next_at: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedReport:
    """A report of others, in short. `good` and `bad` are sessions or messages. Times are seconds since 1970."""

    number: int
    kind: str
    organization: str
    report_id: str
    domain: str
    began_at: int
    ended_at: int
    received_at: float
    good: int
    bad: int
    source: str


@dataclass(frozen=True, slots=True)
class DomainResults:
    """Results under one policy, and the recipients' domain that they are of."""

    domain: str
    results: PolicyResults


class ReportStore:
    """The database. Open one with `ReportStore.open`. Every verb may raise StoreFailed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._writer = Writer(connection)

    @classmethod
    def open(cls, directory: Path | None) -> "ReportStore":
        """Open, or make, the file in a directory; without one, a store in memory. Raises StoreFailed."""
        return cls(_FILE.open(None if directory is None else directory / FILE))

    async def close(self) -> None:
        """Finish what was asked for, and close the file."""
        await self._writer.close()

    # --- what is counted ---------------------------------------------------------------------------------------------

    async def add_tls(self, tally: Iterable[tuple[Group, Counts]], lost: int = 0, *, what: str = "sessions") -> None:
        """Add sessions to what is counted already. What finds no room is counted as lost, as `lost` is."""
        groups = list(tally)

        def work(db: sqlite3.Connection) -> None:
            room = _Room(db, "tls")
            for group, counts in groups:
                policy = policy_text(group.policy)
                if room.for_another(group.day, group.domain, policy):
                    _add_tls(db, group, policy, counts)
                else:
                    _lose(db, group.day, what, counts.successful + counts.failed)
            if lost:
                _lose(db, max((group.day for group, _ in groups), default=0), what, lost)

        await self._writer.do_aside(work)

    async def lose(self, day: int, what: str, number: int) -> None:
        """Count what was lost: sessions, datagrams, messages."""
        await self._writer.do_aside(lambda db: _lose(db, day, what, number))

    async def losses(self) -> Sequence[tuple[int, str, int]]:
        """Everything that was lost: the day, what, and how many."""
        return await self._writer.do_aside(lambda db: db.execute(_SQL["losses"]).fetchall())

    async def tls_domains(self, day: int, after: str = "") -> Sequence[str]:
        """A page of the domains with sessions on a day, in order, behind `after`."""
        return await self._names("tls_domains", day, after)

    async def tls_hosts(self, day: int, after: str = "") -> Sequence[str]:
        """The same of the TLSA base domains."""
        return await self._names("tls_hosts", day, after)

    async def tls_results(self, day: int, domain: str) -> Sequence[PolicyResults]:
        """What a report to a domain holds."""
        return [each.results for each in await self._results("tls_by_domain", day, domain)]

    async def tls_results_of_host(self, day: int, host: str) -> Sequence[DomainResults]:
        """What a report to an MX host holds: results by its TLSA records, of all domains."""
        return await self._results("tls_by_host", day, host)

    async def add_dmarc(self, observations: Mapping[tuple[int, Observation], int]) -> None:
        """Add messages by day to what is counted already; the policy seen last is the one that is stated."""
        seen = list(observations.items())

        def work(db: sqlite3.Connection) -> None:
            room = _Room(db, "dmarc")
            for (day, each), count in seen:
                if not room.for_another(day, each.policy.domain):
                    _lose(db, day, "messages", count)
                    continue
                values = (day, each.policy.domain, published_text(each.policy))
                (number,) = db.execute(_SQL["add_dmarc"], values).fetchone()
                added = db.execute(_SQL["add_dmarc_row"], (number, row_text(each.row), count, MAX_ROWS))
                if not added.rowcount:
                    _lose(db, day, "messages", count)

        await self._writer.do_aside(work)

    async def dmarc_domains(self, day: int, after: str = "") -> Sequence[str]:
        """A page of the policy domains of messages on a day, in order, behind `after`."""
        return await self._names("dmarc_domains", day, after)

    async def dmarc_rows(self, day: int, domain: str) -> tuple[PublishedPolicy, Sequence[ReportRow]] | None:
        """What a DMARC report to a domain holds; None: nothing."""

        def work(db: sqlite3.Connection) -> tuple[PublishedPolicy, Sequence[ReportRow]] | None:
            found = db.execute(_SQL["dmarc_by_domain"], (day, domain)).fetchone()
            if found is None:
                return None
            rows = db.execute(_SQL["dmarc_rows"], (found[0],)).fetchall()
            return published_of(found[1]), [row_of(*each) for each in rows]

        return await self._read(work)

    # --- what is sent ------------------------------------------------------------------------------------------------

    async def claim(self, mark: SendingMark) -> bool:
        """Mark a report as sent, before it is; False when somebody has done so."""
        values = (mark.kind, mark.day, mark.domain, mark.uri)
        return await self._writer.do(lambda db: db.execute(_SQL["claim"], values).fetchone() is not None)

    async def failed(self, mark: SendingMark, next_at: float | None, note: str) -> None:
        """A try failed; `next_at` is when it may be tried again, None: never."""
        values = (mark.kind, mark.day, mark.domain, mark.uri, next_at, note)
        await self._writer.do(lambda db: db.execute(_SQL["retry"], values))

    async def reclaim(self, mark: SendingMark) -> bool:
        """Mark another try of a report that waits; False when somebody else has."""
        values = (mark.kind, mark.day, mark.domain, mark.uri, mark.tries)
        return await self._writer.do(lambda db: db.execute(_SQL["reclaim"], values).fetchone() is not None)

    async def due(self, now: float, limit: int = 50) -> Sequence[SendingMark]:
        """Reports whose next try is due, with the number of tries so far."""
        rows = await self._writer.do(lambda db: db.execute(_SQL["due"], (now, limit)).fetchall())
        return [SendingMark(*row) for row in rows]

    async def sent(self, limit: int = 1_000) -> Sequence[SentReport]:
        """What was sent or tried, the latest days first."""
        rows = await self._writer.do_aside(lambda db: db.execute(_SQL["sent"], (limit,)).fetchall())
        return [SentReport(mark=SendingMark(*row[:5]), next_at=row[5], note=row[6]) for row in rows]

    # --- what is received --------------------------------------------------------------------------------------------

    async def receive(self, report: TlsReport | AggregateReport, source: str, now: float) -> bool:
        """Keep a report of somebody else; False when it is known already. The oldest make room."""
        values = (*_summary(report), now, *_counts(report), source, packed_report(report))

        def work(db: sqlite3.Connection) -> bool:
            if db.execute(_SQL["receive"], values).fetchone() is None:
                return False
            number, octets = db.execute(_SQL["received_octets"]).fetchone()
            if number > MAX_RECEIVED or octets > MAX_RECEIVED_OCTETS:
                db.execute(_SQL["forget_oldest_received"], (max(1, int(number * ROOM_SHARE)),))
            return True

        return await self._writer.do_aside(work)

    async def received(
        self, *, domain: str = "", kind: str = "", since: float = 0.0, limit: int = 1_000
    ) -> Sequence[ReceivedReport]:
        """Reports of others in short, the latest first."""
        values = (domain, kind, since, limit)
        rows = await self._writer.do_aside(lambda db: db.execute(_SQL["received_list"], values).fetchall())
        names = tuple(ReceivedReport.__dataclass_fields__)
        return [ReceivedReport(**dict(zip(names, row, strict=True))) for row in rows]

    async def received_report(self, number: int) -> TlsReport | AggregateReport | None:
        """One of them, whole; None when there is none of that number."""

        def work(db: sqlite3.Connection) -> TlsReport | AggregateReport | None:
            found = db.execute(_SQL["received_one"], (number,)).fetchone()
            if found is None:
                return None
            return tls_report_of(found[1]) if found[0] == "tls" else aggregate_report_of(found[1])

        return await self._read(work)

    # --- everything --------------------------------------------------------------------------------------------------

    async def forget(self, before_day: int) -> None:
        """Drop what was counted before a day, and the marks of its reports."""

        def work(db: sqlite3.Connection) -> None:
            for name in ("forget_tls", "forget_dmarc", "forget_sending", "forget_loss"):
                db.execute(_SQL[name], (before_day,))

        await self._writer.do_aside(work)

    async def _names(self, statement: str, day: int, after: str) -> Sequence[str]:
        rows = await self._writer.do_aside(lambda db: db.execute(_SQL[statement], (day, after, PAGE)).fetchall())
        return [name for (name,) in rows]

    async def _results(self, statement: str, day: int, name: str) -> Sequence[DomainResults]:
        def work(db: sqlite3.Connection) -> Sequence[DomainResults]:
            rows = db.execute(_SQL[statement], (day, name)).fetchall()
            return [DomainResults(domain, _results(db, number, *others)) for number, domain, *others in rows]

        return await self._read(work)

    async def _read(self, work: Callable[[sqlite3.Connection], _Found]) -> _Found:
        try:
            return await self._writer.do_aside(work)
        except DamagedReport as error:
            raise StoreFailed(f"the database of reports is damaged, in {error}") from None


class _Room:
    """Whether there is room for another group on a day; the number of groups is asked for once."""

    def __init__(self, db: sqlite3.Connection, kind: str) -> None:
        self._db = db
        self._kind = kind
        self._numbers: dict[int, int] = {}

    def for_another(self, day: int, *names: str) -> bool:
        """Room for this one, or it is there already."""
        if day not in self._numbers:
            (self._numbers[day],) = self._db.execute(_SQL[f"count_{self._kind}"], (day,)).fetchone()
        if self._numbers[day] < MAX_GROUPS_A_DAY:
            self._numbers[day] += 1  # too many perhaps, as it may be there; asked again by the next transaction
            return True
        return self._db.execute(_SQL[f"knows_{self._kind}"], (day, *names)).fetchone() is not None


def _add_tls(db: sqlite3.Connection, group: Group, policy: str, counts: Counts) -> None:
    kind, about = str(group.policy.type), group.policy.domain
    values = (group.day, group.domain, kind, about, policy, counts.successful, counts.failed)
    (number,) = db.execute(_SQL["add_tls"], values).fetchone()
    for failure, sessions in counts.failures.items():
        if not db.execute(
            _SQL["add_tls_failure"], (number, failure_text(failure), sessions, MAX_FAILURES)
        ).rowcount:  # the rest is counted by its type alone, and of types there are few
            plain = failure_text(SessionFailure(failure.result_type))
            db.execute(_SQL["add_tls_failure"], (number, plain, sessions, 2 * MAX_FAILURES))


def _lose(db: sqlite3.Connection, day: int, what: str, number: int) -> None:
    db.execute(_SQL["lose"], (day, what, number))


def _results(db: sqlite3.Connection, number: int, policy: str, successful: int, failed: int) -> PolicyResults:
    failures = db.execute(_SQL["tls_failures"], (number,)).fetchall()
    return PolicyResults(
        policy=policy_of(policy),
        successful=successful,
        failed=failed,
        failures=tuple(CountedFailure(failure_of(text), sessions) for text, sessions in failures),
    )


def _summary(report: TlsReport | AggregateReport) -> tuple[str, str, str, str, int, int]:
    if isinstance(report, TlsReport):
        domains = [each.policy.domain for each in report.policies]
        first = next((each.policy.domain for each in report.policies if each.policy.type != "tlsa"), "")
        domain = first or next(iter(domains), "")
        return "tls", report.organization, report.report_id, domain, report.begin, report.end
    return "dmarc", report.org_name, report.report_id, report.policy.domain, report.begin, report.end


def _counts(report: TlsReport | AggregateReport) -> tuple[int, int]:
    if isinstance(report, TlsReport):
        return report.successful, report.failed
    return report.messages - report.failed, report.failed
