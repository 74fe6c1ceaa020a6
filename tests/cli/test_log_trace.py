"""`letterlock log trace`: one message out of the log, whatever the form of the log."""

import gzip
import json
import os
import random
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from letterlock.cli.log import log_files
from letterlock.cli.log.log_lines import LogLine, parse_line
from letterlock.cli.log.log_search import MAX_LINES, MAX_MESSAGES, LogSearch
from tests.cli.running import letterlock
from tests.cli.test_every_verb import HOSTILE

NOW = datetime(2026, 11, 26, 22, 30, tzinfo=UTC).timestamp()
FIRST, SECOND, NOTICE = "1M8CYNVQBX71Q00000001", "1M8CYNVQBX71Q00000002", "1M8CYNVQBX71Q00000003"
DELAYS = "delay=1, delays=0/0/0/1"
FORGED = "(said: to=<ann@example.net>, relay=x, dsn=2.0.0, status=sent (from=<ann@example.net>))"
DAY = [
    ("smtpd", f"{FIRST}: client=unknown[192.0.2.7]"),
    ("smtpd", f"{SECOND}: client=unknown[192.0.2.8]"),
    ("cleanup", f"{FIRST}: message-id=<Zero.0@Example.net>"),
    ("qmgr", f"{FIRST}: from=<ann@example.net>, size=383, nrcpt=2 (queue active)"),
    ("cleanup", f"{SECOND}: message-id=<1@example.net>"),
    ("qmgr", f"{SECOND}: from=<eve@example.net>, size=383, nrcpt=1 (queue active)"),
    (
        "smtp",
        f"{FIRST}: to=<bob@example.org>, relay=mx[192.0.2.10]:25, {DELAYS}, dsn=2.0.0, status=sent (ok)",
    ),
    ("smtp", f"{SECOND}: to=<cat@example.org>, relay=none, {DELAYS}, dsn=4.4.3, status=deferred {FORGED}"),
    (
        "smtp",
        f"{FIRST}: to=<dan@example.org>, relay=mx[192.0.2.10]:25, {DELAYS}, dsn=5.1.1, status=bounced (no)",
    ),
    ("bounce", f"{FIRST}: sender non-delivery notification: {NOTICE}"),
    ("qmgr", f"{NOTICE}: from=<>, size=900, nrcpt=1 (queue active)"),
    (
        "smtp",
        f"{NOTICE}: to=<ann@example.net>, relay=mx[192.0.2.9]:25, {DELAYS}, dsn=2.0.0, status=sent (ok)",
    ),
    ("", f"{SECOND}: hold by uid=0: ask legal"),
]


def program(name: str) -> str:
    return f"postfix/{name}" if name else "letterlock"


def traditional(at: float, name: str, text: str) -> str:
    return f"{time.strftime('%b %e %H:%M:%S', time.localtime(at))} mx {program(name)}[812]: {text}"


def iso(at: float, name: str, text: str) -> str:
    return f"{datetime.fromtimestamp(at, UTC).isoformat(timespec='microseconds')} mx {program(name)}[812]: {text}"


def own_json(at: float, name: str, text: str) -> str:
    return json.dumps({"time": at, "level": "info", "program": program(name), "event": "x", "message": text})


def json_by_syslog(at: float, name: str, text: str) -> str:
    return iso(at, "", own_json(at, name, text))


