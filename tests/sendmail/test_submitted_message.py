"""Reading a message, its header and its body, and what is sent of it."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.sendmail.exits import Failure
from letterlock.sendmail.folding import MAX_LINE_OCTETS
from letterlock.sendmail.submitted_message import MAX_FIELDS, SubmittedMessage, display_name, read_message

OCTETS = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b".", b"a", b"A: b", b"Bcc: c", b" ", b":", b"\0", b"\xff", b"y" * 1000]),
    max_size=20,
).map(b"".join)


def read(octets: bytes, *, ignore_dots: bool = False, in_steps_of: int = 1 << 16, max_octets: int = 1 << 20) -> bytes:
    """What is read from a pipe into which these octets are written, so many at a time."""
    source, sink = os.pipe()

    def write() -> None:
        for at in range(0, len(octets), in_steps_of):
            os.write(sink, octets[at : at + in_steps_of])
        os.close(sink)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return read_message(source, ignore_dots=ignore_dots, max_octets=max_octets)
    finally:
        writer.join()
        os.close(source)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", b""),
        (b".", b""),
        (b".\n", b""),
        (b".\r\nx", b""),
        (b"a\n.", b"a\n"),
        (b"a\r\n.\r\nb", b"a\n"),
        (b"a\n..\n.b\n", b"a\n..\n.b\n"),
        (b"a\n.\rb\n", b"a\n. b\n"),
        (b"a\rb\r\r\nc", b"a b \nc"),
        (b"a\0b\0\n", b"a b \n"),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_a_lone_dot_ends_it_however_it_arrives(octets: bytes, text: bytes, step: int) -> None:
    assert read(octets, in_steps_of=step) == text


def test_a_terminal_need_not_be_closed_after_the_dot() -> None:
    source, sink = os.pipe()
    os.write(sink, b"hello\n.\n")
    assert read_message(source, ignore_dots=False, max_octets=100) == b"hello\n"
    os.close(source)
    os.close(sink)


def test_the_limit_is_kept_whatever_comes(tmp_path: Path) -> None:
    with (tmp_path / "zeros").open("w+b") as file:
        file.truncate(1 << 40)
        with pytest.raises(Failure):
            read_message(file.fileno(), ignore_dots=True, max_octets=1 << 20)


@given(OCTETS)
def test_what_is_sent_can_neither_end_nor_break_the_transaction(octets: bytes) -> None:
    message = SubmittedMessage(octets.replace(b"\r\n", b"\n").replace(b"\r", b" "))
    message.complete(sender="a@b.example", full_name="", hostname="h.example")
    wire = message.wire()
    lines = wire.split(b"\r\n")
    assert lines[-1] == b""
    assert b"\n" not in b"".join(lines)
    assert b"\r" not in b"".join(lines)
    assert b"." not in lines
    assert max(map(len, lines)) <= MAX_LINE_OCTETS + 1  # a doubled dot does not count (RFC 5321 section 4.5.3.1.6)
    header = wire.partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nbcc" not in header
    for name in (b"from:", b"date:", b"message-id:"):
        assert header.count(b"\r\n" + name) + header.startswith(name) == 1


def test_too_many_fields_are_refused() -> None:
    with pytest.raises(Failure):
        SubmittedMessage(b"A: b\n" * (MAX_FIELDS + 1))


def test_a_message_that_only_a_hidden_reader_gets_again_is_still_marked_as_sent_again() -> None:
    message = SubmittedMessage(b"From: a@b.example\nResent-Bcc: c@d.example\n\n")
    message.complete(sender="a@b.example", full_name="", hostname="h.example")
    assert b"Resent-From: a@b.example\r\n" in message.wire()


@given(st.text(max_size=60).filter(str.isprintable))
def test_rfc2047_names_fit_into_words_of_75_characters(name: str) -> None:
    shown = display_name(name)
    assert shown.isascii()
    assert shown.isprintable()
    if not name.isascii():
        assert max(map(len, shown.split())) <= 75
