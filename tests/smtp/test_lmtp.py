"""The client in LMTP (RFC 2033): its greeting, and a reply for each recipient, from servers good and evil."""

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import (
    ConnectionEnded,
    EnvelopeAnswered,
    HelloAnswered,
    LocalProtocolError,
    MessageAnswered,
    RemoteProtocolError,
    ServerClosing,
)
from letterlock.smtp.client_steps import ClientState, Step

ANN = Mailbox("ann", "example.org")
BOB = Mailbox("bob", "example.org")
EVE = Mailbox("eve", "example.org")
SENDER = Mailbox("sender", "example.net")
OK = b"250 2.1.5 Ok\r\n"
BODY = b"Subject: hello\r\n\r\n.hello\r\n"


def ready(hello: bytes = b"250-mx\r\n250-8BITMIME\r\n250 PIPELINING\r\n") -> SmtpClient:
    """A client behind LHLO."""
    client = SmtpClient("client.example", lmtp=True)
    client.receive(b"220 mx LMTP\r\n")
    client.hello()
    assert client.take_output() == b"LHLO client.example\r\n"
    client.receive(hello)
    return client


def sent(*recipients: Mailbox, replies: bytes | None = None) -> SmtpClient:
    """A client that has sent a message."""
    client = ready()
    client.begin(SENDER, recipients, size=len(BODY))
    client.take_output()
    answers = OK * len(recipients) if replies is None else replies
    events = client.receive(b"250 2.1.0 Ok\r\n" + answers + b"354 go\r\n")
    assert isinstance(events[-1], EnvelopeAnswered)
    client.send_message(BODY)
    assert client.take_output().endswith(b"\r\n..hello\r\n.\r\n")
    return client


def test_rfc2033_4_1_lhlo_takes_the_place_of_ehlo() -> None:
    client = ready()
    assert client.state is ClientState.READY
    assert client.capabilities.pipelining
    assert client.lmtp


def test_rfc2033_4_1_a_server_that_knows_no_lhlo_is_not_asked_for_less() -> None:
    client = ready(b"500 5.5.1 what?\r\n")
    assert client.state is ClientState.GREETED
    with pytest.raises(LocalProtocolError):
        client.hello_without_extensions()


def test_rfc2033_4_2_a_reply_for_each_accepted_recipient_in_the_order_of_rcpt() -> None:
    client = sent(ANN, BOB)
    assert client.receive(b"250 2.1.5 saved\r\n") == [MessageAnswered(Reply(250, ("2.1.5 saved",)), ANN)]
    assert client.awaiting is Step.MESSAGE
    assert client.receive(b"452 4.2.2 full\r\n") == [MessageAnswered(Reply(452, ("4.2.2 full",)), BOB)]
    assert client.state is ClientState.READY


def test_rfc2033_4_2_a_refused_recipient_gets_no_reply_to_the_message() -> None:
    client = sent(ANN, BOB, EVE, replies=OK + b"550 5.1.1 no such user\r\n" + OK)
    events = client.receive(b"250 a\r\n250 e\r\n")
    assert [event.recipient for event in events if isinstance(event, MessageAnswered)] == [ANN, EVE]
    assert client.state is ClientState.READY


def test_rfc2033_4_2_a_recipient_named_twice_gets_two_replies() -> None:
    client = sent(ANN, ANN)
    assert (len(client.receive(OK)), client.state) == (1, ClientState.WAITING)
    assert (len(client.receive(OK)), client.state) == (1, ClientState.READY)


def test_replies_that_come_in_pieces() -> None:
    client = sent(ANN, BOB)
    events = [event for octet in b"250-a\r\n250 b\r\n451 4.3.0 later\r\n" for event in client.receive(bytes([octet]))]
    assert events == [
        MessageAnswered(Reply(250, ("a", "b")), ANN),
        MessageAnswered(Reply(451, ("4.3.0 later",)), BOB),
    ]


def test_fewer_replies_than_recipients_leave_the_session_waiting_until_its_end() -> None:
    client = sent(ANN, BOB)
    assert len(client.receive(OK)) == 1
    with pytest.raises(LocalProtocolError):
        client.begin(SENDER, [ANN], size=1)
    with pytest.raises(ConnectionEnded):
        client.receive(b"")


def test_more_replies_than_recipients_end_the_session_behind_those_that_were_due() -> None:
    client = sent(ANN, BOB)
    events = client.receive(OK * 3)
    assert [event.recipient for event in events if isinstance(event, MessageAnswered)] == [ANN, BOB]
    assert client.state is ClientState.CLOSED
    with pytest.raises(RemoteProtocolError):
        client.receive(b"")


def test_421_among_the_replies_ends_the_session() -> None:
    client = sent(ANN, BOB)
    closing = Reply(421, ("4.3.2 going",))
    assert client.receive(OK + b"421 4.3.2 going\r\n") == [
        MessageAnswered(Reply(250, ("2.1.5 Ok",)), ANN),
        MessageAnswered(closing, BOB),
        ServerClosing(closing),
    ]
    client = sent(ANN, BOB)
    assert client.receive(b"421 4.3.2 going\r\n") == [MessageAnswered(closing, ANN), ServerClosing(closing)]
    assert client.state is ClientState.CLOSED


@pytest.mark.parametrize("reply", [b"354 again\r\n", b"150 hm\r\n", b"600 no\r\n"])
def test_a_reply_of_no_meaning_ends_the_session(reply: bytes) -> None:
    client = sent(ANN)
    with pytest.raises(RemoteProtocolError):
        client.receive(reply)


def test_rfc2033_4_2_a_server_must_not_want_a_message_for_nobody() -> None:
    client = ready()
    client.begin(SENDER, [ANN], size=1)
    client.take_output()
    client.receive(b"250 Ok\r\n550 no\r\n354 go\r\n")
    assert client.fault is not None
    assert client.take_output() == b""


def test_rfc2033_4_2_503_to_data_for_nobody() -> None:
    client = ready()
    client.begin(SENDER, [ANN], size=1)
    events = client.receive(b"250 Ok\r\n550 no\r\n503 5.5.1 no recipients\r\n")
    assert events[-1] == EnvelopeAnswered((), Reply(503, ("5.5.1 no recipients",)))
    assert client.state is ClientState.READY


def test_a_second_transaction_after_the_last_reply() -> None:
    client = sent(ANN)
    client.receive(OK)
    client.begin(SENDER, [BOB], size=1)
    assert client.take_output().startswith(b"MAIL FROM:")


def test_rfc3207_starttls_inside_lmtp_forgets_what_was_offered_in_clear() -> None:
    client = ready(b"250-mx\r\n250 STARTTLS\r\n")
    client.start_tls()
    client.receive(b"220 go\r\n")
    client.tls_established()
    client.take_output()
    client.hello()
    assert client.take_output() == b"LHLO client.example\r\n"
    (answered,) = client.receive(b"250 mx\r\n")
    assert isinstance(answered, HelloAnswered)
    assert not client.capabilities.starttls
