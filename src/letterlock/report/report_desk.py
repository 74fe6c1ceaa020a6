"""Takes reports of others: from mail for the report address, from files, or from a Maildir."""

import asyncio
import logging
from dataclasses import dataclass

from letterlock.mail.printable import printable
from letterlock.mail.unpacking import InvalidReport
from letterlock.mailauth.dmarc.aggregate import AggregateReport
from letterlock.mailauth.dmarc.report_reader import read_report
from letterlock.ports import Clock
from letterlock.state.report_store import ReportStore
from letterlock.tlsrpt.report import TlsReport
from letterlock.tlsrpt.tls_report_reader import read_tls_report

log = logging.getLogger("letterlock.reports")


@dataclass(frozen=True, slots=True)
class TakenReport:
    """A report that was read; `is_new` is False for one that was there already."""

    report: TlsReport | AggregateReport
    is_new: bool

    def __str__(self) -> str:
        kind = "TLS" if isinstance(self.report, TlsReport) else "DMARC"
        who = self.report.organization if isinstance(self.report, TlsReport) else self.report.org_name
        return printable(f"{kind} report of {who or 'somebody'}, {'new' if self.is_new else 'known already'}")


class ReportDesk:
    """Reads reports, in a thread because they may be large, and keeps them."""

    def __init__(self, store: ReportStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()  # a large report takes 200 MB while it is read

    async def take(self, data: bytes, source: str, file_name: str = "") -> TakenReport:
        """Read a report and keep it. Raises InvalidReport, StoreFailed."""
        async with self._one_at_a_time:
            report = await asyncio.to_thread(read_any_report, data, file_name)
            return TakenReport(report, await self._store.receive(report, source, self._clock.now()))

    async def take_mail(self, content: bytes, message_id: str) -> str:
        """Keep the report in a message, if there is one; what became of it. Raises StoreFailed."""
        try:
            return str(await self.take(content, message_id))
        except InvalidReport as error:
            log.warning("%s: this mail to the report address is not a report: %s", message_id, error)
            return f"not a report, dropped: {error}"


def read_any_report(data: bytes, file_name: str = "") -> TlsReport | AggregateReport:
    """A TLS or a DMARC report, whichever it is. Raises InvalidReport."""
    try:
        return read_tls_report(data, file_name=file_name)
    except InvalidReport as first:
        try:
            return read_report(data)
        except InvalidReport as second:
            raise InvalidReport(f"as a TLS report, {first}; as a DMARC report, {second}") from None
