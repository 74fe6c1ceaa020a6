"""A notification as programs and people read it (RFC 3461 section 6, RFC 3464)."""

import email
import email.policy
from email.message import EmailMessage, Message
from typing import cast

import pytest

from letterlock.dsn import MAX_HEADER_OCTETS, Report, ToldRecipient, compose, header_of
from letterlock.mail.addresses import Mailbox

NOW = 1_800_000_000.0
HEADER = b"Subject: hello\r\nFrom: Ann <ann@example.net>\r\n"
ANN, BOB = Mailbox("ann", "example.net"), Mailbox("bob", "example.org")
REFUSED = ToldRecipient(recipient=BOB, status="5.1.1", text="no such user", remote_reply="550 5.1.1 Who is bob?")


def report(*recipients: ToldRecipient, retry_until: float | None = None, remote_host: str | None = "mx") -> Report:
    return Report(
        sender=ANN,
        accepted_at=NOW - 3_600,
        last_attempt_at=NOW - 60,
        recipients=recipients or (REFUSED,),
        remote_host=remote_host,
        retry_until=retry_until,
    )


def parsed(told: Report, header: bytes = HEADER) -> EmailMessage:
    content = compose(told, header, hostname="mx.example.net", message_id="D1", now=NOW)
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert b"\n" not in content.replace(b"\r\n", b"")
    return email.message_from_bytes(content, policy=email.policy.default)


def groups(message: EmailMessage) -> list[Message]:
    """The groups of fields of the delivery-status part: of the message, then of each recipient."""
    return cast("list[Message]", list(message.iter_parts())[1].get_payload())


def test_rfc3464_2_it_is_a_report_of_three_parts() -> None:
    message = parsed(report())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]


def test_rfc3834_5_it_says_that_a_program_wrote_it() -> None:
    message = parsed(report())
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["To"] == "ann@example.net"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example.net>"


def test_rfc3464_2_2_the_fields_of_the_message() -> None:
    about, *_ = groups(parsed(report()))
    assert about["Reporting-MTA"] == "dns; mx.example.net"
    assert "2027" in about["Arrival-Date"]


def test_rfc3464_2_3_the_fields_of_a_recipient_who_was_refused() -> None:
    _, bob = groups(parsed(report()))
    assert bob["Final-Recipient"] == "rfc822; bob@example.org"
    assert (bob["Action"], bob["Status"]) == ("failed", "5.1.1")
    assert bob["Remote-MTA"] == "dns; mx"
    assert bob["Diagnostic-Code"] == "smtp; 550 5.1.1 Who is bob?"
    assert bob["Will-Retry-Until"] is None


def test_rfc3464_2_3_3_and_2_3_9_a_delay_says_until_when_it_is_tried() -> None:
    why = "STARTTLS was not offered though TLSA records demand it; an attacker on the path may have removed it"
    waiting = ToldRecipient(recipient=BOB, status="4.7.5", text=why)
    message = parsed(report(waiting, retry_until=NOW + 86_400))
    _, bob = groups(message)
    assert (bob["Action"], bob["Status"]) == ("delayed", "4.7.5")
    assert bob["Will-Retry-Until"] == "Sat, 16 Jan 2027 08:00:00 +0000"
    assert message["Subject"].startswith("Delayed")
    text = " ".join(next(message.iter_parts()).get_content().split())
    assert why in text
    assert "tried again until Sat, 16 Jan 2027" in text
    assert "nothing that you need to do" in text


def test_rfc3464_2_3_6_what_no_server_said_is_not_called_smtp() -> None:
    _, bob = groups(parsed(report(ToldRecipient(recipient=BOB, status="5.4.7", text="gave up"), remote_host=None)))
    assert bob["Diagnostic-Code"] == "x-letterlock; gave up"
    assert bob["Remote-MTA"] is None


def test_rfc3461_6_2_each_recipient_has_a_group_and_a_word_for_people() -> None:
    other = ToldRecipient(recipient=Mailbox("cat", "example.org"), status="5.2.2", text="the mailbox is full")
    message = parsed(report(REFUSED, other))
    assert [each["Final-Recipient"] for each in groups(message)[1:]] == [
        "rfc822; bob@example.org",
        "rfc822; cat@example.org",
    ]
    text = next(message.iter_parts()).get_content()
    assert "these 2 recipients" in text
    assert "the mailbox is full (5.2.2)" in text


def test_rfc8689_5_and_rfc3461_4_3_the_header_goes_back_and_never_the_body() -> None:
    content = HEADER + b"\r\nthe secret\r\n"
    message = parsed(report(), header_of(content))
    assert b"secret" not in message.as_bytes()
    assert "Subject: hello" in list(message.iter_parts())[2].get_content()


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b"A: 1\r\nB: 2\r\n\r\nbody", b"A: 1\r\nB: 2"),
        (b"A: 1\r\n folded\r\n\r\nbody", b"A: 1\r\n folded"),
        (b"A: 1\r\nthis is no field\r\nC: 3\r\n", b"A: 1"),
        (b"\r\nbody", b""),
        (b"body only", b""),
        (b"", b""),
    ],
)
def test_rfc5322_2_2_the_header_ends_at_the_first_line_that_is_no_field(content: bytes, header: bytes) -> None:
    assert header_of(content) == header


def test_a_long_header_is_cut_at_a_line() -> None:
    header = header_of(b"".join(b"X-%d: %s\r\n" % (number, b"x" * 90) for number in range(1_000)) + b"\r\n")
    assert MAX_HEADER_OCTETS - 200 < len(header) <= MAX_HEADER_OCTETS
    assert header.endswith(b"x" * 90)


def test_hostile_replies_and_headers_break_nothing() -> None:
    evil = "550 no\r\nFinal-Recipient: rfc822; boss@example.org\r\n\r\n--===\x1b[2J\u202e" + "x" * 5_000
    told = ToldRecipient(recipient=BOB, status="5.0.0", text=evil, remote_reply=evil)
    message = parsed(report(told, remote_host="mx\r\nX: y"), b"Subject: \xff\xfe\r\nX: \x00\x1b[0m")
    about = groups(message)
    assert len(about) == 2
    assert about[1]["Final-Recipient"] == "rfc822; bob@example.org"
    assert about[1].keys().count("Final-Recipient") == 1
    assert "\x1b" not in next(message.iter_parts()).get_content()
    assert "\u202e" not in next(message.iter_parts()).get_content()


def test_rfc6533_3_an_address_beyond_ascii_is_encoded() -> None:
    bob = ToldRecipient(recipient=Mailbox("böb", "example.org"), status="5.6.7", text="no SMTPUTF8")
    _, fields = groups(parsed(report(bob)))
    assert fields["Final-Recipient"] == r"utf-8; b\x{F6}b@example.org"
