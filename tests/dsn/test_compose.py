"""A notification as programs and people read it (RFC 3461 section 6, RFC 3464)."""

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage, Message
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.dsn import (
    MAX_HEADER_OCTETS,
    MAX_RETURNED_OCTETS,
    Fate,
    Report,
    ToldReason,
    ToldRecipient,
    compose,
    header_of,
)
from letterlock.dsn.notice_text import MAX_REASONS
from letterlock.dsn.original import MAX_REFERENCES
from letterlock.mail.addresses import Mailbox

NOW = 1_800_000_000.0
HEADER = b"Subject: hello\r\nFrom: Ann <ann@example.net>\r\n"
ANN, BOB = Mailbox("ann", "example.net"), Mailbox("bob", "example.org")
REFUSED = ToldRecipient(
    recipient=BOB,
    status="5.1.1",
    text="no such user",
    remote_reply="550 5.1.1 Who is bob?",
    remote_host="mx",
    last_attempt_at=NOW - 60,
)
WHY = ToldReason(
    subject="mx.example.org",
    sentence="STARTTLS was not offered",
    section="RFC 7672 section 2.2.3",
    code="rfc7672-2.2.3-starttls-required",
)


def report(*recipients: ToldRecipient, fate: Fate = Fate.FAILED, retry_until: float | None = None) -> Report:
    return Report(
        sender=ANN, fate=fate, accepted_at=NOW - 3_600, recipients=recipients or (REFUSED,), retry_until=retry_until
    )


def parsed(told: Report, content: bytes = HEADER, *, full: bool = False) -> EmailMessage:
    content = compose(told, content, hostname="mx.example.net", message_id="D1", now=NOW, full=full)
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
    why = "STARTTLS was not offered although TLSA records demand it; an attacker on the path may have removed it"
    waiting = ToldRecipient(recipient=BOB, status="4.7.5", text=why)
    message = parsed(report(waiting, fate=Fate.DELAYED, retry_until=NOW + 86_400))
    _, bob = groups(message)
    assert (bob["Action"], bob["Status"]) == ("delayed", "4.7.5")
    assert bob["Will-Retry-Until"] == "Sat, 16 Jan 2027 08:00:00 +0000"
    assert message["Subject"].startswith("Delayed")
    text = " ".join(next(message.iter_parts()).get_content().split())
    assert why in text
    assert "tried again until Sat, 16 Jan 2027" in text
    assert "you do not need to do anything" in text


def test_rfc3464_2_3_6_what_no_server_said_is_not_called_smtp() -> None:
    _, bob = groups(parsed(report(ToldRecipient(recipient=BOB, status="5.4.7", text="gave up"))))
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
    message = parsed(report(), content)
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
    told = ToldRecipient(recipient=BOB, status="5.0.0", text=evil, remote_reply=evil, remote_host="mx\r\nX: y")
    message = parsed(report(told), b"Subject: \xff\xfe\r\nX: \x00\x1b[0m")
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


def test_rfc3464_2_2_1_the_envelope_id_comes_first() -> None:
    about, *_ = groups(parsed(replace(report(), envelope_id="QQ 314159")))
    assert about.items()[0] == ("Original-Envelope-Id", "QQ 314159")


def test_rfc3464_2_2_1_no_envelope_id_that_nobody_gave() -> None:
    about, *_ = groups(parsed(report()))
    assert about["Original-Envelope-Id"] is None


def test_rfc3464_2_3_1_the_original_recipient_comes_before_the_final_one() -> None:
    _, bob = groups(parsed(report(replace(REFUSED, original=("rfc822", "Bob+lists@example.com")))))
    assert bob.items()[:2] == [
        ("Original-Recipient", "rfc822; Bob+lists@example.com"),
        ("Final-Recipient", "rfc822; bob@example.org"),
    ]


def test_rfc3464_2_3_7_the_time_of_the_last_attempt_is_each_recipients_own() -> None:
    other = ToldRecipient(recipient=ANN, status="5.0.0", text="no", last_attempt_at=NOW - 3_600)
    _, bob, ann = groups(parsed(report(REFUSED, other)))
    assert bob["Last-Attempt-Date"] == "Fri, 15 Jan 2027 07:59:00 +0000"
    assert ann["Last-Attempt-Date"] == "Fri, 15 Jan 2027 07:00:00 +0000"


