"""One message is one message: only CRLF.CRLF ends it, and a CR or LF by itself is refused (RFC 5321 section 2.3.8)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.smtp.client_content import stuff_dots
from letterlock.smtp.content import has_bare_line_ends, has_long_line, unstuff_dots
from letterlock.smtp.server_events import End, Ended
from tests.smtp.server_driver import envelope, ready

LINE_ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\0\n", b"\0", b"\x0b", b"\x85", b"\xe2\x80\xa8"]
FALSE_ENDS = [
    before + b"." + after
    for before, after in itertools.product(LINE_ENDS, LINE_ENDS)
    if (before, after) != (b"\r\n", b"\r\n") and not (before.endswith(b"\r\n") and after == b"\r\n")
]
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nsmuggled\r\n.\r\n"


@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_a_false_end_of_data_smuggles_nothing(false_end: bytes) -> None:
    driver = ready()
    driver.send(envelope())
    answer = driver.send(b"first" + false_end + SMUGGLED)
    assert answer.count(b"\r\n") == 1, "one message, one answer"
    assert answer.startswith(b"250 " if driver.messages else b"554 5.6.0 ")
    assert len(driver.messages) == (0 if has_bare_line_ends(false_end) or b"\0" in false_end else 1)


@pytest.mark.parametrize("false_end", [end for end in FALSE_ENDS if has_bare_line_ends(end)])
def test_bare_line_ends_in_content_are_refused_and_the_session_goes_on(false_end: bytes) -> None:
    driver = ready()
    driver.send(envelope())
    assert driver.send(b"first" + false_end) == b""
    assert driver.send(b"rest\r\n.\r\nNOOP\r\n") == (
        b"554 5.6.0 Bare CR or LF in the message; only CRLF ends a line\r\n250 2.0.0 Ok\r\n"
    )


@pytest.mark.parametrize(
    "lines",
    [
        b"NOOP\n",
        b"NOOP\nNOOP\r\n",
        b"NOOP\rNOOP\r\n",
        b"NOOP\r\r\n",
        b"\n",
        b"MAIL FROM:<a@example.org>\nRCPT TO:<b@example.net>\r\n",
    ],
)
def test_bare_line_ends_in_commands_end_the_session(lines: bytes) -> None:
    driver = ready()
    assert driver.send(lines + b"QUIT\r\n") == b"500 5.5.2 Bare CR or LF; only CRLF ends a line; closing\r\n"
    assert driver.events[-1] == Ended(End.REFUSED)


@pytest.mark.parametrize("piece", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "content", [b"", b".\r\n", b"a\r\n.b\r\n", b"..\r\n...\r\n", b"\r\n\r\n.\r\n", b"\r\n", b"a\r\n" * 50]
)
def test_rfc5321_4_5_2_transparency(content: bytes, piece: int) -> None:
    driver = ready()
    driver.send(envelope())
    wire = stuff_dots(content) + b".\r\n"
    for start in range(0, len(wire), piece):
        assert driver.messages == []
        driver.send(wire[start : start + piece])
    assert driver.messages[0].content == content


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")), max_size=8))
def test_unstuffing_undoes_stuffing(lines: list[bytes]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    assert unstuff_dots(stuff_dots(content)) == content


@given(st.lists(st.integers(min_value=0, max_value=30), max_size=12), st.integers(min_value=2, max_value=25))
def test_the_longest_line_decides(lengths: list[int], max_octets: int) -> None:
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert has_long_line(content, max_octets) == any(length + 2 > max_octets for length in lengths)
