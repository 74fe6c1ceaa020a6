"""What DMARC reports of others come to: one problem for each address and reason, in the words of our own verdicts."""

from letterlock.mailauth.dmarc.aggregate import (
    AggregateReport,
    PublishedPolicy,
    ReportRow,
    SenderResult,
    SignatureResult,
)
from letterlock.report.reported_problems import summarise


def row(address: str, count: int, *, dkim: str = "fail", signed: str = "", spf: str = "fail") -> ReportRow:
    """Mail from an address; `signed` is a domain whose signature holds, `spf` the result for another domain."""
    return ReportRow(
        source_ip=address,
        count=count,
        disposition="none",
        dkim=dkim,
        spf="fail",
        header_from="example.org",
        signatures=(SignatureResult(domain=signed, selector="s", result="pass"),) if signed else (),
        senders=(SenderResult(domain="bounces.test", result=spf),),
    )


def test_a_reason_says_whether_nothing_was_authenticated_or_another_domain() -> None:
    rows = (
        row("192.0.2.1", 5),
        row("192.0.2.1", 2),
        row("192.0.2.2", 3, signed="list.test"),
        row("192.0.2.3", 4, spf="pass"),
        row("192.0.2.4", 100, dkim="pass", signed="example.org"),
    )
    report = AggregateReport(
        org_name="a receiver",
        email="",
        report_id="1",
        begin=86_400,
        end=172_800,
        policy=PublishedPolicy(domain="example.org", p="none"),
        rows=rows,
    )
    [found] = summarise([report])
    assert (found.kind, found.good, found.bad) == ("dmarc", 100, 14)
    assert [(each.subject, each.code, each.number) for each in found.ordered] == [
        ("192.0.2.1", "not-authenticated", 7),
        ("192.0.2.3", "not-aligned", 4),
        ("192.0.2.2", "not-aligned", 3),
    ]
    assert {each.section for each in found.ordered} == {"RFC 9989 section 5.3.5"}
