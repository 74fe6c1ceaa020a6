"""Notifications on their way to servers that take 7 bits only (RFC 6152 section 3)."""

import email
import email.policy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.dsn import Fate, Report, ToldRecipient, compose, in_seven_bits
from letterlock.mail.addresses import Mailbox
from letterlock.mailauth.dkim.sign import Signer
from letterlock.mailauth.message import split
from tests.mailauth.dkim.forging import ed25519_key

NOW = 1_800_000_000.0
ANN = Mailbox("ann", "example.net")
BOB = ToldRecipient(recipient=Mailbox("bob", "example.org"), status="5.1.1", text="no such user")
TOLD = Report(sender=ANN, fate=Fate.FAILED, accepted_at=NOW, recipients=(BOB,))
GLOBAL = replace(TOLD, recipients=(replace(BOB, recipient=Mailbox("jörg", "example.org")),), smtputf8=True)
CONTENT = "Subject: hello\r\nMIME-Version: 1.0\r\n\r\n--x\r\n\r\ngrüße\r\n".encode()


def composed(told: Report, content: bytes, *, full: bool = True) -> bytes:
    return compose(told, content, hostname="mx.example.net", message_id="D1", now=NOW, full=full)


def read(notification: bytes | None) -> list[tuple[str, str]]:
    """Kind and text of each part, decoded."""
    assert notification is not None
    message = email.message_from_bytes(notification, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert not message.defects
    assert message["Content-Transfer-Encoding"] == "7bit"
    parts = [part for part in message.iter_parts() if isinstance(part, email.message.EmailMessage)]
    return [(part.get_content_type(), part.as_string()) for part in parts]


def test_rfc2046_5_2_1_a_message_is_not_encoded_and_its_header_goes_on() -> None:
    whole = composed(TOLD, CONTENT)
    assert not whole.isascii()
    seven = in_seven_bits(whole)
    kinds = read(seven)
    assert [kind for kind, _ in kinds] == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert "Subject: hello" in kinds[2][1]
    assert seven is not None
    assert seven.isascii()
    assert b"gr" not in seven.partition(b"text/rfc822-headers")[2]
    assert whole.partition(b"text/plain")[2][:500] == seven.partition(b"text/plain")[2][:500], "the rest is as it was"


def test_a_signature_that_the_change_breaks_is_left_out() -> None:
    whole = composed(TOLD, CONTENT)
    signed = Signer([ed25519_key("example.net")]).sign(split(whole), NOW) + whole
    assert signed.startswith(b"DKIM-Signature: ")
    assert in_seven_bits(signed) == in_seven_bits(whole)


def test_rfc6533_5_what_is_global_is_encoded() -> None:
    seven = in_seven_bits(composed(GLOBAL, "Subject: grüße\r\n\r\nx\r\n".encode(), full=False))
    assert [kind for kind, _ in read(seven)] == [
        "text/plain",
        "message/global-delivery-status",
        "message/global-headers",
    ]
    assert seven is not None
    assert b"Final-Recipient: utf-8; j=C3=B6rg@example.org" in seven
    assert b"Subject: gr=C3=BC=C3=9Fe" in seven


def test_the_text_for_people_says_what_may_have_become_of_the_message() -> None:
    unsure = b"or its header"
    assert unsure in composed(TOLD, CONTENT).replace(b"=\r\n", b"").replace(b"\r\n", b" ")
    assert unsure not in composed(TOLD, b"Subject: x\r\n\r\nx\r\n").replace(b"\r\n", b" ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        CONTENT,
        composed(TOLD, CONTENT).replace(b"multipart/report", b"multipart/mixed"),
        composed(TOLD, CONTENT).replace(b"Subject: Not", "Subject: Nöt".encode()),
        composed(TOLD, CONTENT).replace(b"message/rfc822", b"application/x-bin"),
    ],
)
def test_what_is_no_notification_or_cannot_be_had_so_is_left_alone(content: bytes) -> None:
    assert in_seven_bits(content) is None


@given(st.binary(max_size=60), st.booleans())
def test_whatever_the_message_is_the_result_has_three_parts(content: bytes, smtputf8: bool) -> None:
    content = content.replace(b"\r", b"").replace(b"\n", b"\r\n")
    seven = in_seven_bits(composed(GLOBAL if smtputf8 else TOLD, content))
    if seven is not None:
        assert seven.isascii()
        assert len(read(seven)) == 3


@given(st.binary(max_size=200))
def test_whatever_comes_nothing_but_7_bits_goes(content: bytes) -> None:
    seven = in_seven_bits(b'Content-Type: multipart/report; boundary="b"\r\n\r\n--b\r\n' + content)
    assert seven is None or seven.isascii()
