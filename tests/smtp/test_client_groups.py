"""The next envelope in one group with a content (RFC 2920 section 3.1): what goes out, and whose each answer is."""

import pytest

from letterlock.mail.replies import Reply
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import (
    EnvelopeAnswered,
    LocalProtocolError,
    MessageAnswered,
    RecipientAnswered,
    RemoteProtocolError,
    SenderAnswered,
)
from letterlock.smtp.client_steps import ClientState
from tests.smtp.test_client_early import ANN, BOB, CONTENT, EVE, READY, greeted, replies

ENVELOPE = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\n"
OK = Reply(250, ("x",))


def leading(*extensions: str, lmtp: bool = False) -> SmtpClient:
    """A client whose content has just been sent, in the second transaction."""
    client = greeted(*(extensions or ("PIPELINING",)), lmtp=lmtp)
    for _ in range(2):
        client.begin(ANN, [BOB], size=len(CONTENT))
        client.take_output()
        replies(client, 250, 250, *([354] if not client.chunking else []))
        client.send_message(READY)
        if _ == 0:
            client.take_output()
            replies(client, 250)
    return client


@pytest.mark.parametrize("extensions", [("PIPELINING",), ("PIPELINING", "CHUNKING")])
def test_rfc2920_3_1_the_next_envelope_follows_the_content(extensions: tuple[str, ...]) -> None:
    client = leading(*extensions)
    assert client.may_follow
    client.begin(ANN, [EVE], size=len(CONTENT), behind=True)
    output = client.take_output()
    assert output.endswith((CONTENT if client.capabilities.chunking else b"\r\n.\r\n") + ENVELOPE)
    assert not client.chunking, "what follows goes by DATA"
    assert str(client.awaiting) == "message"
    assert replies(client, 250) == [MessageAnswered(OK)]
    assert client.state is ClientState.WAITING
    assert str(client.awaiting) == "MAIL"
    assert replies(client, 250, 250, 354) == [
        SenderAnswered(OK),
        RecipientAnswered(EVE, OK),
        EnvelopeAnswered((EVE,), Reply(354, ("x",))),
    ]
    client.send_message(READY)
    assert client.take_output() == READY.octets + b"\r\n.\r\n"[2 * READY.octets.endswith(b"\r\n") :]
    assert client.may_follow, "and so on"
    assert replies(client, 250) == [MessageAnswered(OK)]
    client.begin(ANN, [BOB], size=1)
    assert client.take_output().startswith(b"MAIL "), "no transaction is open"


def test_what_follows_once_does_not_change_how_later_ones_go() -> None:
    client = leading("PIPELINING", "CHUNKING")
    client.begin(ANN, [EVE], size=len(CONTENT), behind=True)
    replies(client, 250, 250, 550, 554)
    assert client.state is ClientState.READY
    client.begin(ANN, [EVE], size=len(CONTENT))
    assert client.chunking


@pytest.mark.parametrize(
    "codes", [(250, 250, 250, 250), (250, 250, 354), (354,), (250, 354), (250, 250, 250, 250, 354)]
)
def test_a_reply_that_is_not_its_own_ends_the_session_before_the_next_content(codes: tuple[int, ...]) -> None:
    client = leading("PIPELINING", "CHUNKING")
    client.begin(ANN, [EVE], size=len(CONTENT), behind=True)
    client.take_output()
    try:
        events = replies(client, *codes)
    except RemoteProtocolError:
        events = []
    assert not [event for event in events if isinstance(event, EnvelopeAnswered)]
    assert client.fault is not None
    assert client.state is ClientState.CLOSED
    assert client.take_output() == b""


def test_421_to_the_content_ends_what_follows_too() -> None:
    client = leading()
    client.begin(ANN, [EVE], size=len(CONTENT), behind=True)
    events = replies(client, 421, 250)
    assert events[0] == MessageAnswered(Reply(421, ("x",)))
    assert len(events) == 2
    assert client.state is ClientState.CLOSED


def test_nothing_follows_where_it_may_not() -> None:
    """Before the content; without PIPELINING; behind a message that went with its envelope; twice; in LMTP."""
    ready = greeted("PIPELINING")
    envelope = greeted("PIPELINING")
    envelope.begin(ANN, [BOB], size=1)
    early = greeted("PIPELINING", "CHUNKING")
    early.begin(ANN, [BOB], size=len(CONTENT), early=READY)
    replies(early, 250, 250)
    twice = leading()
    twice.begin(ANN, [EVE], size=1, behind=True)
    for client in (ready, envelope, early, twice, leading(lmtp=True)):
        assert not client.may_follow
        client.take_output()
        with pytest.raises(LocalProtocolError):
            client.begin(ANN, [EVE], size=1, behind=True)
        assert client.take_output() == b""
