"""Our reports, from what was counted, and the mail that carries them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from letterlock.mail.addresses import Mailbox
from letterlock.mail.unpacking import InvalidReport
from letterlock.mailauth.dmarc.aggregate import AggregateReport, PublishedPolicy, ReportRow
from letterlock.mailauth.dmarc.report_reader import read_report
from letterlock.mailauth.dmarc.writing import Observation, ReportSource, build, file_name, subject
from letterlock.mailauth.dmarc.writing import packed as packed_xml
from letterlock.report.report_mail import ReportMail
from letterlock.tlsrpt.report import AppliedPolicy, PolicyResults, TlsReport, packed
from letterlock.tlsrpt.tally import DAY_SECONDS, Counts
from letterlock.tlsrpt.tls_report_reader import read_tls_report


class InvalidOwnReport(Exception):
    """A report of ours would not be valid, and is not sent: a bug."""


def tls_report(
    results: Iterable[PolicyResults], day: int, domain: str, author: Mailbox, organization: str
) -> TlsReport | None:
    """The report of a day about a domain; None when there is nothing to report. Raises InvalidOwnReport.

    What is written is read again, by the reader that takes note of every deviation from RFC 8460 section 4.4.
    """
    policies = _by_policy(results)
    if not policies:
        return None
    begin = day * DAY_SECONDS
    report = TlsReport(
        organization=organization,
        contact=str(author),
        report_id=f"{begin}.{domain}@{author.domain}",
        begin=begin,
        end=begin + DAY_SECONDS - 1,
        policies=policies,
    )
    try:
        if read_tls_report(packed(report)) != report:
            raise InvalidOwnReport("it does not say what was counted")
    except InvalidReport as error:
        raise InvalidOwnReport(str(error)) from None
    return report


def _by_policy(results: Iterable[PolicyResults]) -> tuple[PolicyResults, ...]:
    """Results of equal policies added up."""
    found: dict[AppliedPolicy, Counts] = {}
    for each in results:
        counts = found.setdefault(each.policy, Counts())
        counts.successful += each.successful
        counts.failed += each.failed
        counts.fail(each.failures)
    return tuple(counts.results(policy) for policy, counts in found.items())


def tls_report_mail(report: TlsReport, domain: str, author: Mailbox, recipient: Mailbox) -> ReportMail:
    """The mail of RFC 8460 section 5.3."""
    submitter = author.domain
    report_id = report.report_id.rpartition("@")[0] or report.report_id
    return ReportMail(
        author=author,
        recipient=recipient,
        subject=f"Report Domain: {domain} Submitter: {submitter} Report-ID: <{report_id}@{submitter}>",
        text=f"This is an aggregate TLS report (RFC 8460) from {submitter} about {domain}:\n"
        f"{report.successful} sessions went well, {report.failed} failed.\n",
        kind='multipart/report; report-type="tlsrpt"',
        attachment=packed(report),
        attachment_kind="application/tlsrpt+gzip",
        file_name=f"{submitter}!{domain}!{report.begin}!{report.end}!{report.begin // DAY_SECONDS}.json.gz",
        fields=(("TLS-Report-Domain", domain), ("TLS-Report-Submitter", submitter)),
    )


def dmarc_report(policy: PublishedPolicy, rows: Sequence[ReportRow], source: ReportSource) -> AggregateReport:
    """The report of a day about a policy domain. Raises InvalidOwnReport."""
    (report,) = build([Observation(policy, row) for row in rows], source)
    try:
        found = read_report(packed_xml(report))
    except InvalidReport as error:
        raise InvalidOwnReport(str(error)) from None
    if found.oddities or found.messages != report.messages or len(found.rows) != len(report.rows):
        raise InvalidOwnReport("it does not say what was counted")
    return replace(report)


def dmarc_report_mail(report: AggregateReport, author: Mailbox, recipient: Mailbox) -> ReportMail:
    """The mail of RFC 9990 section 3.5."""
    receiver, domain = author.domain, report.policy.domain
    return ReportMail(
        author=author,
        recipient=recipient,
        subject=subject(report, receiver),
        text=f"This is a DMARC aggregate report (RFC 9990) from {receiver} about {domain}:\n"
        f"{report.messages - report.failed} messages passed, {report.failed} failed.\n",
        kind="multipart/mixed",
        attachment=packed_xml(report),
        attachment_kind="application/gzip",
        file_name=file_name(report, receiver),
    )
