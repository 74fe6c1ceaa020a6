"""Our reports and datagrams read by other programs: parsedmarc, and sys4's tlsrpt-collectd."""

import json
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mailauth.dmarc.writing import ReportSource
from letterlock.report.report_mail import ReportMail, compose_report_mail
from letterlock.report.reports_of_a_day import dmarc_report, dmarc_report_mail, tls_report, tls_report_mail
from letterlock.tlsrpt.datagram import PolicyOutcome, SessionResult, compose_datagram
from letterlock.tlsrpt.report import TlsReport
from letterlock.tlsrpt.tally import DAY_SECONDS
from tests.contract.test_shared_reports import observed
from tests.tlsrpt.reports import DAY, FAILURE, NONE, REPORT, SUCCESS

BIN = Path(sys.executable).parent
AUTHOR, READER = Mailbox("tls", "sender.example"), Mailbox("tls", "receiver.example")
WAIT_SECONDS = 30.0


def parsedmarc(mail: ReportMail, directory: Path) -> dict[str, Any]:
    """Everything that parsedmarc finds in a mail."""
    path = directory / "report.eml"
    path.write_bytes(compose_report_mail(mail, "ID1", (DAY + 1) * DAY_SECONDS))
    command = [str(BIN / "parsedmarc"), "--offline", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ours() -> TlsReport:
    report = tls_report(REPORT.policies, DAY, "receiver.example", AUTHOR, "Sender")
    assert report is not None
    return report


def test_parsedmarc_reads_our_tls_reports(tmp_path: Path) -> None:
    found = parsedmarc(tls_report_mail(ours(), "receiver.example", AUTHOR, READER), tmp_path)
    (report,) = found["smtp_tls_reports"]
    assert report["organization_name"] == "Sender"
    counts = ("policy_type", "successful_session_count", "failed_session_count")
    found_counts = {tuple(each[name] for name in counts) for each in report["policies"]}
    assert found_counts == {("sts", 7, 4), ("tlsa", 11, 0), ("no-policy-found", 1, 0)}


def test_parsedmarc_reads_our_dmarc_reports(tmp_path: Path) -> None:
    seen = observed("author.example", "192.0.2.1")
    source = ReportSource(
        org_name="Sender", email=str(AUTHOR), begin=DAY * DAY_SECONDS, end=(DAY + 1) * DAY_SECONDS - 1
    )
    mail = dmarc_report_mail(dmarc_report(seen.policy, [seen.row], source), AUTHOR, READER)
    (report,) = parsedmarc(mail, tmp_path)["aggregate_reports"]
    assert report["policy_published"]["domain"] == "author.example"
    assert report["records"][0]["count"] == 1


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ll") as name:
        yield Path(name)


def test_tlsrpt_collectd_takes_our_datagrams(place: Path) -> None:
    path, database = place / "tlsrpt.sock", place / "collectd.sqlite"
    command = [
        str(BIN / "tlsrpt-collectd"),
        "--storage", f"sqlite://{database}", "--socketname", str(path), "--sockettimeout", "1",
        "--max_uncommited_datagrams", "1", "--pidfilename", "", "--socketuser", "", "--socketgroup", "",
        "--dump_path_for_invalid_datagram", str(place / "invalid"),
    ]  # fmt: skip
    unprotected = SessionResult("none.example", (PolicyOutcome(NONE._replace(domain="none.example"), succeeded=True),))
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=place) as program:
        try:
            _wait_for(path.exists, program)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                for result in (SUCCESS, FAILURE, FAILURE, unprotected):
                    record = "v=TLSRPTv1; rua=mailto:tls@receiver.example"
                    sender.sendto(compose_datagram(SessionResult(result.domain, result.outcomes, record)), str(path))
            _wait_for(lambda: len(_counted(database)) == 3, program)
            _wait_for(lambda: sum(total for _, total, _ in _counted(database)) == 7, program)
        finally:
            program.terminate()
            program.communicate(timeout=WAIT_SECONDS)
    found = {kind: (total, failed) for kind, total, failed in _counted(database)}
    assert found == {2: (3, 2), 1: (3, 0), 9: (1, 0)}
    assert not (place / "invalid").exists()


def _counted(database: Path) -> list[tuple[int, int, int]]:
    """Policy type, sessions and failures, as the collector has them."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT policy, cntrtotal, cntrfailure FROM finalresults").fetchall()
        except sqlite3.OperationalError:  # not made yet
            return []
    return [(json.loads(policy)["policy-type"], total, failed) for policy, total, failed in rows]


def _wait_for(condition: Any, program: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < until, "the collector did not get there"
        time.sleep(0.05)
