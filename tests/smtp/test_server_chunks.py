"""BDAT at the server (RFC 3030): octets are counted, none of them is ever a command."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.mail.checked_content import CheckedContent, DotlessContent
from letterlock.mail.replies import Reply
from letterlock.smtp.server_events import End, Ended, ServerLimits
from letterlock.smtp.server_table import State
from tests.smtp.server_driver import LIMITS, Driver, ready

OPENING = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\n"
CONTENT = b"Subject: x\r\n\r\nhello\r\n"
SMUGGLED = b"\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"


def opened(limits: ServerLimits | None = None) -> Driver:
    """A session with a sender and a recipient."""
    driver = ready() if limits is None else ready(limits=limits)
    driver.send(OPENING)
    return driver


def last(content: bytes) -> bytes:
    return b"BDAT %d LAST\r\n%b" % (len(content), content)


def codes(answer: bytes) -> list[bytes]:
    return [line[:3] for line in answer.splitlines()]


def test_rfc3030_2_a_message_in_one_chunk() -> None:
    driver = opened()
    assert driver.send(last(CONTENT) + b"NOOP\r\n") == b"250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"
    [message] = driver.messages
    assert message.content == CONTENT
    assert isinstance(message.content, DotlessContent)


def test_rfc3030_2_each_chunk_has_its_answer_and_they_make_one_message() -> None:
    driver = opened()
    group = b"BDAT 10\r\n" + CONTENT[:10] + b"BDAT 0\r\n" + last(CONTENT[10:])
    assert driver.send(group) == (b"250 2.0.0 10 octets received\r\n250 2.0.0 0 octets received\r\n250 2.0.0 Ok\r\n")
    assert [each.content for each in driver.messages] == [CONTENT]


def test_rfc3030_4_2_the_whole_message_in_one_group_with_its_envelope() -> None:
    driver = ready()
    assert codes(driver.send(OPENING + last(CONTENT) + OPENING + last(CONTENT) + b"QUIT\r\n")) == [b"250"] * 6 + [
        b"221"
    ]
    assert len(driver.messages) == 2


def test_an_empty_last_chunk_ends_the_message_or_is_an_empty_one() -> None:
    driver = opened()
    driver.send(b"BDAT %d\r\n%b" % (len(CONTENT), CONTENT))
    assert driver.send(b"BDAT 0 LAST\r\n") == b"250 2.0.0 Ok\r\n"
    driver.send(OPENING)
    assert driver.send(b"bdat 0 last\r\n") == b"250 2.0.0 Ok\r\n"
    assert [each.content for each in driver.messages] == [CONTENT, b""]


def test_dots_mean_nothing_and_stay_as_they_are() -> None:
    content = b".\r\n..\r\n.a\r\n"
    driver = opened()
    driver.send(last(content))
    assert [each.content for each in driver.messages] == [content]
    assert not isinstance(driver.messages[0].content, DotlessContent)
    assert isinstance(driver.messages[0].content, CheckedContent)


def test_a_last_line_that_is_not_ended_is_ended() -> None:
    driver = opened()
    driver.send(last(b"Subject: x\r\n\r\nhello"))
    assert driver.messages[0].content == CONTENT


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 50])
def test_no_octet_of_a_chunk_is_a_command(piece: int) -> None:
    """The end of DATA and commands inside a chunk, cut at every place."""
    driver = opened()
    whole = last(CONTENT + SMUGGLED.lstrip(b"\r\n")) + b"QUIT\r\n"
    answers = b"".join(driver.send(whole[start : start + piece]) for start in range(0, len(whole), piece))
    assert codes(answers) == [b"250", b"221"]
    assert [each.content for each in driver.messages] == [CONTENT + SMUGGLED.lstrip(b"\r\n")]


@pytest.mark.parametrize("cut", range(1, len(last(SMUGGLED))))
def test_no_octet_of_a_chunk_is_a_command_wherever_it_is_cut(cut: int) -> None:
    """In two reads, and as two chunks that are cut there."""
    content = SMUGGLED.removeprefix(b"\r\n")
    for whole in (
        last(content),
        b"BDAT %d\r\n%b" % (len(content[:cut]), content[:cut]) + last(content[cut:]),
    ):
        driver = opened()
        answers = driver.send(whole[:cut]) + driver.send(whole[cut:] + b"QUIT\r\n")
        assert set(codes(answers)[:-1]) == {b"250"}
        assert codes(answers)[-1] == b"221"
        assert [each.content for each in driver.messages] == [content]


def test_rfc3030_3_binarymime_is_not_offered_and_refused() -> None:
    driver = ready()
    assert b"BINARYMIME" not in driver.send(b"EHLO client.example\r\n")
    for word in (b"BINARYMIME", b"binarymime"):
        reply = driver.send(b"MAIL FROM:<a@b.example> BODY=" + word + b"\r\n")
        assert reply.startswith(b"504 5.6.1 BINARYMIME is not offered here; send 8BITMIME")
    assert driver.server.state is State.READY


@pytest.mark.parametrize("before", [b"", b"MAIL FROM:<ann@example.org>\r\n"])
def test_rfc3030_2_unwanted_chunks_are_read_and_refused(before: bytes) -> None:
    driver = ready()
    if before:
        driver.send(before)
    state = driver.server.state
    assert codes(driver.send(last(SMUGGLED) + b"NOOP\r\n")) == [b"503", b"250"]
    assert driver.messages == []
    assert driver.server.state is state


def test_before_ehlo_a_chunk_is_read_and_refused() -> None:
    driver = Driver()
    assert codes(driver.send(last(SMUGGLED) + b"NOOP\r\n")) == [b"503", b"250"]


@pytest.mark.parametrize(
    "line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 5 FIRST", b"BDAT 5LAST", b"BDAT 1e9", b"BDAT " + b"9" * 21]
)
def test_a_chunk_whose_end_nobody_knows_ends_the_session(line: bytes) -> None:
    driver = opened()
    assert codes(driver.send(line + b"\r\n" + SMUGGLED)) == [b"501"]
    assert driver.events[-1] == Ended(End.REFUSED)
    assert driver.messages == []


@pytest.mark.parametrize("command", [b"DATA", b"MAIL FROM:<>", b"RCPT TO:<cat@example.net>", b"STARTTLS"])
def test_rfc3030_2_between_chunks_only_another_chunk_goes_on(command: bytes) -> None:
    driver = opened()
    driver.send(b"BDAT 5\r\nSubje")
    assert driver.send(command + b"\r\n").startswith(b"50")
    assert driver.send(last(CONTENT[5:])) == b"250 2.0.0 Ok\r\n"
    assert driver.messages[0].content == CONTENT


@pytest.mark.parametrize("command", [b"RSET", b"EHLO again.example"])
def test_what_ends_the_transaction_forgets_the_chunks(command: bytes) -> None:
    driver = opened()
    driver.send(b"BDAT 5\r\nSubje")
    driver.send(command + b"\r\n")
    assert driver.server.state is State.READY
    assert driver.content_held == 0
    driver.send(OPENING + last(CONTENT))
    assert [each.content for each in driver.messages] == [CONTENT]


def test_rfc3030_2_after_a_refused_chunk_all_that_follow_are_refused() -> None:
    driver = opened(ServerLimits(max_message_octets=20))
    group = b"BDAT 15\r\n" + b"x" * 15 + b"BDAT 15\r\n" + b"y" * 15 + last(SMUGGLED) + b"NOOP\r\n"
    assert codes(driver.send(group)) == [b"250", b"552", b"503", b"250"]
    assert driver.messages == []


def test_a_chunk_beyond_the_limit_takes_no_memory() -> None:
    driver = opened(ServerLimits(max_message_octets=1000))
    driver.send(b"BDAT 99999999 LAST\r\n")
    for _ in range(100):
        driver.send(b"x" * 10_000)
        assert driver.content_held <= 11_000


@pytest.mark.parametrize("fault", [b"\n", b"\r", b"a\nb\r\n", b"x" * 2000 + b"\r\n"])
def test_what_data_would_not_take_bdat_does_not_either(fault: bytes) -> None:
    driver = opened()
    assert codes(driver.send(last(CONTENT + fault))) == [b"554"]
    assert driver.server.state is State.READY


def test_without_memory_the_rest_of_a_chunk_is_read_and_refused() -> None:
    driver = opened()
    driver.send(b"BDAT 100 LAST\r\n" + b"x" * 40)
    assert driver.server.receiving
    driver.server.discard_content(Reply(452, ("4.3.1 Too much mail at once",)))
    assert driver.content_held == 0
    assert driver.send(b"x" * 60 + b"NOOP\r\n") == b"452 4.3.1 Too much mail at once\r\n250 2.0.0 Ok\r\n"


@pytest.mark.parametrize("end", [b"BDAT 3 LAST\r\nx\r\n", b"BDAT 3\r\nx\r\n"])
def test_without_memory_between_two_chunks_the_next_one_is_refused(end: bytes) -> None:
    driver = opened()
    driver.send(b"BDAT 5\r\nSubje")
    assert driver.server.receiving
    driver.server.discard_content(Reply(452, ("4.3.1 Too much mail at once",)))
    assert driver.content_held == 0
    assert driver.send(end + b"NOOP\r\n") == b"452 4.3.1 Too much mail at once\r\n250 2.0.0 Ok\r\n"
    assert driver.server.state is State.READY
    driver.send(OPENING + last(CONTENT))
    assert [each.content for each in driver.messages] == [CONTENT], "it was of that message only"


def test_empty_chunks_without_end_are_counted_as_idle() -> None:
    driver = opened(ServerLimits(max_message_octets=1000, max_idle_commands=5))
    answer = driver.send(b"BDAT 0\r\n" * 10)
    assert codes(answer)[-1] == b"421"
    assert len(codes(answer)) < 10


@given(st.lists(st.binary(max_size=30), max_size=6), st.lists(st.integers(0, 200), max_size=5))
def test_the_same_octets_in_any_chunks_and_pieces_are_one_message(parts: list[bytes], cuts: list[int]) -> None:
    parts = [part.replace(b"\r", b"").replace(b"\n", b"\r\n") for part in parts]
    whole = b"".join(b"BDAT %d\r\n%b" % (len(part), part) for part in parts if part) + b"BDAT 0 LAST\r\n"
    driver = opened(replace(LIMITS, accept_nul=True))
    places = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    for start, end in pairwise(places):
        driver.send(whole[start:end])
    content = b"".join(parts)
    expected = content if not content or content.endswith(b"\r\n") else content + b"\r\n"
    assert [each.content for each in driver.messages] == [expected]