def journal(at: float, name: str, text: str) -> str:
    return json.dumps(
        {"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "SYSLOG_IDENTIFIER": program(name), "MESSAGE": text, "_PID": "812"}
    )


def journal_of_octets(at: float, name: str, text: str) -> str:
    return json.dumps(
        {"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "SYSLOG_IDENTIFIER": program(name), "MESSAGE": [*text.encode()]}
    )


FORMS = [traditional, iso, own_json, json_by_syslog, journal, journal_of_octets]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_log_is_the_same(form) -> None:  # type: ignore[no-untyped-def]  # one of the functions above
    for number, (name, text) in enumerate(DAY):
        line = parse_line(form(NOW + number, name, text) + "\n", NOW + 3600)
        assert line == LogLine(NOW + number, program(name), text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "{",
        "{}",
        "[" * 50_000,
        '{"a":' * 50_000,
        '{"time": "now", "program": "x", "message": "y"}',
        '{"__REALTIME_TIMESTAMP": "x", "MESSAGE": "y"}',
        '{"__REALTIME_TIMESTAMP": "1", "MESSAGE": null}',
        "Feb 30 22:12:36 mx postfix/smtpd[812]: x",
        "2026-99-26T22:12:36Z mx postfix/smtpd[812]: x",
        "-- Boot 4711 --",
        "Traceback (most recent call last):",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert parse_line(line, NOW) is None


def test_a_line_without_a_year_is_of_the_past() -> None:
    first_of_january = datetime(2027, 1, 1, 12).astimezone().timestamp()
    line = parse_line("Dec 31 23:59:59 mx letterlock[1]: x", first_of_january)
    assert line is not None
    assert datetime.fromtimestamp(line.at).astimezone().year == 2026
    leap_year = datetime(2025, 3, 1).astimezone().timestamp()
    line = parse_line("Feb 29 12:00:00 mx letterlock[1]: x", leap_year)
    assert line is not None
    assert datetime.fromtimestamp(line.at).astimezone().year == 2024


def logs_in(directory: Path) -> list[Path]:
    return sorted(directory.glob("mail.log*"), reverse=True)


async def traced(tmp_path: Path, word: str, *more: str) -> dict[str, list[str]]:
    """The programs of the lines of each message."""
    files = logs_in(tmp_path)
    ran = await letterlock("log", "trace", word, *files, "--since", "36500d", "--json", *more)
    return {each["id"]: [line["program"] for line in each["lines"]] for each in ran.data["messages"]}


def write(path: Path, form=traditional, lines=DAY) -> None:  # type: ignore[no-untyped-def]  # as above
    path.write_text("\n".join(form(NOW + number, *each) for number, each in enumerate(lines)) + "\n")


async def test_a_message_is_found_by_its_id_its_message_id_and_its_addresses(tmp_path: Path) -> None:
    write(tmp_path / "mail.log")
    first = ["postfix/smtpd", "postfix/cleanup", "postfix/qmgr", "postfix/smtp", "postfix/smtp", "postfix/bounce"]
    whole = {FIRST: first, NOTICE: ["postfix/qmgr", "postfix/smtp"]}
    for word in (FIRST, "<Zero.0@Example.net>", "zero.0@example.net", "BOB@example.org", "dan@example.org"):
        assert await traced(tmp_path, word) == whole
    assert await traced(tmp_path, "ann@example.net") == whole, "not the message whose reply names that address"
    second = ["postfix/smtpd", "postfix/cleanup", "postfix/qmgr", "postfix/smtp", "letterlock"]
    assert await traced(tmp_path, "eve@example.net") == {SECOND: second}


async def test_rotated_and_compressed_files_are_one_log(tmp_path: Path) -> None:
    older = "".join(traditional(NOW + number, *each) + "\n" for number, each in enumerate(DAY[:5]))
    (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress(older.encode()))
    write(tmp_path / "mail.log.1", iso, DAY[5:9])
    write(tmp_path / "mail.log", own_json, DAY[9:])
    found = await traced(tmp_path, "zero.0@example.net")
    assert {name: len(lines) for name, lines in found.items()} == {FIRST: 6, NOTICE: 2}


def test_the_mail_logs_of_a_machine_are_found_the_oldest_first(tmp_path: Path) -> None:
    for age, name in enumerate(("mail.log", "mail.log.1", "mail.log.2.gz", "mail.log.3.gz", "syslog", "mail.log.bak")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (NOW - age * 86_400, NOW - age * 86_400))
    found = [each.name for each in log_files.mail_logs(tmp_path, since=NOW - 2.5 * 86_400)]
    assert found == ["mail.log.2.gz", "mail.log.1", "mail.log"]
    assert log_files.mail_logs(tmp_path / "none") == []


async def test_it_is_told_in_order_of_time_with_the_outcome(tmp_path: Path) -> None:
    write(tmp_path / "mail.log")
    ran = await letterlock("log", "trace", FIRST, tmp_path / "mail.log", "--since", "36500d")
    assert ran.status == 0
    heads = [line for line in ran.out.splitlines() if line and not line.startswith(" ")]
    assert heads == [
        f"{FIRST}  from ann@example.net, Message-ID <Zero.0@Example.net>",
        f"{NOTICE}  from <>, a notification about {FIRST}",
    ]
    assert "UTC  smtp: to=<bob@example.org>, relay=mx[192.0.2.10]:25" in ran.out
    ran = await letterlock("log", "trace", FIRST, tmp_path / "mail.log", "--since", "36500d", "--json")
    assert ran.data["messages"][0]["outcomes"] == {"bob@example.org": "sent", "dan@example.org": "bounced"}


async def test_what_is_older_or_absent_is_not_found(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("\n".join(traditional(time.time() - 3 * 86_400, *each) for each in DAY) + "\n")
    assert (await letterlock("log", "trace", FIRST, log)).status == 0
    ran = await letterlock("log", "trace", FIRST, log, "--since", "1d")
    assert (ran.status, "nothing about" in ran.err) == (1, True)
    assert (await letterlock("log", "trace", "x@y.example", log)).status == 1
    assert (await letterlock("log", "trace", FIRST, tmp_path / "none")).status == 3
    assert (await letterlock("log", "trace", FIRST, log, "--journal")).status == 2


async def test_a_damaged_file_is_named_and_what_precedes_the_damage_is_shown(tmp_path: Path) -> None:
    chance = random.Random(5)
    noise = "".join(f"{iso(NOW, 'smtp', str(chance.random()))}\n" for _ in range(5_000))
    packed = gzip.compress(("\n".join(iso(NOW, *each) for each in DAY) + "\n" + noise).encode())
    (tmp_path / "mail.log.2.gz").write_bytes(packed[: len(packed) // 2])
    ran = await letterlock("log", "trace", SECOND, tmp_path / "mail.log.2.gz", "--since", "36500d", "--json")
    assert (ran.status, "cut short" in ran.err) == (1, True)
    assert [each["id"] for each in ran.data["messages"]] == [SECOND]


async def test_hostile_words_and_lines_do_not_act_on_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(
        iso(NOW, "smtp", f"{FIRST}: to=<\x1b[2J@x>, \x9b31m\u202e").encode()
        + b"\xff\xfe\n"
        + b"x" * 300_000
        + b"\n" * 3
    )
    for word in (FIRST, HOSTILE):
        ran = await letterlock("log", "trace", word.replace("\udc9b", ""), log, "--since", "36500d")
        assert all(each.isprintable() or each == "\n" for each in ran.out + ran.err)


def test_what_is_remembered_is_bounded() -> None:
    search = LogSearch("ann@example.net")
    ids = [f"1M8CYNVQBX71Q{number:08}" for number in range(MAX_MESSAGES + 50)]
    for each in ids:
        search.find(LogLine(0.0, "postfix/qmgr", f"{each}: from=<ann@example.net>, size=1, nrcpt=1"))
    assert search.forgotten == 50
    for _ in range(MAX_LINES // 100):
        for each in ids[-101:]:
            search.collect(LogLine(0.0, "postfix/smtp", f"{each}: x"))
    assert search.truncated
    assert [each.id for each in search.messages()] == ids[-101:], "the newest are kept"
    assert sum(len(each.lines) for each in search.messages()) == MAX_LINES


async def test_the_journal_is_asked_as_its_program_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "lines", journal)
    script = tmp_path / "journalctl"
    script.write_text(f"#!{sys.executable}\nimport sys\nopen('{tmp_path}/asked','w').write(' '.join(sys.argv[1:]))\n"
                      f"sys.stdout.write(open('{tmp_path}/lines').read())\n")  # fmt: skip
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ran = await letterlock(
        "log", "trace", "eve@example.net", "--journal", "--unit", "mta", "--since", "36500d", "--json"
    )
    assert (ran.status, [each["id"] for each in ran.data["messages"]]) == (0, [SECOND])
    assert (tmp_path / "asked").read_text().startswith("--output=json --no-pager --quiet --unit=mta --since=@")
    script.write_text("#!/bin/sh\nexit 1\n")
    ran = await letterlock("log", "trace", "eve@example.net", "--journal")
    assert (ran.status, "journalctl ended with status 1" in ran.err) == (3, True)


@pytest.mark.parametrize(
    "line",
    [
        '{"time": 1e999, "program": "x", "message": "y"}',
        '{"time": NaN, "program": "x", "message": "y"}',
        '{"time": 1' + "0" * 400 + ', "program": "x", "message": "y"}',
        '{"__REALTIME_TIMESTAMP": "\u00b2", "MESSAGE": "y"}',
        '{"__REALTIME_TIMESTAMP": "' + "9" * 5_000 + '", "MESSAGE": "y"}',
    ],
)
def test_a_moment_that_no_clock_shows_is_no_line_of_ours(line: str) -> None:
    assert parse_line(line, NOW) is None


def test_a_log_that_vanishes_or_cannot_be_looked_at_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "mail.log").touch()
    (tmp_path / "mail.log.1").symlink_to("mail.log.1")
    (tmp_path / "mail.log.2").symlink_to("gone")
    assert log_files.mail_logs(tmp_path) == [tmp_path / "mail.log", tmp_path / "mail.log.1"]


async def test_an_empty_log_is_named_and_a_word_may_be_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    ran = await letterlock("log", "trace", "\udcff", tmp_path / "empty.log")
    assert ran.status == 3
    assert ran.err.startswith(f"error: there is no line in {tmp_path / 'empty.log'}\n  hint: ")
    ran = await letterlock("log", "trace", "x", tmp_path / "none.log")
    assert (ran.status, ran.err) == (3, f"error: {tmp_path / 'none.log'}: No such file or directory\n")
