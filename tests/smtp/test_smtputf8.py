"""Addresses and headers beyond ASCII, at the server and by the client (RFC 6531)."""

import pytest

from letterlock.dsn.notice_text import decode_utf8_xtext
from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.checked_content import has_utf8_header
from letterlock.receive.trace import received_field
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import LocalProtocolError
from tests.smtp.server_driver import ready

JOERG = Mailbox("jörg", "xn--bcher-kva.example")
MAIL = "MAIL FROM:<jörg@bücher.example> SMTPUTF8\r\n".encode()
RCPT = "RCPT TO:<dömi@example.net>\r\n".encode()


def test_rfc6531_3_4_with_smtputf8_addresses_may_be_utf8() -> None:
    driver = ready()
    answer = driver.send(MAIL + RCPT + b"DATA\r\n") + driver.send("Subject: grüße\r\n\r\nx\r\n.\r\n".encode())
    assert [line[:3] for line in answer.splitlines()] == [b"250", b"250", b"354", b"250"]
    [message] = driver.messages
    assert message.smtputf8
    assert message.reverse_path == JOERG, "the domain goes on in A-labels"
    assert message.recipients == (Mailbox("dömi", "example.net"),)


@pytest.mark.parametrize("line", [MAIL.replace(b" SMTPUTF8", b""), b"MAIL FROM:<a@b.example>\r\n" + RCPT])
def test_rfc6531_3_5_without_smtputf8_they_are_refused_with_5_6_7(line: bytes) -> None:
    assert ready().send(line).endswith(b"553 5.6.7 A non-ASCII address needs the parameter SMTPUTF8 in MAIL\r\n")


def test_smtputf8_is_of_one_transaction() -> None:
    driver = ready()
    driver.send(MAIL + b"RSET\r\nMAIL FROM:<a@b.example>\r\n")
    assert driver.send(RCPT).startswith(b"553 5.6.7")


def test_what_is_not_utf8_is_refused() -> None:
    assert ready().send(b"MAIL FROM:<j\xf6rg@example.org> SMTPUTF8\r\n").startswith(b"501 5.5.4")


@pytest.mark.parametrize("local", ["a\u0085b", "a\u2028b", "a\ufffeb", "\ud800", "a b", "ä" * 33])
def test_no_controls_no_line_ends_no_halves_and_64_octets_of_utf8(local: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_mailbox(f"{local}@example.org")


@pytest.mark.parametrize(
    "text", ["jörg@bücher.example", "用户@例子.广告", "अजय@डाटा.भारत", '"a ö"@example.org', "a@ΘΣΟΥΡ.example"]
)
def test_addresses_of_the_world_are_taken_and_their_domains_are_a_labels(text: str) -> None:
    mailbox = parse_mailbox(text)
    assert mailbox.domain.isascii()
    assert mailbox.domain == mailbox.domain.lower()


def test_rfc6531_3_2_a_u_label_and_its_a_label_are_one_domain() -> None:
    assert parse_mailbox("a@BÜCHER.example").domain == parse_mailbox("a@xn--bcher-kva.example").domain


def test_rfc6531_4_3_the_received_field_says_utf8smtp() -> None:
    driver = ready()
    assert driver.server.protocol == "ESMTP"
    driver.send(MAIL)
    assert driver.server.protocol == "UTF8SMTP"
    driver.send(b"RSET\r\n")
    assert driver.server.protocol == "ESMTP"
    field = received_field(
        hello="x",
        client="192.0.2.1",
        hostname="mx.example",
        protocol="UTF8SMTP",
        tls=None,
        message_id="M1",
        recipients=(JOERG,),
        now=0,
    )
    assert b"with UTF8SMTP id M1;\r\n" in field


def client(*extensions: str) -> SmtpClient:
    client = SmtpClient("client.example")
    client.receive(b"220 mx\r\n")
    client.hello()
    client.take_output()
    client.receive("".join(f"250-{line}\r\n" for line in ("mx", "PIPELINING", *extensions)).encode() + b"250 X\r\n")
    return client


def test_rfc6531_3_4_the_client_says_smtputf8_and_writes_utf8() -> None:
    sender = client("SMTPUTF8", "8BITMIME", "SIZE")
    sender.begin(JOERG, [JOERG], size=5, eight_bit=True, smtputf8=True)
    assert (
        sender.take_output()
        == (
            "MAIL FROM:<jörg@xn--bcher-kva.example> SIZE=5 BODY=8BITMIME SMTPUTF8\r\n"
            "RCPT TO:<jörg@xn--bcher-kva.example>\r\nDATA\r\n"
        ).encode()
    )


def test_rfc6531_3_2_never_to_a_server_that_does_not_offer_it() -> None:
    with pytest.raises(LocalProtocolError, match="does not offer SMTPUTF8"):
        client().begin(JOERG, [JOERG], size=5, smtputf8=True)


def test_without_it_nothing_beyond_ascii_gets_into_a_command() -> None:
    with pytest.raises(LocalProtocolError):
        client("SMTPUTF8").begin(JOERG, [JOERG], size=5)


def test_only_the_header_counts() -> None:
    assert has_utf8_header("Subject: ö\r\n\r\nx".encode())
    assert has_utf8_header("Subject: ö\r\n".encode())
    assert not has_utf8_header("Subject: o\r\n\r\nö".encode())
    assert not has_utf8_header(b"")


@pytest.mark.parametrize("line", ["VRFY jörg SMTPUTF8", "VRFY jörg", "EXPN liste SMTPUTF8"])
def test_rfc6531_3_7_4_vrfy_and_expn_take_smtputf8_and_answer_in_ascii(line: str) -> None:
    answer = ready().send(line.encode() + b"\r\n")
    assert answer[:3] in (b"252", b"502")
    assert answer.isascii()


def test_rfc6531_3_1_who_offers_smtputf8_offers_8bitmime() -> None:
    answer = ready().send(b"EHLO client.example\r\n")
    assert b"SMTPUTF8" in answer
    assert b"8BITMIME" in answer


def test_rfc6533_3_an_orcpt_in_utf_8_is_kept_in_seven_bits() -> None:
    driver = ready()
    orcpt = " ORCPT=utf-8;jörg@bücher.example\r\n".encode()
    driver.send(MAIL + b"RCPT TO:<bob@example.net>" + orcpt + b"DATA\r\n")
    driver.send(b"x\r\n.\r\n")
    [message] = driver.messages
    wish = message.wishes.of(Mailbox("bob", "example.net"))
    assert wish.orcpt == r"utf-8;j\x{F6}rg@b\x{FC}cher.example"
    assert decode_utf8_xtext(wish.orcpt) == "utf-8;jörg@bücher.example"


@pytest.mark.parametrize(
    "line",
    [
        "RCPT TO:<bob@example.net> ORCPT=rfc822;jörg@example.net",
        "RCPT TO:<bob@example.net> NOTIFY=ſUCCESS",
        "MAIL FROM:<a@b.example> SMTPUTF8 SIZE=٣",
        "MAIL FROM:<a@b.example> SMTPUTF8 ENVID=ö",
    ],
)
def test_no_other_parameter_goes_beyond_ascii(line: str) -> None:
    driver = ready()
    if line.startswith("RCPT"):
        driver.send(MAIL)
    assert driver.send(line.encode() + b"\r\n").startswith(b"501")
