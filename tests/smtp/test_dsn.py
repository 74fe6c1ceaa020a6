"""The extension DSN on both sides of a session (RFC 3461)."""

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.mail.wishes import Event, RecipientWishes, Ret, Wishes
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import parse_capabilities
from tests.smtp.server_driver import Driver

ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.org")
SENDER = Mailbox("sender", "example.net")
WISHES = Wishes(
    Ret.FULL,
    "QQ+20314159",
    {ANN: RecipientWishes(frozenset({Event.SUCCESS, Event.DELAY}), "rfc822;Ann@example.com")},
)


def greeted() -> Driver:
    driver = Driver()
    assert b"250-DSN\r\n" in driver.send(b"EHLO client.example\r\n")
    return driver


def test_rfc3461_4_what_a_client_wishes_is_kept_with_the_message() -> None:
    driver = greeted()
    driver.send(b"MAIL FROM:<sender@example.net> RET=full ENVID=QQ+20314159\r\n")
    driver.send(b"RCPT TO:<ann@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Ann@example.com\r\n")
    driver.send(b"RCPT TO:<bob@example.org>\r\n")
    driver.send(b"DATA\r\n")
    driver.send(b"x\r\n.\r\n")
    [message] = driver.messages
    assert message.wishes == WISHES


def test_rfc3461_4_wishes_end_with_their_transaction() -> None:
    driver = greeted()
    driver.send(
        b"MAIL FROM:<sender@example.net> RET=HDRS ENVID=A\r\nRCPT TO:<ann@example.org> NOTIFY=NEVER\r\nRSET\r\n"
    )
    driver.send(b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
    driver.send(b"x\r\n.\r\n")
    assert driver.messages[0].wishes == Wishes()


@pytest.mark.parametrize(
    "parameters",
    [
        b"RET=ALL", b"RET", b"RET=FULL RET=FULL", b"ENVID", b"ENVID=a+0D+0A", b"ENVID=a+2b", b"ENVID=" + b"x" * 101,
        b"ENVID=A ENVID=B",
    ],
)  # fmt: skip
def test_rfc3461_4_3_and_4_4_bad_parameters_of_mail_are_501(parameters: bytes) -> None:
    assert greeted().send(b"MAIL FROM:<a@example.net> " + parameters + b"\r\n").startswith(b"501 5.5.4 ")


@pytest.mark.parametrize(
    "parameters",
    [
        b"NOTIFY", b"NOTIFY=NEVER,DELAY", b"NOTIFY=NO", b"NOTIFY=NEVER NOTIFY=DELAY", b"ORCPT=ann@example.org",
        b"ORCPT=rfc822;a+0Ab", b"ORCPT=rfc822;" + b"x" * 500,
    ],
)  # fmt: skip
def test_rfc3461_4_1_and_4_2_bad_parameters_of_rcpt_are_501(parameters: bytes) -> None:
    driver = greeted()
    driver.send(b"MAIL FROM:<a@example.net>\r\n")
    assert driver.send(b"RCPT TO:<ann@example.org> " + parameters + b"\r\n").startswith(b"501 5.5.4 ")


def test_rfc3461_4_ret_belongs_to_mail_and_notify_to_rcpt() -> None:
    driver = greeted()
    assert driver.send(b"MAIL FROM:<a@example.net> NOTIFY=NEVER\r\n").startswith(b"555 ")
    driver.send(b"MAIL FROM:<a@example.net>\r\n")
    assert driver.send(b"RCPT TO:<ann@example.org> RET=FULL\r\n").startswith(b"555 ")


def sent(extensions: bytes) -> bytes:
    """What a client says to a server with these extensions when a sender has wishes."""
    client = SmtpClient("client.example")
    client.receive(b"220 mx ESMTP\r\n")
    client.hello()
    client.receive(extensions)
    client.take_output()
    client.begin(SENDER, (ANN, BOB), size=3, wishes=WISHES)
    return client.take_output()


def test_rfc3461_5_2_1_wishes_go_on_as_they_came() -> None:
    assert sent(b"250-mx\r\n250-PIPELINING\r\n250 DSN\r\n") == (
        b"MAIL FROM:<sender@example.net> RET=FULL ENVID=QQ+20314159\r\n"
        b"RCPT TO:<ann@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Ann@example.com\r\n"
        b"RCPT TO:<bob@example.org>\r\nDATA\r\n"
    )


def test_rfc3461_5_2_2_a_server_that_does_not_offer_dsn_gets_none_of_it() -> None:
    assert sent(b"250-mx\r\n250 PIPELINING\r\n") == (
        b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    )


def test_rfc3461_3_dsn_is_a_keyword_without_parameters() -> None:
    assert parse_capabilities(("mx", "dsn")).dsn
    assert not parse_capabilities(("mx", "DSNX")).dsn


def test_rfc5321_4_1_1_3_a_recipient_given_again_gets_one_copy_and_the_first_rcpt_counts() -> None:
    driver = greeted()
    driver.send(b"MAIL FROM:<sender@example.net>\r\n")
    first = driver.send(b"RCPT TO:<ann@example.org> NOTIFY=NEVER ORCPT=rfc822;first@example.com\r\n")
    again = driver.send(b"RCPT TO:<ann@EXAMPLE.org> NOTIFY=SUCCESS ORCPT=rfc822;second@example.com\r\n")
    bare = driver.send(b"RCPT TO:<ann@example.org>\r\n")
    assert first == again == bare == b"250 2.1.5 Ok\r\n"
    assert driver.send(b"RCPT TO:<Ann@example.org>\r\n") == first, "local parts are compared exactly (section 2.4)"
    driver.send(b"RCPT TO:<bob@example.org>\r\nRCPT TO:<bob@example.org> NOTIFY=NEVER\r\nDATA\r\n")
    driver.send(b"x\r\n.\r\n")
    [message] = driver.messages
    assert message.recipients == (ANN, Mailbox("Ann", "example.org"), BOB)
    assert message.wishes.recipients == {ANN: RecipientWishes(frozenset(), "rfc822;first@example.com")}


def test_rfc5321_4_1_1_3_a_refused_recipient_given_again_is_decided_again() -> None:
    driver = greeted()
    driver.send(b"MAIL FROM:<sender@example.net>\r\n")
    driver.refuse_recipients = Reply(550, ("5.7.1 relaying denied",))
    assert driver.send(b"RCPT TO:<ann@example.org>\r\n").startswith(b"550")
    driver.refuse_recipients = None
    assert driver.send(b"RCPT TO:<ann@example.org>\r\n").startswith(b"250")


def test_a_recipient_given_again_counts_towards_the_most_of_a_message() -> None:
    driver = greeted()
    driver.send(b"MAIL FROM:<sender@example.net>\r\n")
    answers = driver.send(b"RCPT TO:<ann@example.org>\r\n" * 1010).splitlines()
    assert [answer[:3] for answer in answers[998:1002]] == [b"250", b"250", b"452", b"452"]
