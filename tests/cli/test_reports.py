"""`letterlock reports`: importing, listing, showing and summing up."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from letterlock.cli import report_verbs
from letterlock.cli.main import main
from letterlock.state.report_store import FILE
from letterlock.tlsrpt import to_json
from tests.mailauth.vectors import vectors
from tests.tlsrpt.reports import REPORT


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "queue").mkdir()
    path = tmp_path / "letterlock.toml"
    path.write_text(f'[queue]\ndirectory = "{tmp_path}/queue"\n')
    return path


def run(config: Path, *arguments: str, stdin: bytes = b"") -> Result:
    verb, *others = arguments
    return CliRunner().invoke(main, ["reports", verb, "--config", str(config), *others], input=stdin)


def data(result: Result) -> Any:
    return json.loads(result.stdout)


def test_nothing_is_made_by_looking(config: Path) -> None:
    assert run(config, "list").exit_code == 0
    assert run(config, "summary").exit_code == 0
    assert data(run(config, "outgoing", "--json")) == {"sent": [], "lost": []}
    assert run(config, "show", "1").exit_code == 1
    assert list((config.parent / "queue").iterdir()) == []


def test_an_import_makes_the_directory_where_no_server_has_run(config: Path, tmp_path: Path) -> None:
    (config.parent / "queue").rmdir()
    (tmp_path / "one.json").write_bytes(to_json(REPORT))
    assert run(config, "import", str(tmp_path / "one.json")).exit_code == 0
    assert (config.parent / "queue").stat().st_mode & 0o777 == 0o700
    assert len(data(run(config, "list", "--days", "3650", "--json"))) == 1


def test_a_directory_that_cannot_be_made_is_told_in_words(config: Path, tmp_path: Path) -> None:
    (config.parent / "queue").rmdir()
    (config.parent / "queue").write_text("a file")
    result = run(config, "import", str(tmp_path / "none.json"))
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr
    assert "Errno" not in result.stderr


def test_reports_come_from_files_folders_maildirs_and_standard_input(config: Path, tmp_path: Path) -> None:
    maildir = tmp_path / "Maildir"
    for name in ("new", "cur", "tmp"):
        (maildir / name).mkdir(parents=True)
    mail = b"Subject: x\r\nContent-Type: application/tlsrpt+gzip\r\n\r\n" + to_json(REPORT)
    (maildir / "new" / "1.mail").write_bytes(mail)
    (maildir / "cur" / "2.mail:2,S").write_bytes(b"Subject: no report\r\n\r\nhello\r\n")
    (maildir / "tmp" / "3.mail").write_bytes(mail)
    result = run(config, "import", str(maildir), "-", str(vectors("tlsrpt-odd")), "--json", stdin=gzip.compress(mail))
    found = {Path(each["file"]).name: each for each in data(result)}
    assert result.exit_code == 1
    assert found["1.mail"]["new"]
    assert found["2.mail:2,S"]["failed"]
    assert found["standard input"]["failed"]  # a mail within gzip is none of what is sent
    assert "3.mail" not in found
    odd = [each for name, each in found.items() if name[:2].isdigit() and name[2] == "-"]
    assert len(odd) == 12
    assert all(each["new"] for each in odd)
    assert len(data(run(config, "list", "--days", "3650", "--json"))) == 13
    again = run(config, "import", str(maildir / "new" / "1.mail"), "--json")
    assert (again.exit_code, data(again)[0]["new"]) == (0, False)


def test_a_report_is_shown_whole(config: Path) -> None:
    run(config, "import", "-", stdin=to_json(REPORT))
    shown = run(config, "show", "1")
    assert shown.exit_code == 0
    assert "TLS report 2026-05-27.receiver.example" in shown.stdout
    assert data(run(config, "show", "1", "--json"))["policies"][0]["failed"] == 4


def test_the_summary_says_who_why_and_what_to_do(config: Path) -> None:
    dmarc = vectors("dmarc") / "reports" / "aggregate" / "ikea.com!example.de!1538690400!1538776800.xml"
    run(config, "import", "-", stdin=to_json(REPORT))
    run(config, "import", str(dmarc))
    text = run(config, "summary", "--days", "3650")
    assert text.exit_code == 1
    assert "mx.receiver.example: the certificate has expired (sts certificate-expired)" in text.stdout
    assert "3 times from 2026-05-27 to 2026-05-27, reported by Sender" in text.stdout
    assert "reason: rfc8461-4.2-expired [RFC 8461 section 4.2]" in text.stdout
    assert "do: renew the certificate" in text.stdout
    found = data(run(config, "summary", "--days", "3650", "--json"))
    assert {(each["kind"], each["domain"]) for each in found} >= {("tls", "receiver.example"), ("dmarc", "example.de")}
    only = data(run(config, "summary", "--days", "3650", "--domain", "Example.DE", "--json"))
    assert [each["domain"] for each in only] == ["example.de"]
    assert run(config, "summary", "--domain", "no domain").exit_code == 2


def test_text_from_outside_cannot_act_on_the_terminal(config: Path) -> None:
    report = json.loads(to_json(REPORT))
    report["organization-name"] = "\x1b[2Jx\u202e"
    report["policies"][0]["failure-details"][0]["receiving-mx-hostname"] = "\x9bhost"
    run(config, "import", "-", stdin=json.dumps(report).encode())
    for verb in (("list", "--days", "3650"), ("show", "1"), ("summary", "--days", "3650")):
        assert not set("\x1b\x9b\u202e") & set(run(config, *verb).stdout)


def test_a_database_that_cannot_be_looked_at_is_not_called_empty(config: Path) -> None:
    (config.parent / "queue" / FILE).symlink_to(FILE)
    for verb in ("list", "summary", "outgoing"):
        result = run(config, verb)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")


def test_a_file_that_cannot_be_named_is_reported_and_the_others_are_read(config: Path, tmp_path: Path) -> None:
    (tmp_path / "good.json").write_bytes(to_json(REPORT))
    result = run(config, "import", "long" * 100, str(tmp_path / "good.json"))
    assert result.exit_code == 1
    assert result.stderr == f"{'long' * 100}: not read: File name too long\n"
    assert "good.json: " in result.stdout


def test_what_is_left_out_is_said(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"{number}.json").write_bytes(to_json(replace(REPORT, report_id=f"{number}@example")))
        run(config, "import", str(tmp_path / f"{number}.json"))
    monkeypatch.setattr(report_verbs, "MAX_LISTED", 2)
    monkeypatch.setattr(report_verbs, "MAX_SUMMARISED", 2)
    listed, summed = run(config, "list", "--days", "3650"), run(config, "summary", "--days", "3650")
    assert len(listed.stdout.splitlines()) == 2
    assert listed.stderr.startswith("note: only the latest 2 are listed\n  hint: ")
    assert "in 2 reports" in summed.stdout
    assert summed.stderr.startswith("note: only the latest 2 are summed up\n  hint: ")
