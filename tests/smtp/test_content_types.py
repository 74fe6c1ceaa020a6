"""What the type of a content says is true, however the octets came in; and the client may rely on it."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.checked_content import CheckedContent, DotlessContent
from letterlock.smtp.client_content import stuff_dots, wire_content
from letterlock.smtp.content import END_OF_CONTENT, has_bare_line_ends
from letterlock.smtp.lines import Input

LINES = st.lists(st.sampled_from([b"", b".", b"..", b"a", b".a", b"a.", b"text", b"\r", b"\n"]), max_size=8)
PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"\r\r\n", b"x", b"\x85", b"\x0b", b"\xe2\x80\xa8"]), max_size=30
)
CUTS = st.lists(st.integers(0, 60), max_size=6)


@given(LINES, CUTS)
def test_the_end_is_found_in_the_same_place_however_the_octets_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    content = stuff_dots(b"".join(line + b"\r\n" for line in lines))
    octets = content + b".\r\nQUIT\r\n"
    waiting = Input(max_command_octets=512)
    waiting.begin_content()
    found = None
    places = sorted({0, *(cut for cut in cuts if cut < len(octets)), len(octets)})
    for start, end in pairwise(places):
        waiting.feed(octets[start:end])
        if found is None:
            found = waiting.next_content()
    expected = (b"\r\n" + octets).partition(END_OF_CONTENT)[0] + b"\r\n"
    assert found is not None
    assert b"\r\n" + found == expected
    assert waiting.dotted or b"\r\n." not in expected


def test_dotless_content_goes_out_as_it_is_and_other_content_is_stuffed() -> None:
    assert wire_content(DotlessContent(b"a\r\n")).octets == b"a\r\n"
    assert wire_content(CheckedContent(b".a\r\n")).octets == b"..a\r\n"


def test_fields_put_before_a_content_leave_its_type() -> None:
    for kind in (CheckedContent, DotlessContent):
        whole = kind(b"Subject: x\r\n\r\nx\r\n").below(b"Received: y\r\n")
        assert type(whole) is kind
        assert not has_bare_line_ends(whole)


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"x"]), max_size=30), st.integers(1, 5))
def test_bare_line_ends_are_found_wherever_a_look_ends(parts: list[bytes], octets: int) -> None:
    content = b"".join(parts)
    rest = content.replace(b"\r\n", b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("letterlock.smtp.content.LOOK_OCTETS", octets)
        assert has_bare_line_ends(content) is (b"\r" in rest or b"\n" in rest)


@given(
    st.binary(max_size=20),
    PIECES,
)
def test_only_cr_and_lf_end_lines_and_only_together(noise: bytes, pieces: list[bytes]) -> None:
    """Nothing else that Unicode calls a line end is one."""
    content = noise + b"".join(pieces)
    assert has_bare_line_ends(content) is (re.search(rb"\r(?!\n)|(?<!\r)\n", content) is not None)
