"""What a submission server adds to a message, and removes from it."""

import time

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import DotlessContent
from letterlock.mail.envelope import BodyType
from letterlock.receive.header_duties import CompleteHeader
from letterlock.receive.pipeline import Draft, Facts
from letterlock.smtp.server_events import MessageReceived

FACTS = Facts(client="192.0.2.1", client_label="unknown[192.0.2.1]")
ANN = Mailbox("ann", "example.org")
WHOLE = b"Date: x\r\nFrom: a@b.test\r\nMessage-ID: <1@b.test>\r\n"
ADDED = b"Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <4F2A1@mx.example.org>\r\nFrom: <ann@example.org>\r\n"


def completed(content: bytes, reverse_path: Mailbox | None = ANN) -> bytes:
    message = MessageReceived(
        reverse_path=reverse_path, recipients=(), body_type=BodyType.SEVEN_BIT, content=DotlessContent(content)
    )
    draft = Draft.of(message, "4F2A1", 0.9)
    CompleteHeader("mx.example.org").message(FACTS, draft)
    body = draft.finish("", 1)[1]
    assert type(body) is DotlessContent
    return body


def test_rfc6409_8_2_to_8_4_missing_fields_are_added() -> None:
    assert completed(b"Subject: x\r\n\r\nhi\r\n") == ADDED + b"Subject: x\r\n\r\nhi\r\n"


@pytest.mark.parametrize(
    "content", [WHOLE + b"\r\nhi\r\n", WHOLE.upper() + b"\r\n", WHOLE.replace(b":", b" :") + b"\r\n"]
)
def test_rfc6409_8_a_message_that_has_them_stays_as_it_is(content: bytes) -> None:
    assert completed(content) == content


def test_rfc5322_3_6_3_bcc_is_removed_with_its_continuation_lines() -> None:
    content = (
        WHOLE + b"BCC: x@y.test,\r\n\tz@y.test\r\nTo: b@c.test\r\nBcc:\r\nResent-Bcc: q@y.test\r\n\r\nBcc: body\r\n"
    )
    assert completed(content) == WHOLE + b"To: b@c.test\r\n\r\nBcc: body\r\n"


def test_rfc5322_2_1_a_message_without_a_header_section_keeps_its_body() -> None:
    assert completed(b"hello world\r\n") == ADDED + b"\r\nhello world\r\n"
    assert completed(WHOLE) == WHOLE + b"\r\n"
    assert completed(b"") == ADDED + b"\r\n"


def test_rfc5321_4_5_5_the_null_reverse_path_gives_no_from() -> None:
    assert b"From:" not in completed(b"Subject: x\r\n\r\n", None)


def test_rfc6532_an_address_beyond_ascii_is_utf8() -> None:
    assert "From: <jürgen@example.org>\r\n".encode() in completed(b"\r\n", Mailbox("jürgen", "example.org"))


@pytest.mark.parametrize("line", [b"Bcc: x\r\n", b"X: y\r\n z\r\n", b"X\r\n", b" \r\n", b":\r\n"])
def test_a_header_bomb_takes_linear_time(line: bytes) -> None:
    begun = time.process_time()
    completed(WHOLE + line * 200_000 + b"\r\n")
    assert time.process_time() - begun < 5  # quadratic work would take hours
