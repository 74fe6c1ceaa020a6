"""Sends the reports of yesterday: spread over some hours, marked before they are sent, and retried a few times.

One process does this. The process that inserted a report's mark sends it, so a restart in between sends
nothing twice; a report whose sender ended between the mark and the sending is lost, which RFC 8460 prefers.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from letterlock.events import LogEvent
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.printable import printable
from letterlock.mailauth.dmarc.writing import ReportSource
from letterlock.ports import Clock
from letterlock.queue.store import StoreFailed
from letterlock.report.report_mail import ReportMail
from letterlock.report.reports_of_a_day import (
    InvalidOwnReport,
    dmarc_report,
    dmarc_report_mail,
    tls_report,
    tls_report_mail,
)
from letterlock.state.report_store import ReportStore, SendingMark
from letterlock.tlsrpt.report import TlsReport, packed
from letterlock.tlsrpt.tally import DAY_SECONDS

log = logging.getLogger("letterlock.reports")
LOOK_SECONDS = 60.0  # between two looks at whose time has come
FIRST_SECONDS = 900.0  # after midnight: workers have written down what they counted, clocks differ a little
SPREAD_SECONDS = 4 * 3600.0  # as mox does; RFC 8460 section 4.1 asks to spread
LATE_DAYS = 2  # RFC 8460 section 4.1: reports older than two days are of little use
MAX_UNKNOWN = 10_000  # domains whose addresses could not be found out, some 2 MB
ASKED_AGAIN = 20  # of these, at each look: a lookup that fails may take ten seconds
MAX_TRIES = 5  # of one report at one address
RETRY_SECONDS = 1_800.0  # doubled with each try: the last is four hours after the first
KEPT_DAYS = 10  # counts, to look at
TLS, TLS_HOST, DMARC = "tls", "tls-host", "dmarc"

Find = Callable[[str], Awaitable[Sequence[str] | None]]
"""The URIs for reports that a domain publishes; None where that cannot be found out now."""
Post = Callable[[str, bytes, str], Awaitable[str | None]]
"""POST a body of a type to an https: URI; None when it was taken, else why not."""
Accept = Callable[[ReportMail], Awaitable[None]]
"""Sign a report and put it into the queue. Raises StoreFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAuthors:
    """Who reports; None: nobody does. The name of an organization is for people."""

    tls: Mailbox | None
    tls_organization: str
    dmarc: Mailbox | None
    dmarc_organization: str


class _NothingToReport(Exception):
    """Nothing was counted, or all of it is in another report to the same address."""


