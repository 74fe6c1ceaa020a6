"""A file of SMTP commands as a message: what the network's server refuses, a file cannot have."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import BodyType
from letterlock.mail.wishes import Event, Ret
from letterlock.receive.batch import BadBatch, Batch, BatchReader, read_batch
from letterlock.sendmail.transfer import SubmittedEnvelope
from letterlock.smtp.server_events import ServerLimits

LIMITS = ServerLimits(max_message_octets=10_000)
ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")
CONTENT = b"Subject: hi\r\n\r\n..dot\r\n"


def read(octets: bytes, limits: ServerLimits = LIMITS) -> Batch:
    return read_batch(octets, "host.example.org", limits)


def batch(*recipients: str, sender: str = "ann@example.org", content: bytes = CONTENT, **more: str) -> bytes:
    envelope = SubmittedEnvelope(sender, list(recipients), body_type="8BITMIME", **more)
    return envelope.batch(list(recipients), content, "host.example.org")


def test_what_sendmail_writes_is_read_with_all_that_it_says() -> None:
    found = read(batch("bob@example.net", "a..b@docomo.test", notify="FAILURE", ret="HDRS", envid="x+20y"))
    message = found.message
    assert message is not None
    assert (message.reverse_path, message.recipients) == (ANN, (BOB, Mailbox('"a..b"', "docomo.test")))
    assert message.content == b"Subject: hi\r\n\r\n.dot\r\n"
    assert message.body_type is BodyType.EIGHT_BIT_MIME
    assert (message.wishes.ret, message.wishes.envid) == (Ret.HDRS, "x+20y")
    assert message.wishes.of(BOB).notify == frozenset({Event.FAILURE})
    assert found.refused == []


def test_rfc6531_addresses_beyond_ascii() -> None:
    message = read(batch("bøb@example.net", sender="jörg@example.org")).message
    assert message is not None
    assert message.smtputf8


def test_the_null_reverse_path() -> None:
    found = read(batch("bob@example.net", sender=""))
    assert found.message is not None
    assert found.message.reverse_path is None


def test_recipients_that_are_refused_are_told_with_their_replies() -> None:
    found = read(batch("x@-.-", "bob@example.net", "y"))
    assert found.message is not None
    assert found.message.recipients == (BOB,)
    assert [(text, reply.enhanced) for text, reply in found.refused] == [("x@-.-", "5.1.3"), ("y", "5.1.3")]


def test_when_all_recipients_are_refused_there_is_no_message() -> None:
    found = read(batch("x@-.-", sender="ann@example.org"))
    assert found.message is None
    assert found.reverse_path == ANN
    assert len(found.refused) == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"x" * 2_000 + b"\r\n", "5.6.0"),
        (b"a\nb\r\n", "5.6.0"),
        (b"x\r\n" * 5_000, "5.3.4"),
        (b"Received: x\r\n" * 100 + b"\r\n", "5.4.6"),
    ],
)
def test_a_content_that_is_refused_is_refused_to_every_recipient(content: bytes, status: str) -> None:
    found = read(batch("bob@example.net", "cat@example.net", content=content))
    assert found.message is None
    assert [(text, reply.enhanced) for text, reply in found.refused] == [
        ("bob@example.net", status),
        ("cat@example.net", status),
    ]


WHOLE = batch("bob@example.net")


def test_a_file_that_is_cut_anywhere_is_no_message() -> None:
    for end in range(len(WHOLE)):
        with pytest.raises(BadBatch):
            read(WHOLE[:end])


@pytest.mark.parametrize(
    "octets",
    [
        WHOLE.replace(b"QUIT\r\n", WHOLE),
        WHOLE.replace(b"\r\nQUIT", b"\r\nMAIL FROM:<>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\nx\r\n.\r\nQUIT"),
        WHOLE.replace(b"..dot", b".\r\nMAIL FROM:<>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\nx"),
        WHOLE.replace(b"DATA\r\n", b"BDAT 5 LAST\r\nhello"),
        WHOLE.replace(b"EHLO host.example.org", b"STARTTLS"),
        WHOLE.replace(b"EHLO host.example.org", b"GET / HTTP/1.1"),
        WHOLE.replace(b"MAIL FROM:<ann@example.org>", b"MAIL FROM:<@>"),
        WHOLE.replace(b"DATA", b"QUIT\r\nDATA"),
        WHOLE.replace(b"\r\n", b"\n"),
        b"\r\n.\r\nQUIT\r\n",
        b"NOOP\r\n" * 1_000 + WHOLE,
        bytes(100_000) + b"\r\n.\r\nQUIT\r\n",
    ],
)
def test_what_is_not_one_message_is_none(octets: bytes) -> None:
    with pytest.raises(BadBatch):
        read(octets)


PIECES = st.sampled_from(
    [
        *WHOLE.splitlines(keepends=True),
        b"\r\n", b"\n", b".\r\n", b"QUIT\r\n", b"RSET\r\n", b"BDAT 3\r\n", b"\0", b"\xff",
        b"RCPT TO:<x>\r\n", b"RCPT TO:<eve@example.net>\r\n", b"x" * 1_200, b"STARTTLS\r\n", b"HELO x\r\n",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=20))
@settings(max_examples=500)
def test_whatever_lies_there_is_one_message_or_none(pieces: list[bytes]) -> None:
    octets = b"".join(pieces)
    for each in (octets, octets + b"\r\n.\r\nQUIT\r\n"):
        try:
            found = read(each)
        except BadBatch:
            continue
        assert found.message is not None or found.refused
        if found.message is not None:
            assert found.message.recipients
            assert each.count(b"DATA\r\n") >= 1


@given(st.data())
def test_a_damaged_octet_never_adds_a_recipient(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    octets = WHOLE[:at] + bytes([data.draw(st.integers(0, 255))]) + WHOLE[at + 1 :]
    try:
        found = read(octets)
    except BadBatch:
        return
    assert len(list(itertools.chain(found.recipients, found.refused))) <= 2


@given(
    st.integers(1, 40),
    st.sampled_from([CONTENT, b"x\r\n", b"a\nb\r\n", b""]),
    st.sampled_from([b"", b"QUIT\r\n", b"x"]),
)
def test_blocks_make_no_difference(size: int, content: bytes, behind: bytes) -> None:
    octets = batch("bob@example.net", "x@-.-", content=content) + behind
    found: list[Batch | None] = []
    for step in (size, len(octets)):
        reader = BatchReader("host.example.org", LIMITS)
        try:
            for at in range(0, len(octets), step):
                reader.feed(octets[at : at + step])
            found.append(reader.end())
        except BadBatch:
            found.append(None)
    assert found[0] == found[1]
    assert (found[0] is None) is bool(behind)
