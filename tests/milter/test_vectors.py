"""Frames against the published ones, and the refusal of those that no filter may send."""

import contextlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.milter.answers import AddHeader, ChangeHeader, FilterAnswer, Verdict, read_answer
from letterlock.milter.frames import (
    ALL_ACTIONS,
    ALL_STEPS,
    Agreed,
    BadFrame,
    FilterCommand,
    FilterStep,
    FrameReader,
    connect,
    frame,
    header,
    macros,
    options,
    path,
    read_options,
    strings,
)
from letterlock.milter.header_edits import HeaderSection, read_fields
from tests.mailauth.vectors import vectors

FRAMES: list[dict[str, Any]] = json.loads((vectors("milter") / "frames.json").read_text())
OURS = {each["what"]: bytes.fromhex(each["bytes_hex"]) for each in FRAMES if each["sender"] == "mta" and each["valid"]}
THEIRS = [each for each in FRAMES if each["sender"] == "filter"]
AGREED = Agreed(6, ALL_ACTIONS, FilterStep(0), {})
LEADING = Agreed(6, ALL_ACTIONS, FilterStep.LEADING_SPACE, {})


def the(beginning: str) -> bytes:
    [found] = [octets for what, octets in OURS.items() if what.startswith(beginning)]
    return found


def test_what_we_send_is_what_libmilter_reads() -> None:
    assert options() == the("options")
    values = {"j": "mx.example.test", "{daemon_name}": "smtp", "empty": ""}
    assert macros(FilterCommand.CONNECT, values, AGREED) == the("macros")
    assert connect("client.example.test", "192.0.2.1", 49152) == the("connect over IPv4")
    assert connect("client.example.test", "2001:db8::1", 49152) == the("connect over IPv6")
    assert frame(FilterCommand.HELO, strings(("client.example.test",))) == the("HELO")
    assert path(FilterCommand.MAIL, "a@example.test", ("SIZE=100", "BODY=8BITMIME")) == the("MAIL with")
    assert path(FilterCommand.RCPT, "b@example.test") == the("RCPT")
    assert frame(FilterCommand.DATA) == the("DATA")
    assert header(b"Subject", b" hello", AGREED) == the("a header; ")
    assert header(b"Received", b" from a\r\n\tby b", AGREED) == the("a folded header")
    assert header(b"Subject", b" hello", LEADING) == the("a header with its leading")
    for command, what in (("N", "end of headers"), ("E", "end of body"), ("A", "abort"), ("Q", "quit")):
        assert frame(command) == OURS[what]


def read(octets: bytes) -> object:
    reader = FrameReader()
    reader.feed(octets)
    found = reader.next_frame()
    assert found is not None
    letter, data = found
    if letter == "O":
        return read_options(letter, data)
    return read_answer(letter, data, AGREED, at_end=True)


@pytest.mark.parametrize("case", THEIRS, ids=lambda case: case["what"])
def test_what_a_filter_sends(case: dict[str, Any]) -> None:
    octets = bytes.fromhex(case["bytes_hex"])
    if case["valid"]:
        assert read(octets) is not None
    elif "before end of body" in case["what"]:
        with pytest.raises(BadFrame, match="before its end"):
            read_answer("b", b"x", AGREED, at_end=False)
    elif "past the end" in case["what"]:
        found = read(octets)
        assert isinstance(found, AddHeader)
        section = HeaderSection(read_fields(b"Subject: x\r\n")[0])
        section.add(found)
        assert bytes(section) == b"Subject: x\r\nX-Filter: x\r\n"
    else:
        with pytest.raises(BadFrame):
            read(octets)


def test_a_reply_keeps_its_lines_and_its_percent_signs() -> None:
    found = read(frame("y", b"550-5.7.1 not\r\n550 5.7.1 100%% here\0"))
    assert isinstance(found, FilterAnswer)
    assert found.verdict is Verdict.REPLY
    assert found.reply is not None
    assert found.reply.lines == ("5.7.1 not", "5.7.1 100% here")


@pytest.mark.parametrize(
    ("letter", "data"),
    [
        ("y", b"250 fine\0"),
        ("y", b"550 \xc3\xa9\0"),
        ("y", b"550-5.7.1 a\r\n451 b\0"),
        ("y", b"550 " + b"x" * 3000 + b"\0"),
        ("h", b"X Y\0v\0"),
        ("h", b"X\0a\rb\0"),
        ("h", b"X\0" + b"v" * 70_000 + b"\0"),
        ("+", b"<>\0"),
        ("i", b"\0\0"),
    ],
)
def test_what_would_harm_a_message_or_a_client_is_refused(letter: str, data: bytes) -> None:
    with pytest.raises(BadFrame):
        read_answer(letter, data, AGREED, at_end=True)


