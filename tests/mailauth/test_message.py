"""Splitting a message byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mailauth.message import MAX_FIELDS, MAX_HEADER_OCTETS, Field, OversizedHeader, split, with_crlf


def test_rfc5322_2_1_header_and_body_part_at_the_first_empty_line() -> None:
    message = split(b"From: a@x.test\r\nTo: b@y.test\r\n\r\nHello\r\n\r\nBye\r\n")
    assert message.fields == (Field(b"from", b"From: a@x.test"), Field(b"to", b"To: b@y.test"))
    assert bytes(message.body) == b"Hello\r\n\r\nBye\r\n"


def test_rfc5322_2_2_3_folds_stay_in_the_field_as_they_are() -> None:
    (field,) = split(b"Subject: a\r\n\t b\r\n  \r\n c\r\n\r\n").fields
    assert field.raw == b"Subject: a\r\n\t b\r\n  \r\n c"
    assert field.value == b" a\r\n\t b\r\n  \r\n c"


def test_rfc5322_4_5_white_space_before_the_colon_is_no_part_of_the_name() -> None:
    (field,) = split(b"SUBject \t: a\r\n\r\n").fields
    assert field == Field(b"subject", b"SUBject \t: a")


@pytest.mark.parametrize("line", [b"no colon", b" begins with a blank: x", b"two words: x", "grüß: x".encode(), b": x"])
def test_a_line_that_is_no_field_has_no_name(line: bytes) -> None:
    message = split(line + b"\r\nTo: b@y.test\r\n\r\n")
    assert [field.name for field in message.fields] == [b"", b"to"]
    assert message.fields[0].raw == line


@pytest.mark.parametrize(
    ("content", "fields", "body"),
    [
        (b"", [], b""),
        (b"\r\n", [], b""),
        (b"\r\nbody", [], b"body"),
        (b"\r\n\r\n", [], b"\r\n"),
        (b"A: b", [b"A: b"], b""),
        (b"A: b\r\n", [b"A: b"], b""),
        (b"A: b\r\n\r\n", [b"A: b"], b""),
        (b"A: b\r\n\r\nno end", [b"A: b"], b"no end"),
        (b"A: b\nC: d\r\n\r\n", [b"A: b\nC: d"], b""),  # a bare LF ends no line
        (b"A: b\r\n\n\r\nx", [b"A: b", b"\n", b"x"], b""),
    ],
)
def test_edges(content: bytes, fields: list[bytes], body: bytes) -> None:
    message = split(content)
    assert [field.raw for field in message.fields] == fields
    assert bytes(message.body) == body


ABOVE = b"Received: a\r\n\tb\r\nX: 1\r\n"


@given(st.lists(st.sampled_from([b"A: b", b"\r\n", b" c", b"no colon", b"\n", b"x" * 70 + b":"]), max_size=8))
def test_fields_above_stand_on_top_of_the_message(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    if content[:1] == b" ":  # it would continue the last one of those
        content = b"Y:" + content
    message = split(content, ABOVE)
    received = split(content)
    assert message.fields == (*split(ABOVE).fields, *received.fields)
    assert message.body == received.body


def test_a_first_line_that_begins_with_white_space_continues_what_is_above_as_whoever_receives_it_reads_it() -> None:
    assert split(b" c\r\nTo: x\r\n\r\n", b"A: b\r\n").fields == split(b"A: b\r\n c\r\nTo: x\r\n\r\n").fields


def test_fields_are_found_by_name_from_the_top() -> None:
    message = split(b"X: 1\r\nY: 2\r\nx: 3\r\n\r\n")
    assert [field.raw for field in message.named(b"x")] == [b"X: 1", b"x: 3"]
    assert message.named(b"z") == ()


def test_limits_are_named() -> None:
    with pytest.raises(OversizedHeader, match=f"{MAX_HEADER_OCTETS} bytes"):
        split(b"X: " + b"x" * MAX_HEADER_OCTETS)
    assert len(split(b"X:\r\n" * MAX_FIELDS + b"\r\n").fields) == MAX_FIELDS
    with pytest.raises(OversizedHeader, match=f"{MAX_FIELDS} fields"):
        split(b"X:\r\n" * (MAX_FIELDS + 1) + b"\r\n")


def test_the_body_is_not_copied() -> None:
    content = b"A: b\r\n\r\n" + b"x" * 1_000
    assert split(content).body.obj is content


@given(st.binary(max_size=200) | st.lists(st.sampled_from([b"A: b", b"\r\n", b" ", b"\r", b"\n", b":"])).map(b"".join))
def test_nothing_is_lost(content: bytes) -> None:
    message = split(content)
    header = b"".join(field.raw + b"\r\n" for field in message.fields)
    whole = header + b"\r\n" + bytes(message.body)
    assert content in (whole, whole[:-2], whole[:-4])  # an end that was missing


def test_a_unix_file_becomes_a_message_as_it_would_travel() -> None:
    assert with_crlf(b"A: b\n\nx\r\ny\n") == b"A: b\r\n\r\nx\r\ny\r\n"