def test_rfc3464_2_3_3_relayed_is_neither_failed_nor_promised() -> None:
    handed = ToldRecipient(recipient=BOB, status="2.0.0", text="250 2.0.0 Ok", remote_reply="250 2.0.0 Ok")
    message = parsed(report(handed, fate=Fate.RELAYED))
    _, bob = groups(message)
    assert (bob["Action"], bob["Status"]) == ("relayed", "2.0.0")
    assert message["Subject"].startswith("Relayed")
    assert "does not confirm delivery" in " ".join(next(message.iter_parts()).get_content().split())


def test_rfc3464_2_4_the_reasons_stand_there_for_people_and_for_machines() -> None:
    message = parsed(report(replace(REFUSED, reasons=(WHY,))))
    words = "mx.example.org: STARTTLS was not offered (RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required)"
    text = " ".join(next(message.iter_parts()).get_content().split())
    assert f"- {words}" in text
    _, bob = groups(message)
    assert bob.get_all("X-Letterlock-Reason") == [words]


def test_people_read_a_sentence_once() -> None:
    told = replace(REFUSED, text=f"mx.example.org: {WHY.sentence}", remote_reply=None, reasons=(WHY,))
    text = " ".join(next(parsed(report(told)).iter_parts()).get_content().split())
    assert text.count(WHY.sentence) == 1
    assert "- mx.example.org: RFC 7672 section 2.2.3; rfc7672-2.2.3-starttls-required" in text


def test_of_many_reasons_the_first_are_told() -> None:
    _, bob = groups(parsed(report(replace(REFUSED, reasons=(WHY,) * 1_000))))
    assert len(bob.get_all("X-Letterlock-Reason") or ()) == MAX_REASONS


WHOLE = HEADER + b"\r\nthe secret\r\n"


def test_rfc3461_4_3_all_goes_back_to_whoever_asked_for_it() -> None:
    message = parsed(report(), WHOLE, full=True)
    returned = list(message.iter_parts())[2]
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_content()["Subject"] == "hello"
    assert "the secret" in returned.get_content().get_content()
    assert "Your message is attached" in next(message.iter_parts()).get_content()


@pytest.mark.parametrize("fate", [Fate.DELAYED, Fate.RELAYED])
def test_rfc3461_4_3_what_has_not_failed_never_comes_back_whole(fate: Fate) -> None:
    message = parsed(report(fate=fate, retry_until=NOW), WHOLE, full=True)
    assert b"secret" not in message.as_bytes()