def test_a_change_that_was_not_agreed_is_refused() -> None:
    with pytest.raises(BadFrame, match="not agreed"):
        read_answer("h", b"X\0v\0", Agreed(6, ALL_ACTIONS & ~1, FilterStep(0), {}), at_end=True)


def test_a_filter_says_which_macros_it_wants() -> None:
    data = struct.pack("!III", 6, ALL_ACTIONS, 0) + struct.pack("!I", 2) + b"i {auth_authen}\0"
    agreed = read_options("O", data)
    sent = macros(FilterCommand.MAIL, {"i": "ID", "{mail_addr}": "a@b"}, agreed)
    assert sent == frame("D", b"Mi\0ID\0")
    assert macros(FilterCommand.RCPT, {"{rcpt_addr}": "a@b"}, agreed) == frame("D", b"R{rcpt_addr}\0a@b\0")


def test_an_empty_macro_is_not_sent_and_a_filter_can_do_without_steps() -> None:
    assert macros(FilterCommand.MAIL, {"i": "", "{mail_addr}": ""}, AGREED) == frame("D", b"M")
    quiet = Agreed(6, ALL_ACTIONS, ALL_STEPS, {})
    assert not quiet.wants(FilterCommand.HELO)
    assert not quiet.answers(FilterCommand.BODY)
    assert quiet.wants(FilterCommand.END_OF_BODY)


SECTION = b"Received: a\r\nSubject: one\r\n two\r\nsubject: three\r\nX: y\r\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (ChangeHeader(b"Subject", b"new", 2), b"Received: a\r\nSubject: one\r\n two\r\nsubject: new\r\nX: y\r\n"),
        (ChangeHeader(b"SUBJECT", b"", 1), b"Received: a\r\nsubject: three\r\nX: y\r\n"),
        (ChangeHeader(b"Subject", b"", 3), SECTION),
        (ChangeHeader(b"New", b"v", 1), SECTION + b"New: v\r\n"),
        (AddHeader(b"A", b" v"), SECTION + b"A: v\r\n"),
        (AddHeader(b"A", b"v", 0), b"A: v\r\n" + SECTION),
        (AddHeader(b"A", b"v", 1), b"A: v\r\n" + SECTION),
        (AddHeader(b"A", b"v", 2), SECTION.replace(b"Subject: one", b"A: v\r\nSubject: one")),
    ],
)
def test_changes_of_a_header(change: AddHeader | ChangeHeader, expected: bytes) -> None:
    section = HeaderSection(read_fields(SECTION)[0])
    if isinstance(change, AddHeader):
        section.add(change)
    else:
        section.change(change)
    assert bytes(section) == expected


@given(st.binary(max_size=200), st.booleans())
def test_any_octets_from_a_filter_give_an_answer_or_a_fault(octets: bytes, at_end: bool) -> None:
    reader = FrameReader()
    reader.feed(octets)
    try:
        while (found := reader.next_frame()) is not None:
            read_answer(*found, AGREED, at_end=at_end)
    except BadFrame:
        pass


@given(st.sampled_from("yhimb+2-eq"), st.binary(max_size=120))
def test_any_change_is_read_or_refused(letter: str, data: bytes) -> None:
    with contextlib.suppress(BadFrame):
        read_answer(letter, data, AGREED, at_end=True)


@given(st.lists(st.sampled_from([b"A: b\r\n", b"Long:\r\n c\r\n", b"Subject:d\r\n"])), st.binary(max_size=20))
def test_a_header_that_is_not_changed_stays_octet_by_octet(fields: list[bytes], rest: bytes) -> None:
    octets = b"".join(fields) + b"\r\n" + rest
    found, at = read_fields(octets)
    assert b"".join(each.raw for each in found) + octets[at:] == octets


@pytest.mark.parametrize("value", [b"a\r\r\n b", b"a\r", b"a\rb", b"a\nb", b"a\r\n"])
def test_a_value_brings_no_line_end_but_folds(value: bytes) -> None:
    with pytest.raises(BadFrame):
        read_answer("h", b"X-New\0" + value + b"\0", AGREED, at_end=True)
