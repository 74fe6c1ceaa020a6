"""Large content is looked through as it arrives: with the same result as if it had come at once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.mail.checked_content import PIECE_OCTETS, LargeContent
from letterlock.smtp import arriving, lines, server_transaction
from letterlock.smtp.server_events import ServerLimits
from tests.bodies import octets_of
from tests.smtp.server_driver import Driver, envelope, ready

LIMITS = ServerLimits(max_message_octets=4 * PIECE_OCTETS)
HEADER = b"Subject: large\r\n\r\n"
LINE = b"x" * 70 + b"\r\n"
MANY = LINE * (2 * PIECE_OCTETS // len(LINE))
ENVELOPE = envelope().removesuffix(b"DATA\r\n")


def sent(content: bytes, limits: ServerLimits = LIMITS, *, step: int = 50_000) -> tuple[Driver, bytes]:
    """A session that was sent a content by DATA, in reads of some octets; what it answered."""
    driver = ready(limits=limits)
    driver.send(envelope())
    stream = content + b".\r\n"
    answers = b"".join(driver.send(stream[at : at + step]) for at in range(0, len(stream), step))
    return driver, answers


def in_chunks(content: bytes, limits: ServerLimits = LIMITS, *, step: int = 50_000) -> tuple[Driver, bytes]:
    """The same by BDAT."""
    driver = ready(limits=limits)
    driver.send(ENVELOPE)
    answers = b""
    for at in range(0, len(content), step):
        piece = content[at : at + step]
        answers = driver.send(b"BDAT %d\r\n" % len(piece) + piece)
        if not answers.startswith(b"250"):
            return driver, answers
    return driver, driver.send(b"BDAT 0 LAST\r\n")


@pytest.mark.parametrize("send", [sent, in_chunks])
def test_a_large_message_comes_in_pieces_of_whole_lines(send: object) -> None:
    driver, answer = send(HEADER + MANY)  # type: ignore[operator]  # one of the two above
    assert answer.startswith(b"250")
    content = driver.messages[0].content
    assert isinstance(content, LargeContent)
    assert content.head == HEADER
    assert len(content.pieces) > 2
    assert all(piece.endswith(b"\r\n") for piece in content.pieces)
    assert (content.ascii_only, content.dotless, len(content)) == (True, True, len(HEADER + MANY))
    assert octets_of(content) == HEADER + MANY


def test_dots_and_octets_beyond_ascii_anywhere_are_known_of_all() -> None:
    driver, answer = sent(HEADER + MANY + b"..\r\n" + MANY + b"\xff\r\n")
    assert answer.startswith(b"250")
    content = driver.messages[0].content
    assert isinstance(content, LargeContent)
    assert (content.isascii(), content.dotless) == (False, False)
    assert octets_of(content) == HEADER + MANY + b".\r\n" + MANY + b"\xff\r\n"


@pytest.mark.parametrize("send", [sent, in_chunks])
@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (HEADER + MANY + b"a\nb\r\n" + MANY, b"554 5.6.0 Bare"),
        (HEADER + MANY + b"a\0b\r\n" + MANY, b"554 5.6.0 NUL"),
        (HEADER + MANY + b"y" * 1000 + b"\r\n" + MANY, b"554 5.6.0 A line"),
        (HEADER + MANY + b"y" * 2 * PIECE_OCTETS + b"\r\n", b"554 5.6.0 A line"),
        (HEADER + MANY + b"y\n" * PIECE_OCTETS + b"\r\n", b"554 5.6.0 Bare"),
        (b"y\n" * PIECE_OCTETS + b"\r\n", b"554 5.6.0 Bare"),
        (HEADER + MANY * 3, b"552 5.3.4 Message too large"),
        (b"Received: x\r\n" * 100 + HEADER + MANY, b"554 5.4.6 Too many hops"),
        (b"Subject: x\r\n" * 96_000, b"552 5.3.4 "),
    ],
)
def test_what_is_wrong_anywhere_refuses_all_of_it(send: object, content: bytes, answer: bytes) -> None:
    limits = ServerLimits(max_message_octets=5 * PIECE_OCTETS)
    driver, found = send(content, limits)  # type: ignore[operator]  # one of the two above
    assert found.splitlines()[0].startswith(answer)
    assert not driver.messages
    if send is sent:
        assert driver.send(ENVELOPE).splitlines()[-1].startswith(b"250"), "the next message has its chance"


def test_no_more_is_held_than_has_not_been_handed_over() -> None:
    driver = ready(limits=ServerLimits(max_message_octets=1 << 28))
    driver.send(envelope())
    driver.send(HEADER)
    for _ in range(20):
        driver.send(MANY)
        assert driver.server.arriving is not None
        driver.server.arriving.hand_over()
        assert driver.content_held < PIECE_OCTETS
    driver.send(b".\r\n")
    [message] = driver.messages
    assert len(message.content) == len(HEADER) + 20 * len(MANY)


def test_each_piece_is_handed_over_once() -> None:
    driver, _ = sent(HEADER + MANY)
    [message] = driver.messages
    whole = octets_of(message.content)
    found = arriving.ArrivingContent(LIMITS)
    found.take(HEADER + MANY, dotless=True, last=True)
    assert octets_of(found.whole()) == whole
    assert found.hand_over() == []


def test_rfc5322_2_2_text_without_a_header_is_no_header() -> None:
    """Some programs send no header at all; the first line that is no field ends the search."""
    driver, answer = sent(MANY * 3, ServerLimits(max_message_octets=8 * PIECE_OCTETS))
    assert answer.startswith(b"250")
    content = driver.messages[0].content
    assert isinstance(content, LargeContent)
    assert len(content.head) >= arriving.MAX_HEADER_OCTETS
    assert octets_of(content) == MANY * 3


@pytest.mark.parametrize("what", [b"RSET\r\n", b"EHLO client.example\r\n"])
def test_another_message_is_another_content(what: bytes) -> None:
    driver = ready(limits=LIMITS)
    driver.send(ENVELOPE + b"BDAT %d\r\n" % len(HEADER + MANY) + HEADER + MANY)
    first = driver.server.arriving
    assert first is not None
    driver.send(what)
    assert driver.server.arriving is None
    driver.send(ENVELOPE + b"BDAT %d\r\n" % len(HEADER + MANY) + HEADER + MANY)
    assert driver.server.arriving is not first
    assert driver.server.arriving is not None


PIECES = st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b".", b"\r\n.\r\n", b"\r\n..", b"a", b"\0", b"\xff", b"Received: x", b"x" * 30]
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(pieces=PIECES, step=st.integers(1, 40), header=st.sampled_from([b"", b"\r\n", b"S: x\r\n\r\n"]))
def test_pieces_make_no_difference(pieces: list[bytes], step: int, header: bytes) -> None:
    """The same octets, with pieces of 48 octets and without any: the same message, or none."""
    limits = ServerLimits(max_message_octets=400, max_text_line_octets=40, max_hops=2)
    found = []
    for octets in (48, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            for module in (lines, server_transaction):
                patch.setattr(module, "PIECE_OCTETS", octets)
            driver = ready(limits=limits)
            driver.send(envelope())
            stream = header + b"".join(pieces) + b"\r\n.\r\nQUIT\r\n"
            answers = b"".join(driver.send(stream[at : at + step]) for at in range(0, len(stream), step))
            found.append(
                ([octets_of(each.content) for each in driver.messages], [line[:1] for line in answers.splitlines()])
            )
    assert found[0] == found[1]


@settings(max_examples=300, deadline=None)
@given(pieces=PIECES, sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12), step=st.integers(1, 60))
def test_pieces_make_no_difference_to_chunks(pieces: list[bytes], sizes: list[int], step: int) -> None:
    """The same by BDAT, cut into chunks and reads anywhere."""
    limits = ServerLimits(max_message_octets=400, max_text_line_octets=40, max_hops=2)
    content, commands, at = b"S: x\r\n\r\n" + b"".join(pieces), ENVELOPE, 0
    for size in sizes:
        commands += b"BDAT %d\r\n" % len(content[at : at + size]) + content[at : at + size]
        at += size
    commands += b"BDAT %d LAST\r\n" % len(content[at:]) + content[at:] + b"RSET\r\nQUIT\r\n"
    found = []
    for octets in (48, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            for module in (lines, server_transaction):
                patch.setattr(module, "PIECE_OCTETS", octets)
            driver = ready(limits=limits)
            answers = b"".join(driver.send(commands[at : at + step]) for at in range(0, len(commands), step))
            messages = [octets_of(each.content) for each in driver.messages]
            found.append((messages, bool(messages) or [line[:1] for line in answers.splitlines()][-1:]))
    assert found[0] == found[1]
