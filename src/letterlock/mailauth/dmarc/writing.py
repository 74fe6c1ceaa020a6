"""Our aggregate reports: what messages came to, grouped, as XML (RFC 9990 sections 3.1 and 3.5).

Pure: observations in, reports out. Which destinations may be sent to, and the sending, are not decided here.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from letterlock.mailauth.dkim.verify import DkimVerdict
from letterlock.mailauth.dmarc.actions import Action, Disposition
from letterlock.mailauth.dmarc.aggregate import (
    AggregateReport,
    PublishedPolicy,
    ReportedOverride,
    ReportRow,
    SenderResult,
    SignatureResult,
)
from letterlock.mailauth.dmarc.evaluate import AuthMechanism, DmarcVerdict
from letterlock.mailauth.dmarc.reasons import DmarcResult
from letterlock.mailauth.spf.request import Identity
from letterlock.mailauth.spf.verdict import SpfVerdict

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Observation:
    """One message: its row with a count of 1, and the policy that applied."""

    policy: PublishedPolicy
    row: ReportRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSource:
    """Who reports, and about which period (seconds since 1970)."""

    org_name: str
    email: str
    begin: int
    end: int
    generator: str = ""
    extra_contact_info: str = ""


def observation(
    verdict: DmarcVerdict, done: Disposition, client: str, dkim: Iterable[DkimVerdict], spf: SpfVerdict | None
) -> Observation | None:
    """What one message adds to a report; None without a policy or a result (RFC 9989 section 5.3.7)."""
    if verdict.record is None or verdict.result not in (DmarcResult.PASS, DmarcResult.FAIL) or not verdict.author:
        return None
    mail_from = spf if spf and spf.request.identity is Identity.MAIL_FROM else None
    row = ReportRow(
        source_ip=client,
        count=1,
        disposition=_disposition(verdict, done),
        dkim="pass" if verdict.aligned_by(AuthMechanism.DKIM) else "fail",
        spf="pass" if verdict.aligned_by(AuthMechanism.SPF) else "fail",
        header_from=verdict.author,
        envelope_from=mail_from.request.domain.lower() if mail_from else None,
        overrides=(ReportedOverride(done.override.value),) if done.override else (),
        signatures=tuple(_signature(each) for each in dkim if each.signature is not None),
        senders=(_sender(mail_from),) if mail_from else (),
    )
    return Observation(_published(verdict), row)


def _disposition(verdict: DmarcVerdict, done: Disposition) -> str:
    if verdict.result is DmarcResult.PASS:
        return "pass"
    return {Action.QUARANTINE: "quarantine", Action.REJECT: "reject"}.get(done.action, "none")


def _signature(verdict: DkimVerdict) -> SignatureResult:
    assert verdict.signature is not None  # noqa: S101  # for mypy: the caller leaves the others out
    human = "" if verdict.passed else str(verdict)
    signature = verdict.signature
    return SignatureResult(
        domain=signature.domain, selector=signature.selector, result=verdict.result.value, human_result=human
    )


def _sender(verdict: SpfVerdict) -> SenderResult:
    human = "" if verdict.passed else verdict.reason.sentence
    domain = verdict.request.domain.lower()
    return SenderResult(domain=domain, result=verdict.result.value, scope="mfrom", human_result=human)


def _published(verdict: DmarcVerdict) -> PublishedPolicy:
    record = verdict.record
    assert record is not None  # noqa: S101  # for mypy: the caller has looked
    return PublishedPolicy(
        domain=verdict.policy_domain or "",
        discovery_method="treewalk",
        p=record.policy.value,
        sp=record.subdomain_policy.value if record.subdomain_policy else "",
        np=record.nonexistent_policy.value if record.nonexistent_policy else "",
        fo=record.failure_options,
        adkim=record.dkim_alignment.value,
        aspf=record.spf_alignment.value,
        testing="y" if record.testing else "n",
    )


def build(observations: Iterable[Observation], reporter: ReportSource) -> tuple[AggregateReport, ...]:
    """A report for each policy domain, in the order of their names; equal rows are counted together.

    Where a domain changed its record during the period, the last one observed is stated (section 3.1).
    """
    policies: dict[str, PublishedPolicy] = {}
    rows: dict[str, Counter[ReportRow]] = {}
    for each in observations:
        policies[each.policy.domain] = each.policy
        counted = rows.setdefault(each.policy.domain, Counter())
        counted[replace(each.row, count=1)] += each.row.count
    return tuple(_report(policies[domain], rows[domain], reporter) for domain in sorted(policies))


def _report(policy: PublishedPolicy, rows: Counter[ReportRow], reporter: ReportSource) -> AggregateReport:
    grouped = sorted(
        (replace(row, count=count) for row, count in rows.items()), key=lambda row: (-row.count, row.source_ip)
    )
    return AggregateReport(
        org_name=reporter.org_name,
        email=reporter.email,
        extra_contact_info=reporter.extra_contact_info,
        generator=reporter.generator,
        report_id=f"{_NOT_IN_AN_ID.sub('-', policy.domain)}.{reporter.begin}.{reporter.end}",
        begin=reporter.begin,
        end=reporter.end,
        policy=policy,
        rows=tuple(grouped),
    )


def to_xml(report: AggregateReport) -> bytes:
    """The report as XML, its elements in the order that section 3.1.1 demands."""
    root = Element("feedback", {"xmlns": NAMESPACE})
    _add(root, "version", "1.0")
    _add_metadata(SubElement(root, "report_metadata"), report)
    _add_policy(SubElement(root, "policy_published"), report.policy)
    for row in report.rows:
        _add_record(SubElement(root, "record"), row)
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def packed(report: AggregateReport) -> bytes:
    """The XML under gzip, for an attachment of the type application/gzip. The same report gives the same bytes."""
    return gzip.compress(to_xml(report), mtime=0)


def file_name(report: AggregateReport, receiver: str) -> str:
    """The name that section 3.5.1 demands; `receiver` is our domain."""
    return f"{receiver}!{report.policy.domain}!{report.begin}!{report.end}.xml.gz"


def subject(report: AggregateReport, receiver: str) -> str:
    """The subject that section 3.5.1 demands."""
    return f"Report Domain: {report.policy.domain} Submitter: {receiver} Report-ID: <{report.report_id}@{receiver}>"


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _NOT_XML.sub("\ufffd", text)


def _add_some(parent: Element, **values: str | None) -> None:
    """Those that have a value, in this order."""
    for name, value in values.items():
        if value:
            _add(parent, name, value)


def _add_metadata(parent: Element, report: AggregateReport) -> None:
    _add(parent, "org_name", report.org_name)
    _add(parent, "email", report.email)
    _add_some(parent, extra_contact_info=report.extra_contact_info)
    _add(parent, "report_id", report.report_id)
    dates = SubElement(parent, "date_range")
    _add(dates, "begin", str(report.begin))
    _add(dates, "end", str(report.end))
    for error in report.errors:
        _add(parent, "error", error)
    _add_some(parent, generator=report.generator)


def _add_policy(parent: Element, policy: PublishedPolicy) -> None:
    _add(parent, "domain", policy.domain)
    _add_some(parent, discovery_method=policy.discovery_method)
    _add(parent, "p", policy.p)
    _add_some(
        parent,
        sp=policy.sp,
        np=policy.np,
        fo=policy.fo,
        adkim=policy.adkim,
        aspf=policy.aspf,
        testing=policy.testing,
    )


def _add_record(parent: Element, row: ReportRow) -> None:
    about = SubElement(parent, "row")
    _add(about, "source_ip", row.source_ip)
    _add(about, "count", str(row.count))
    evaluated = SubElement(about, "policy_evaluated")
    for name, value in (("disposition", row.disposition), ("dkim", row.dkim), ("spf", row.spf)):
        _add(evaluated, name, value)
    for override in row.overrides:
        _add_some(SubElement(evaluated, "reason"), type=override.type, comment=override.comment)
    identifiers = SubElement(parent, "identifiers")
    _add(identifiers, "header_from", row.header_from)
    _add_some(identifiers, envelope_from=row.envelope_from, envelope_to=row.envelope_to)
    results = SubElement(parent, "auth_results")
    for signature in row.signatures:
        found = SubElement(results, "dkim")
        for name, value in (
            ("domain", signature.domain),
            ("selector", signature.selector),
            ("result", signature.result),
        ):
            _add(found, name, value)
        _add_some(found, human_result=signature.human_result)
    for sender in row.senders[:1]:  # at most one by the schema
        found = SubElement(results, "spf")
        _add(found, "domain", sender.domain)
        _add_some(found, scope=sender.scope)
        _add(found, "result", sender.result)
        _add_some(found, human_result=sender.human_result)
