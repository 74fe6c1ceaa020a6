"""A message in one group with its envelope (RFC 3030 section 4.2): one round trip, and every answer at its place."""

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_content import wire_content
from letterlock.smtp.client_events import (
    ConnectionEnded,
    EnvelopeAnswered,
    Event,
    LocalProtocolError,
    MessageAnswered,
    RecipientAnswered,
    SenderAnswered,
)
from letterlock.smtp.client_steps import ClientState
from tests.smtp.server_driver import Driver
from tests.smtp.test_client import without

ANN, BOB, EVE = Mailbox("ann", "example.org"), Mailbox("bob", "example.net"), Mailbox("eve", "example.net")
CONTENT = b"Subject: x\r\n\r\n.dot\r\nhello"
READY = wire_content(CONTENT)


def greeted(*extensions: str, lmtp: bool = False, pipelining: bool = True, chunking: bool = True) -> SmtpClient:
    client = SmtpClient("client.example", lmtp=lmtp, ignored=without(pipelining=pipelining, chunking=chunking))
    client.receive(b"220 mx\r\n")
    client.hello()
    client.take_output()
    client.receive("".join(f"250-{line}\r\n" for line in ("mx", *extensions)).encode() + b"250 HELP\r\n")
    return client


def begun(*recipients: Mailbox, lmtp: bool = False) -> SmtpClient:
    client = greeted("PIPELINING", "CHUNKING", lmtp=lmtp)
    client.begin(ANN, recipients or (BOB,), size=len(CONTENT), early=READY)
    return client


def replies(client: SmtpClient, *codes: int) -> list[Event]:
    """All answers in one read."""
    return client.receive(b"".join(b"%d x\r\n" % code for code in codes))


def test_rfc3030_4_2_envelope_and_message_go_out_together() -> None:
    client = begun()
    assert client.take_output() == (
        b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\nBDAT 25 LAST\r\n" + CONTENT
    )
    assert client.sent_early
    assert replies(client, 250, 250) == [
        SenderAnswered(Reply(250, ("x",))),
        RecipientAnswered(BOB, Reply(250, ("x",))),
        EnvelopeAnswered((BOB,), None),
    ]
    assert client.state.value == "waiting"
    assert replies(client, 250) == [MessageAnswered(Reply(250, ("x",)))]
    assert client.state.value == "ready"
    assert client.take_output() == b""


def test_some_recipients_refused_the_answer_is_for_the_others() -> None:
    client = begun(BOB, EVE)
    events = replies(client, 250, 550, 250, 250)
    assert events[3:] == [EnvelopeAnswered((EVE,), None), MessageAnswered(Reply(250, ("x",)))]


@pytest.mark.parametrize("codes", [(250, 550, 503), (250, 450, 554), (550, 503, 503), (250, 550, 250)])
def test_nobody_accepted_the_answer_to_the_message_is_about_nobody(codes: tuple[int, ...]) -> None:
    client = begun()
    assert replies(client, *codes)[-1] == EnvelopeAnswered((), None)
    assert client.state is ClientState.READY
    client.take_output()
    client.begin(ANN, [EVE], size=1)
    assert client.take_output().startswith(b"RSET\r\n")


def test_rfc2033_4_2_in_lmtp_those_accepted_are_answered_one_by_one() -> None:
    client = begun(BOB, EVE, ANN, lmtp=True)
    events = replies(client, 250, 250, 550, 250, 250, 452)
    assert [each.recipient for each in events if isinstance(each, MessageAnswered)] == [BOB, ANN]
    assert client.state is ClientState.READY


def test_only_the_first_message_of_a_session() -> None:
    """A session that served before may have ended unseen; nothing is to be in doubt then."""
    client = begun()
    replies(client, 250, 250, 250)
    assert not client.may_send_early
    with pytest.raises(LocalProtocolError, match="must wait"):
        client.begin(ANN, [BOB], size=1, early=READY)


@pytest.mark.parametrize(
    "client",
    [
        greeted("PIPELINING"),
        greeted("CHUNKING"),
        greeted("CHUNKING", "PIPELINING", pipelining=False),
        greeted("CHUNKING", "PIPELINING", chunking=False),
    ],
)
def test_only_with_pipelining_and_chunking(client: SmtpClient) -> None:
    assert not client.may_send_early
    with pytest.raises(LocalProtocolError, match="must wait"):
        client.begin(ANN, [BOB], size=1, early=READY)


@pytest.mark.parametrize("heard", [b"", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n"])
def test_a_connection_that_ends_is_an_error_wherever_it_stands(heard: bytes) -> None:
    client = begun()
    if heard:
        client.receive(heard)
    with pytest.raises(ConnectionEnded):
        client.receive(b"")


def test_our_server_takes_it_and_consumes_what_nobody_wants() -> None:
    client, driver = begun(BOB, EVE), Driver()
    driver.send(b"EHLO client.example\r\n")
    events = client.receive(driver.send(client.take_output()))
    assert isinstance(events[-1], MessageAnswered)
    assert driver.messages[0].content == CONTENT + b"\r\n"
    again = driver.send(b"BDAT 6 LAST\r\nRSET\r\nNOOP\r\n")
    assert [line[:3] for line in again.splitlines()] == [b"503", b"250"]
