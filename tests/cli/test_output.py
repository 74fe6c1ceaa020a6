"""The one place where output is made harmless: what passes it, what it escapes, and what a lost output comes to."""

import io
import json
import logging
import os
import re
import sys
from pathlib import Path

import pytest

from letterlock.app.log_text import JsonFormatter, PostfixFormatter
from letterlock.app.output import EXIT_OUTPUT, GuardedStream, guarded_streams, harmless, json_text
from letterlock.mail.printable import printable, printable_lines

# C0, DEL, C1, bidirectional controls, line separators, an invisible tag, a lone surrogate.
HOSTILE = "\x00\x07\x08\r\x1b[2J\x7f\x85\x9b31m\u061c\u200e\u202e\u2028\u2066\ufeff\U000e0041\udc9b"


def test_every_character_that_is_not_printable_is_escaped_and_every_other_stays() -> None:
    for number in range(sys.maxunicode + 1):
        shown = printable(chr(number))
        assert shown.isprintable()
        assert (shown == chr(number)) == chr(number).isprintable()


def test_an_escape_says_which_character_it_was() -> None:
    assert printable("a\x1b\x9b\u202e\udc80\U000e0041\n") == r"a\x1b\x9b\u202e\udc80\U000e0041\n"
    assert printable_lines("a\nb\r\n") == "a\nb\\r\n"


@pytest.mark.parametrize("number", [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066, 0x2028, 0xD800, 0xDFFF, 0xFEFF])
def test_rfc8259_7_json_is_printable_ascii_and_holds_the_same(number: int) -> None:
    text = json_text({chr(number): chr(number)})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {chr(number): chr(number)}


class Terminal(io.StringIO):
    """Where a person reads."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_what_anybody_prints_is_escaped(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with guarded_streams():
        print(HOSTILE)
    assert stream.getvalue().removesuffix("\n").isprintable()


def test_on_a_terminal_only_the_looks_of_our_own_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with guarded_streams():
        for stream in (sys.stdout, sys.stderr):
            stream.write("\x1b[1;31mbad\x1b[0m \x1b[31;5m \x1b[2J \r\x1b[K\n")
    assert out.getvalue() == "\x1b[1;31mbad\x1b[0m \\x1b[31;5m \\x1b[2J \\r\\x1b[K\n"
    assert err.getvalue() == "\x1b[1;31mbad\x1b[0m \\x1b[31;5m \\x1b[2J \r\x1b[K\n"  # a progress bar's


def test_without_a_terminal_nothing_passes_but_line_feeds() -> None:
    assert harmless("\x1b[1mbold\x1b[0m\n") == "\\x1b[1mbold\\x1b[0m\n"


def test_a_full_disk_is_one_line_and_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    err = io.StringIO()
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended, guarded_streams():
            print("found")
    assert ended.value.code == EXIT_OUTPUT
    assert err.getvalue() == f"error: cannot write to standard output: {os.strerror(28)}\n"
    assert capfd.readouterr() == ("", "")


def test_standard_error_that_cannot_be_written_to_ends_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        stream = GuardedStream(full, re.compile("()"), needed=False)
        stream.write("warning")
        stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.parametrize("formatter", [PostfixFormatter("mx.example.org"), JsonFormatter()])
def test_a_line_of_the_log_is_one_line_and_printable(formatter: logging.Formatter) -> None:
    record = logging.makeLogRecord({"name": "letterlock.deliver", "levelno": 20, "levelname": "INFO", "msg": HOSTILE})
    assert formatter.format(record).isprintable()


def test_the_text_of_an_exception_cannot_pass_for_a_line_of_the_log() -> None:
    record = logging.makeLogRecord({"name": "letterlock.deliver", "levelno": 40, "levelname": "ERROR", "msg": "a bug"})
    fault = ValueError("x\nNov 23 15:04:05 mx postfix/smtp[1]: 4F: status=sent\x1b[2J")
    record.exc_info = (ValueError, fault, None)
    first, *others = PostfixFormatter("mx").format(record).split("\n")
    assert first.endswith("error: a bug")
    assert all(line.startswith("  ") and line.isprintable() for line in others)
