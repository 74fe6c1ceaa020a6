"""Aggregate reports: received ones as they come, hostile ones, and ours."""

import gzip
import io
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from letterlock.dmarc import FOLLOW, disposition
from letterlock.mail.unpacking import InvalidReport, unpack
from letterlock.mailauth.dkim.verify import examine
from letterlock.mailauth.dmarc.aggregate import (
    AggregateReport,
    PublishedPolicy,
    ReportedOverride,
    ReportRow,
    SenderResult,
    SignatureResult,
)
from letterlock.mailauth.dmarc.evaluate import AuthMechanism, Evidence, Identifier, MechanismOutcome, evaluate
from letterlock.mailauth.dmarc.report_reader import MAX_ROWS, MAX_XML_OCTETS, XML, read_report
from letterlock.mailauth.dmarc.writing import (
    NAMESPACE,
    Observation,
    ReportSource,
    build,
    file_name,
    observation,
    packed,
    subject,
    to_xml,
)
from letterlock.mailauth.message import split
from letterlock.mailauth.spf.evaluate import evaluate as evaluate_spf
from letterlock.mailauth.spf.request import mail_from_request
from tests.mailauth.dns_world import World
from tests.mailauth.vectors import vectors

REPORTS = vectors("dmarc") / "reports"
INVALID = {"invalid_xml.xml": "it is not well-formed XML", "empty.xml": "it is neither XML"}
FILES = [path for path in sorted(REPORTS.rglob("*")) if path.is_file() and path.name != "LICENSE"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:60])
def test_the_reports_among_the_vectors(path: Path) -> None:
    """Failure reports (RFC 9991) are none of these; a damaged one is refused by name, an odd one is read."""
    if path.parent.name == "failure" or path.name in INVALID:
        with pytest.raises(InvalidReport, match=INVALID.get(path.name, "neither XML")):
            read_report(path.read_bytes())
        return
    report = read_report(path.read_bytes())
    assert report.policy.domain
    assert report.rows
    assert report.begin <= report.end


def test_the_forms_of_one_report_are_read_alike() -> None:
    folder = REPORTS / "extract_report"
    plain, *others = [read_report((folder / f"nice-input.xml{end}").read_bytes()) for end in ("", ".gz", ".zip")]
    assert plain.messages > 0
    assert others == [plain, plain]


def zipped(data: bytes, names: tuple[str, ...] = ("report.xml",)) -> bytes:
    packed_files = io.BytesIO()
    with zipfile.ZipFile(packed_files, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return packed_files.getvalue()


HEAD = b"<feedback><policy_published><domain>a.test</domain></policy_published>"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"<" + b" " * (MAX_XML_OCTETS + 1), mtime=0), "unpacks to more"),
        (zipped(b"<" + b" " * (MAX_XML_OCTETS + 1)), "unpacks to more"),
        (zipped(b"<x/>", tuple(f"{number}.xml" for number in range(2_000))), "too many files"),
        (zipped(b"", ()), "cannot be read|neither"),
        (gzip.compress(b"<x/>", mtime=0)[:-9], "cut off"),
        (b"\x1f\x8b" + b"x" * 40, "damaged"),
        (zipped(b"<x/>")[:-25], "cut off"),
        (b"PK\x03\x04" + b"\0" * 200 + zipped(b"<x/>")[-22:], "damaged"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><feedback>&a;</feedback>', "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><feedback/>', "document type"),
        (b"<feedback>" + b"<a>" * 10_000, "more elements"),
        (HEAD + b"<record>" + b"<a/>" * 10_000 + b"</record></feedback>", "more elements"),
        (HEAD + b"<record/>" * 10, "well-formed"),
        (b"<other/>", "root"),
        (b"<feedback/>", "no policy domain"),
        (b'<?xml version="1.0" encoding="nonsense"?><feedback/>', "well-formed"),
        (b"", "neither"),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\nhi\r\n" * 500, "neither"),
    ],
    ids=range(18),
)
def test_hostile_reports_are_bounded_and_named(data: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidReport, match=words):
        read_report(data)
    assert time.process_time() - began < 3  # a few 100 ms here


def test_a_report_of_too_many_records_is_refused_and_bounded() -> None:
    record = b"<record><row><source_ip>1.2.3.4</source_ip><count>1</count></row></record>"
    with pytest.raises(InvalidReport, match="records"):
        read_report(HEAD + record * (MAX_ROWS + 1) + b"</feedback>")


def test_a_label_is_not_believed() -> None:
    xml = to_xml(ours()[0])
    mail = b"Content-Type: application/zip; name=x.zip\r\n\r\n" + xml
    assert unpack(gzip.compress(xml), XML) == unpack(zipped(xml, ("x.txt",)), XML) == xml
    assert read_report(mail).policy.domain == "example.org"


def test_a_record_that_is_of_no_use_costs_only_itself() -> None:
    good = b"<record><row><source_ip>192.0.2.1</source_ip><count>2</count></row></record>"
    bad = b"<record><row><source_ip>nowhere</source_ip><count>2</count></row></record>"
    report = read_report(HEAD + bad + good + b"<record/></feedback>")
    assert (report.messages, len(report.oddities)) == (2, 3)