class ReportSender:
    """Sends reports until cancelled: `run()` in a task."""

    def __init__(
        self,
        store: ReportStore,
        clock: Clock,
        authors: ReportAuthors,
        *,
        find_tls: Find,
        find_dmarc: Find,
        accept: Accept,
        post: Post,
    ) -> None:
        self._store = store
        self._find_tls = find_tls
        self._find_dmarc = find_dmarc
        self._clock = clock
        self._authors = authors
        self._accept = accept
        self._post = post
        self._looked_at = 0.0
        self._unknown: set[tuple[str, int, str]] = set()  # due, and their addresses could not be found out

    async def run(self) -> None:
        """Look at intervals whose time has come."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.send_due()
            except StoreFailed as error:
                log.warning("reports cannot be sent yet: %s", error)
            except Exception:
                log.exception("internal error while sending reports; they will be tried again")

    async def send_due(self) -> None:
        """Send what is due and was not sent; retry what failed; forget what is old."""
        now = self._clock.now()
        today = int(now // DAY_SECONDS)
        for day in range(today - LATE_DAYS, today):
            for kind in (TLS, TLS_HOST, DMARC):
                async for domain in self._domains(kind, day):
                    if self._looked_at < due_at(kind, day, domain) <= now:
                        await self._report(kind, day, domain)
        self._looked_at = now
        await self._look_again(today)
        for mark in await self._store.due(now):
            if await self._store.reclaim(mark):
                await self._send(SendingMark(mark.kind, mark.day, mark.domain, mark.uri, mark.tries + 1))
        await self._store.forget(today - KEPT_DAYS)

    async def _look_again(self, today: int) -> None:
        """Ask again for some addresses that could not be found out, as long as their reports are of use."""
        self._unknown = {each for each in self._unknown if each[1] >= today - LATE_DAYS}
        again = list(self._unknown)[:ASKED_AGAIN]
        self._unknown.difference_update(again)
        for kind, day, domain in again:
            await self._report(kind, day, domain)

    async def _domains(self, kind: str, day: int) -> AsyncIterator[str]:
        pages = {TLS: self._store.tls_domains, TLS_HOST: self._store.tls_hosts, DMARC: self._store.dmarc_domains}
        author = self._authors.dmarc if kind == DMARC else self._authors.tls
        after = ""
        while author is not None and (page := await pages[kind](day, after)):
            for domain in page:
                yield domain
            after = page[-1]

    async def _report(self, kind: str, day: int, domain: str) -> None:
        find = self._find_dmarc if kind == DMARC else self._find_tls
        uris = await find(domain)
        if uris is None and len(self._unknown) < MAX_UNKNOWN:
            self._unknown.add((kind, day, domain))
        for uri in uris or ():
            mark = SendingMark(kind, day, domain, uri)
            if await self._store.claim(mark):
                await self._send(mark)

    async def _send(self, mark: SendingMark) -> None:
        try:
            why = await self._sent(mark)
        except _NothingToReport:  # no report went out, so the log says nothing of one
            return
        except (StoreFailed, InvalidOwnReport) as error:
            why = str(error)
        if why is None:
            form = "report sent: %(kind)s of day %(day)s about %(domain)s to %(uri)s"
            values = {"kind": mark.kind, "day": mark.day, "domain": mark.domain, "uri": printable(mark.uri)}
            log.info(LogEvent("report-sent", form, **values))
            return
        again = None
        if mark.tries < MAX_TRIES:
            again = self._clock.now() + RETRY_SECONDS * 2 ** (mark.tries - 1)
        await self._store.failed(mark, again, why)
        log.warning("a report about %s was not accepted by %s: %s", mark.domain, printable(mark.uri), printable(why))

    async def _sent(self, mark: SendingMark) -> str | None:
        """Why it was not sent; None when it was. Raises StoreFailed, InvalidOwnReport, _NothingToReport."""
        if mark.kind == DMARC:
            return await self._send_dmarc(mark)
        report = await self._tls_report(mark)
        if report is None or self._authors.tls is None:
            raise _NothingToReport
        scheme, _, rest = mark.uri.partition(":")
        if scheme.lower() == "https":
            return await self._post(mark.uri, packed(report), "application/tlsrpt+gzip")
        try:
            recipient = parse_mailbox(rest.partition("?")[0])
        except InvalidAddress as error:
            return str(error)
        await self._accept(tls_report_mail(report, mark.domain, self._authors.tls, recipient))
        return None

    async def _tls_report(self, mark: SendingMark) -> TlsReport | None:
        author = self._authors.tls
        if author is None:
            return None
        if mark.kind == TLS:
            results = await self._store.tls_results(mark.day, mark.domain)
        else:
            results = [
                each.results
                for each in await self._store.tls_results_of_host(mark.day, mark.domain)
                if mark.uri not in (await self._find_tls(each.domain) or ())  # those have them already
            ]
        return tls_report(results, mark.day, mark.domain, author, self._authors.tls_organization)

    async def _send_dmarc(self, mark: SendingMark) -> str | None:
        author, found = self._authors.dmarc, await self._store.dmarc_rows(mark.day, mark.domain)
        if author is None or found is None:
            raise _NothingToReport
        try:
            recipient = parse_mailbox(mark.uri.partition(":")[2].partition("?")[0])
        except InvalidAddress as error:
            return str(error)
        begin = mark.day * DAY_SECONDS
        source = ReportSource(
            org_name=self._authors.dmarc_organization,
            email=str(author),
            begin=begin,
            end=begin + DAY_SECONDS - 1,
            generator="Letterlock",
        )
        await self._accept(dmarc_report_mail(dmarc_report(*found, source), author, recipient))
        return None


def due_at(kind: str, day: int, domain: str) -> float:
    """When the report of a day is due (seconds since 1970): spread over hours, the same for each process."""
    chance = int.from_bytes(hashlib.sha256(f"{kind} {day} {domain}".encode()).digest()[:4]) / 2**32
    return (day + 1) * DAY_SECONDS + FIRST_SECONDS + chance * SPREAD_SECONDS


def retry_lifetime(delays: Sequence[float]) -> float:
    """For how long the queue tries a report: MAX_TRIES times, by the waits after each attempt."""
    return sum(delays[: MAX_TRIES - 1])
