"""TLS reports: ours, those of others as they come, and hostile ones (RFC 8460 section 4.4)."""

import gzip
import importlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from letterlock.tlsrpt import InvalidReport, packed, read_tls_report, to_json
from letterlock.tlsrpt.report import TlsReport
from letterlock.tlsrpt.tls_report_reader import MAX_COUNT, MAX_JSON_OCTETS
from tests.mailauth.vectors import vectors
from tests.tlsrpt.reports import REPORT

jsonschema: Any = importlib.import_module("jsonschema")  # it has no type stubs
ODD = vectors("tlsrpt-odd")
REPORTS = vectors("tlsrpt") / "reports"
SCHEMA = json.loads((Path(__file__).parent / "schema.json").read_text())
FAILED = "total-failure-session-count"
TYPES = {4: "starttls-not-supported", 10: "x-new-failure"}
START, END = 1_795_132_800, 1_795_219_199  # 2026-11-20


def odd(number: int) -> TlsReport:
    (path,) = ODD.glob(f"{number:02}-*")
    return read_tls_report(path.read_bytes(), file_name=path.name)


@pytest.mark.parametrize("number", range(1, 11))
def test_reports_with_one_deviation_are_read_as_the_base(number: int) -> None:
    report = odd(number)
    assert (report.organization, report.report_id.rpartition("_")[2]) == ("Sender Example", str(number))
    assert (report.begin, report.end) == (START, END)
    (results,) = report.policies
    assert (results.successful, results.failed) == (120, 3)
    assert results.policy.domain == ("" if number == 4 else "receiver.example")
    if number != 4:  # which is about no policy
        assert results.policy.lines[1:3] == ("mode: enforce", "mx: mx1.receiver.example")
        assert len(results.policy.lines) == 5
    (failure,) = results.failures
    assert failure.sessions == 3
    assert failure.failure.result_type == TYPES.get(number, "certificate-expired")
    assert failure.failure.receiving_ip == "198.51.100.20"


def test_what_is_missing_stays_unknown_and_is_named() -> None:
    assert odd(1).oddities == ("a time has no zone; it counts as UTC",)
    assert odd(2).policies[0].failures[0].failure.sending_ip == ""
    assert odd(3).contact == ""
    assert odd(3).policies[0].failures[0].failure.information == ""
    assert odd(4).oddities == ("a policy names no domain",)
    assert odd(6).oddities == ("policy-string is one text, not a list of lines",)
    assert odd(8).policies[0].policy.mx_hosts == ("mx1.receiver.example",)
    assert odd(9).oddities == odd(10).oddities == odd(2).oddities == ()


def test_counts_out_of_range_are_held_at_the_maximum() -> None:
    (results,) = odd(11).policies
    assert (results.successful, results.failed) == (MAX_COUNT, MAX_COUNT)
    assert odd(11).oddities


def test_no_policies_is_a_report_without_sessions() -> None:
    assert odd(12).policies == ()
    assert odd(12).organization == "Sender Example"


@pytest.mark.parametrize("path", sorted(REPORTS.iterdir()), ids=lambda path: path.name)
def test_published_reports_are_read(path: Path) -> None:
    report = read_tls_report(path.read_bytes(), file_name=path.name)
    assert report.organization
    assert report.policies
    assert report.begin < report.end


def test_a_mail_gives_what_its_attachment_holds() -> None:
    mail, attachment = (read_tls_report((REPORTS / f"mail-auth-rpt01.{kind}").read_bytes()) for kind in ("eml", "json"))
    assert mail == attachment
    assert (mail.successful, mail.failed) == (5326, 303)


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.json", data)
    return file.getvalue()


def _mailed(data: bytes) -> bytes:
    return b"TLS-Report-Domain: receiver.example\r\nContent-Type: application/octet-stream\r\n\r\n" + data


@pytest.mark.parametrize("pack", [bytes, gzip.compress, _zipped, _mailed])
def test_ours_is_read_whatever_it_is_packed_in(pack: Callable[[bytes], bytes]) -> None:
    assert read_tls_report(pack(to_json(REPORT))) == REPORT


def test_rfc8460_4_4_ours_fits_the_schema_and_packs_to_the_same_bytes() -> None:
    jsonschema.validate(json.loads(to_json(REPORT)), SCHEMA)
    assert packed(REPORT) == packed(replace(REPORT))


def test_the_domain_comes_from_the_mail_or_the_file_name() -> None:
    report = json.loads(to_json(REPORT))
    del report["policies"][0]["policy"]["policy-domain"]
    text = json.dumps(report).encode()
    subject = b"Subject: Report Domain: Other.Example\r\n Submitter: s.example Report-ID: <1@s.example>\r\n\r\n"
    assert read_tls_report(_mailed(text)).policies[0].policy.domain == "receiver.example"
    assert read_tls_report(subject + text).policies[0].policy.domain == "other.example"
    named = read_tls_report(gzip.compress(text), file_name="s.example!named.example!1!2!x.json.gz")
    assert named.policies[0].policy.domain == "named.example"
    assert read_tls_report(text).policies[0].policy.domain == ""


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    report = json.loads(to_json(REPORT))
    change(report)
    return json.dumps(report).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is neither JSON"),
        (b"[]", "no report"),
        (b"{}", "no list of policies"),
        (b'{"policies": 1}', "not a list"),
        (b'{"policies": [' + b"{}," * 10_000 + b"{}]}", "more than 10000 policies"),
        (b"{" + b"[" * 100_000, "not JSON"),
        (b'{"policies":[' + b"9" * 10_000 + b"]}", "not JSON"),
        (b'{"policies":[' + b"{}," * 1_000_000 + b"{}]}", "more elements"),
        (gzip.compress(b" " * (MAX_JSON_OCTETS + 1), mtime=0), "unpacks to more"),
        (gzip.compress(b"{}", mtime=0)[:-9], "cut off"),
        (_changed(lambda report: report["policies"][0]["summary"].update({FAILED: "x"})), "count"),
        (
            _changed(lambda report: report["policies"][0].update({"failure-details": [{}] * 60_000})),
            "more than 50000 failures",
        ),
    ],
)
def test_what_is_no_report_is_refused_within_bounds(data: bytes, why: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidReport, match=why):
        read_tls_report(data)
    assert time.process_time() - began < 3  # a few 100 ms here


@pytest.mark.parametrize("value", [None, 1, [], {}, True, "x", float("nan"), float("inf"), -5, "\ud800"])
@pytest.mark.parametrize("member", ["organization-name", "date-range", "contact-info", "report-id"])
def test_members_of_any_kind_cost_only_themselves(member: str, value: object) -> None:
    report = read_tls_report(_changed(lambda report: report.update({member: value})))
    assert report.successful == REPORT.successful
    to_json(report)


@pytest.mark.parametrize("value", [None, 1, [], {}, True, float("nan"), float("inf"), -5, 1e30, "7"])
def test_counts_are_never_negative_and_fit_a_database(value: object) -> None:
    report = read_tls_report(_changed(lambda report: report["policies"][0]["summary"].update({FAILED: value})))
    assert 0 <= report.policies[0].failed <= MAX_COUNT
