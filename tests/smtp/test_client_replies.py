"""Replies from octets: RFC 5321 section 4.2, and everything that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.replies import Reply
from letterlock.smtp.reply_parser import MalformedReply, ReplyParser


def _replies(data: bytes) -> list[Reply]:
    parser = ReplyParser()
    parser.feed(data)
    found = []
    while (reply := parser.next_reply()) is not None:
        found.append(reply)
    return found


def test_rfc5321_4_2_one_line() -> None:
    assert _replies(b"250 2.1.0 Ok\r\n") == [Reply(250, ("2.1.0 Ok",))]


def test_rfc5321_4_2_1_several_lines() -> None:
    assert _replies(b"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n") == [Reply(250, ("mx", "SIZE 1", "HELP"))]


@pytest.mark.parametrize("line", [b"250\r\n", b"250 \r\n", b"250 \n"])
def test_rfc5321_4_2_a_code_alone_is_a_reply(line: bytes) -> None:
    assert _replies(line) == [Reply(250, ("",))]


def test_several_replies_in_one_read() -> None:
    assert [reply.code for reply in _replies(b"250 a\r\n550 b\r\n354 c\r\n25")] == [250, 550, 354]


def test_what_is_left_over_is_pending() -> None:
    parser = ReplyParser()
    parser.feed(b"250 a\r\n2")
    assert parser.next_reply() == Reply(250, ("a",))
    assert parser.pending
    assert parser.next_reply() is None
    parser.feed(b"20 b\r\n")
    assert parser.next_reply() == Reply(220, ("b",))
    assert not parser.pending


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250_x\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\nb\r\n",
        b"250 a\0b\r\n",
        b"250 a\rb\r\n",
        b"250 " + b"x" * 2048,
        b"250 " + b"x" * 2048 + b"\r\n",
        b"250-x\r\n" * 129,
        b"\x16\x03\x01\x02\x00\n",
    ],
)
def test_what_is_no_reply_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedReply):
        _replies(data)


def test_control_characters_and_foreign_octets_are_made_harmless() -> None:
    (reply,) = _replies(b"550 \x1b[2J\x07 caf\xc3\xa9 \xff\x9b\r\n")
    assert reply.text == "?[2J? café \\xff\\x9b"


def read_by(octets: int, data: bytes, parser: ReplyParser) -> tuple[list[Reply], bool, bool]:
    """The replies in data that comes so many octets at a time; whether it is malformed, else whether more is due."""
    found = list[Reply]()
    try:
        for start in range(0, len(data), octets):
            parser.feed(data[start : start + octets])
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
    except MalformedReply:
        return found, True, False
    return found, False, parser.pending


_PIECES = (
    b"250 a\r\n",
    b"250-a\r\n",
    b"251 b\n",
    b"354\r\n",
    b"250-",
    b"x\r\n",
    b"250 a\rb\r\n",
    b"\n",
    b"250 " + b"y" * 300,
)


@given(st.lists(st.sampled_from(_PIECES), max_size=6))
def test_replies_that_come_together_are_those_that_come_octet_by_octet(pieces: list[bytes]) -> None:
    """What was recognised as a whole is what is read line by line, malformed or not."""
    data = b"".join(pieces)
    assert read_by(1, data, ReplyParser()) == read_by(max(1, len(data)), data, ReplyParser())


def test_replies_are_pending_until_they_are_handed_out() -> None:
    parser = ReplyParser()
    parser.feed(b"220 go ahead\r\n250 injected\r\n")
    assert parser.next_reply() == Reply(220, ("go ahead",))
    assert parser.pending
    parser.feed(b"251 and more\r\n252 of it\r\n")
    assert [parser.next_reply() for _ in range(4)] == [
        Reply(250, ("injected",)),
        Reply(251, ("and more",)),
        Reply(252, ("of it",)),
        None,
    ]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_how_octets_are_cut_into_reads_changes_nothing(data: bytes, step: int) -> None:
    def cut(size: int) -> tuple[list[Reply], bool, bool]:
        return read_by(size, data, ReplyParser(max_line_octets=64, max_lines=4))

    assert cut(step) == cut(max(1, len(data)))