REPORTER = ReportSource(
    org_name="Example & Söhne", email="dmarc@mx.test", begin=1_700_000_000, end=1_700_086_399, generator="L 1"
)


def observed(client: str = "192.0.2.7", policy: str = "v=DMARC1; p=reject; np=none; t=y") -> Observation:
    world = World().add("_dmarc.example.org", "TXT", policy).add("example.org", "TXT", "v=spf1 -all")
    spf = world.run(evaluate_spf(mail_from_request(client, "ann@example.org", "h.test")))
    failed = Identifier(AuthMechanism.SPF, "example.org", MechanismOutcome.FAIL)
    verdict = world.run(evaluate(Evidence(authors=("example.org",), identifiers=(failed,))))
    dkim = examine(split(b"From: ann@example.org\r\n\r\n")).judge({}, 0)
    found = observation(verdict, disposition(verdict, FOLLOW), client, dkim, spf)
    assert found is not None
    return found


def ours() -> list[AggregateReport]:
    return list(build([observed(), observed(), observed("2001:db8::7")], REPORTER))


def test_rfc9990_3_1_one_report_for_each_policy_domain_and_one_row_for_what_is_alike() -> None:
    other = replace(observed(), policy=replace(observed().policy, domain="a.test"))
    reports = build([observed(), other, observed(), observed("2001:db8::7")], REPORTER)
    assert [(each.policy.domain, each.messages, len(each.rows)) for each in reports] == [
        ("a.test", 1, 1),
        ("example.org", 3, 2),
    ]
    [row, _] = reports[1].rows
    assert (row.count, row.disposition, row.overrides) == (2, "quarantine", (ReportedOverride("policy_test_mode"),))


def test_rfc9990_3_1_the_last_policy_of_the_period_is_stated() -> None:
    [report] = build([observed(), observed(policy="v=DMARC1; p=none")], REPORTER)
    assert (report.policy.p, report.messages) == ("none", 2)


def test_what_we_write_is_what_we_read() -> None:
    row = ReportRow(
        source_ip="192.0.2.7",
        count=5,
        disposition="none",
        dkim="pass",
        spf="fail",
        header_from="a.example.org",
        envelope_from="b.test",
        overrides=(ReportedOverride("local_policy", "because <we> & they"),),
        signatures=(SignatureResult(domain="example.org", selector="s", result="pass"),),
        senders=(SenderResult(domain="b.test", result="softfail", scope="mfrom", human_result="x"),),
    )
    [made] = build([Observation(PublishedPolicy(domain="example.org", p="none", testing="n"), row)], REPORTER)
    assert read_report(packed(made)) == made


def test_text_that_xml_cannot_hold_is_replaced() -> None:
    evil = "\x00\x1b]\ud800\ufffe</domain><x>&"
    row = replace(observed().row, senders=(SenderResult(domain=evil, result="pass"),))
    [made] = build([replace(observed(), row=row)], REPORTER)
    [found] = read_report(to_xml(made)).rows[0].senders
    assert found.domain == "\ufffd\ufffd]\ufffd\ufffd</domain><x>&"


def names(element: Element) -> list[str]:
    return [each.tag.removeprefix(f"{{{NAMESPACE}}}") for each in element]


def test_rfc9990_3_1_1_the_elements_stand_in_the_order_of_the_standard() -> None:
    [made] = build([observed()], REPORTER)
    root = fromstring(to_xml(made))  # noqa: S314  # our own text
    assert root.tag == f"{{{NAMESPACE}}}feedback"
    assert names(root) == ["version", "report_metadata", "policy_published", "record"]
    metadata, policy, record = root[1], root[2], root[3]
    assert names(metadata) == ["org_name", "email", "report_id", "date_range", "generator"]
    assert names(policy) == ["domain", "discovery_method", "p", "np", "fo", "adkim", "aspf", "testing"]
    assert names(record) == ["row", "identifiers", "auth_results"]
    assert names(record[0]) == ["source_ip", "count", "policy_evaluated"]
    assert names(record[0][2]) == ["disposition", "dkim", "spf", "reason"]
    assert names(record[2]) == ["spf"]
    assert names(record[2][0]) == ["domain", "scope", "result", "human_result"]


def test_rfc9990_3_5_1_names_and_subject() -> None:
    [made] = build([observed()], REPORTER)
    assert file_name(made, "mx.test") == "mx.test!example.org!1700000000!1700086399.xml.gz"
    assert subject(made, "mx.test") == (
        "Report Domain: example.org Submitter: mx.test Report-ID: <example-org.1700000000.1700086399@mx.test>"
    )
    assert packed(made) == packed(made)


def test_a_message_without_a_policy_is_not_reported() -> None:
    verdict = World().run(evaluate(Evidence(authors=("example.org",))))
    assert observation(verdict, disposition(verdict, FOLLOW), "192.0.2.7", (), None) is None