@pytest.mark.parametrize(("octets", "whole"), [(MAX_RETURNED_OCTETS, True), (MAX_RETURNED_OCTETS + 1, False)])
def test_what_is_too_large_comes_back_as_its_header(octets: int, whole: bool) -> None:
    lines = (WHOLE + b"0123456789abcdef\r\n" * (MAX_RETURNED_OCTETS // 18))[: octets - 2].ljust(octets - 2, b"x")
    message = parsed(report(), lines + b"\r\n", full=True)
    assert (b"the secret" in message.as_bytes()) is whole


def test_rfc6152_3_eight_bits_that_come_back_are_declared() -> None:
    message = parsed(report(), WHOLE + "grüße\r\n".encode(), full=True)
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert list(message.iter_parts())[2]["Content-Transfer-Encoding"] == "8bit"
    assert parsed(report(), WHOLE)["Content-Transfer-Encoding"] == "7bit"


def test_rfc2046_5_1_1_a_message_that_has_the_boundary_adds_no_part() -> None:
    evil = HEADER + b"\r\n--=_D1_0\r\nContent-Type: message/delivery-status\r\n\r\nAction: relayed\r\n--=_D1_0--\r\n"
    message = parsed(report(), evil, full=True)
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "message/rfc822"]


def test_rfc6533_4_whoever_writes_utf_8_reads_it() -> None:
    bob = ToldRecipient(recipient=Mailbox("böb", "example.org"), status="5.6.7", text="no SMTPUTF8")
    content = "Subject: grüße\r\n\r\nthe secret\r\n".encode()
    whole = compose(replace(report(bob), smtputf8=True), content, hostname="mx.example.net", message_id="D1", now=NOW)
    assert b"Content-Type: message/global-delivery-status\r\n" in whole
    assert "Final-Recipient: utf-8; böb@example.org\r\n".encode() in whole
    assert b"Content-Type: message/global-headers\r\n" in whole
    assert "Subject: grüße\r\n".encode() in whole
    assert b"secret" not in whole
    assert whole.isascii() is False
    assert b"Content-Transfer-Encoding: 8bit\r\n" in whole


@given(st.binary(max_size=300), st.text(max_size=300), st.booleans())
def test_whatever_strangers_write_it_stays_a_report_of_three_parts(content: bytes, text: str, full: bool) -> None:
    content = content.replace(b"\r", b"").replace(b"\n", b"\r\n")
    told = ToldRecipient(recipient=BOB, status="5.0.0", text=text, remote_reply=text, original=("rfc822", text))
    whole = compose(report(told), content, hostname="mx.example.net", message_id="D1", now=NOW, full=full)
    message = email.message_from_bytes(whole, policy=email.policy.default)
    assert len(list(message.iter_parts())) == 3
    assert len(groups(message)) == 2


def test_rfc6533_4_a_whole_message_with_a_utf_8_header_is_message_global() -> None:
    content = "Subject: grüße\r\n\r\nx\r\n".encode()
    for smtputf8, kind in ((True, b"message/global"), (False, b"message/rfc822")):
        told = replace(report(), smtputf8=smtputf8)
        whole = compose(told, content, hostname="mx.example.net", message_id="D1", now=NOW, full=True)
        assert b"Content-Type: %b\r\n" % kind in whole


@pytest.mark.parametrize(("smtputf8", "shown"), [(True, "jörg@example.org"), (False, r"j\x{F6}rg@example.org")])
def test_rfc6533_3_an_original_recipient_is_decoded_where_utf_8_is_read(smtputf8: bool, shown: str) -> None:
    told = replace(report(replace(REFUSED, original=("utf-8", r"j\x{F6}rg@example.org"))), smtputf8=smtputf8)
    whole = compose(told, HEADER, hostname="mx.example.net", message_id="D1", now=NOW)
    assert f"Original-Recipient: utf-8; {shown}\r\n".encode() in whole


def test_rfc6533_3_what_is_no_character_is_none() -> None:
    told = replace(report(replace(REFUSED, original=("utf-8", r"\x{D800}\x{110000}\x{0A}x"))), smtputf8=True)
    whole = compose(told, HEADER, hostname="mx.example.net", message_id="D1", now=NOW)
    assert rb"Original-Recipient: utf-8; ?\x{110000} x" + b"\r\n" in whole


NAMED = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_aus_K=C3=B6ln?=\r\nMessage-ID: <m@x.test>\r\n"


def test_it_bears_the_names_of_the_message_it_is_about() -> None:
    message = parsed(report(), NAMED + b"In-Reply-To: <before@x.test>\r\n")
    assert message["Subject"] == "Not delivered: Grüße aus Köln"
    assert (message["In-Reply-To"], message["References"].split()) == ("<m@x.test>", ["<before@x.test>", "<m@x.test>"])
    text = next(message.iter_parts()).get_content()
    assert "  Subject:    Grüße aus Köln\r\n  Message-ID: <m@x.test>\r\n" in text


def test_a_message_without_names_has_none() -> None:
    message = parsed(report(), b"From: a@x.test\r\nMessage-ID: none\r\n")
    assert message["Subject"] == "Not delivered: your message"
    assert (message["In-Reply-To"], message["References"]) == (None, None)


def test_a_thread_of_any_length_fits() -> None:
    many = b" ".join(b"<%d.%s@x.test>" % (number, b"x" * 200) for number in range(60))
    message = parsed(report(), NAMED + b"References: " + many + b"\r\n")
    assert len(message["References"].split()) == MAX_REFERENCES + 1


@given(st.binary(max_size=400), st.sampled_from([b"Subject", b"Message-ID", b"References"]))
def test_whatever_stands_in_its_names_the_notification_is_one(value: bytes, name: bytes) -> None:
    message = parsed(report(), name + b": " + value.replace(b"\r", b"").replace(b"\n", b"\r\n ") + b"\r\n")
    assert message.get_content_type() == "multipart/report"
    assert len(groups(message)) == 2
    assert message["To"] == "ann@example.net"
    assert message["Subject"].startswith("Not delivered: ")
    assert message.keys().count("Subject") == 1


def test_one_piece_of_advice_is_given_once() -> None:
    same = replace(REFUSED, advice="Check the address.")
    other = replace(same, recipient=Mailbox("cat", "example.org"))
    text = next(parsed(report(same, other)).iter_parts()).get_content()
    assert text.count("What you can do: Check the address.") == 1
    text = next(parsed(report(same, replace(other, advice="Send it again later."))).iter_parts()).get_content()
    assert text.count("What you can do: ") == 2
