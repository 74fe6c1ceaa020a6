"""Requests and replies as Postfix 3.7.11 exchanges them (recorded), and what a reason may hold."""

import json
from pathlib import Path

from letterlock.socketmap.netstrings import NetstringReader, netstring
from letterlock.socketmap.questions import NOT_FOUND, ok, permanent, read_request, temporary

EXCHANGE = json.loads((Path(__file__).parent / "vectors" / "postfix-3.7.11-exchange.json").read_text())


def test_the_recorded_requests_of_postfix_are_read() -> None:
    for each in EXCHANGE:
        [frame] = NetstringReader().feed(each["postfix_sends"].encode())
        name, _, key = each["postfix_sends"].partition(":")[2].removesuffix(",").partition(" ")
        assert read_request(frame) == (name.encode(), key.encode())


def test_replies_are_written_as_the_recorded_ones() -> None:
    written = {netstring(each).decode() for each in (NOT_FOUND, ok("DUNNO"), temporary("later"), permanent("never"))}
    assert written <= {each["answer"] for each in EXCHANGE}


def test_a_frame_without_a_name_or_a_space_is_no_request() -> None:
    assert read_request(b"") is None
    assert read_request(b"QUERY") is None
    assert read_request(b" example.org") is None
    assert read_request(b"QUERY ") == (b"QUERY", b"")
    assert read_request(b"QUERY a b") == (b"QUERY", b"a b")


def test_a_reason_is_one_printable_line_that_postfix_logs_whole() -> None:
    assert temporary("a\r\nb\x00ü" + "x" * 300) == b"TEMP a??b??" + b"x" * 194


def test_an_answer_longer_than_postfix_reads_is_a_temporary_failure() -> None:
    assert ok("x" * 99_997) == b"OK " + b"x" * 99_997
    assert ok("x" * 99_998).startswith(b"TEMP ")
