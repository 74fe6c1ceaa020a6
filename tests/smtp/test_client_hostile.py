"""The sans-IO client against servers that do not keep to the protocol."""

from contextlib import suppress

import pytest

from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import (
    ConnectionEnded,
    LocalProtocolError,
    MessageAnswered,
    RemoteProtocolError,
    TlsAnswered,
    TlsGoAhead,
)
from letterlock.smtp.client_steps import State
from tests.smtp.test_client import ALL, ANN, OK, PLAIN, SENDER, begun, kinds, ready


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250 mx\r\n",
        b"354 mx\r\n",
        b"220 a\0\r\n",
        b"220-a\r\n" * 200,
        b"220 " + b"x" * 10_000,
        b"\x15\x03\x01\x00\x02\x02\x0a\n",
        b"SSH-2.0-x\r\n",
    ],
)
def test_a_greeting_that_is_none(greeting: bytes) -> None:
    client = SmtpClient("client.example")
    with pytest.raises(RemoteProtocolError):
        client.receive(greeting)
    assert client.state is State.CLOSED
    assert client.fault is not None
    with pytest.raises(LocalProtocolError):
        client.hello()


@pytest.mark.parametrize("injected", [b"x", b"250 mx\r\n", ALL, b"\0", b"\r\n"])
def test_rfc3207_4_2_octets_with_the_220_are_an_injection(injected: bytes) -> None:
    client = ready()
    client.start_tls()
    (answered,) = client.receive(b"220 go\r\n" + injected)
    assert isinstance(answered, TlsAnswered)
    assert answered.go_ahead is TlsGoAhead.INJECTED
    assert client.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        client.tls_established()


def test_nothing_is_received_between_220_and_the_handshake() -> None:
    client = ready()
    client.start_tls()
    client.receive(b"220 go\r\n")
    with pytest.raises(LocalProtocolError):
        client.receive(ALL)


def test_capabilities_of_the_clear_part_do_not_reach_the_tls_part() -> None:
    client = ready(ALL)
    client.start_tls()
    client.receive(b"220 go\r\n")
    client.tls_established()
    client.hello()
    client.receive(b"250 mx\r\n")
    client.take_output()
    client.begin(SENDER, [ANN], size=10)
    assert client.take_output() == b"MAIL FROM:<sender@example.net>\r\n", "no SIZE, no pipelining"


def test_an_answer_to_nothing() -> None:
    client = ready()
    with pytest.raises(RemoteProtocolError, match="nobody asked"):
        client.receive(b"250 surprise\r\n")


def test_an_answer_before_its_command() -> None:
    client = ready()
    client.receive(b"25")
    with pytest.raises(RemoteProtocolError, match="before it was sent"):
        client.quit()


def test_without_pipelining_answers_in_advance_are_refused() -> None:
    client = begun(PLAIN)
    with pytest.raises(RemoteProtocolError, match="before it was sent RCPT"):
        client.receive(OK * 4)
    assert client.state is State.CLOSED


def test_a_2yz_before_the_content_is_never_taken_for_its_acceptance() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n250 queued already\r\n")
    assert client.state is State.CLOSED
    with pytest.raises(LocalProtocolError):
        client.send_message(b"x\r\n")
    with pytest.raises(RemoteProtocolError):
        client.receive(OK)


@pytest.mark.parametrize(
    "answers",
    [
        b"354 go\r\n",  # to MAIL
        OK + b"354 go\r\n",  # to RCPT
        OK * 3 + b"250 ok\r\n",  # to DATA
        OK * 3 + b"220 ok\r\n",
        b"550 not you\r\n" + OK,  # RCPT accepted without a sender
    ],
)
def test_answers_that_fit_another_command(answers: bytes) -> None:
    client = begun()
    with suppress(RemoteProtocolError):
        client.receive(answers)  # what was rightly answered before comes out first
    assert client.fault is not None
    assert client.state is State.CLOSED


def test_a_3yz_is_no_acceptance_of_the_message() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n")
    client.send_message(b"x\r\n")
    with pytest.raises(RemoteProtocolError):
        client.receive(b"354 more\r\n")


def test_an_acceptance_stays_one_whatever_garbage_follows() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n")
    client.send_message(b"x\r\n")
    assert kinds(client.receive(b"250 queued\r\nGARBAGE\0\r\n")) == [MessageAnswered]
    assert client.fault is not None


def test_an_unfinished_reply_is_no_reply() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n")
    client.send_message(b"x\r\n")
    assert client.receive(b"250-queued\r\n250 a") == []
    with pytest.raises(ConnectionEnded, match="whole message"):
        client.receive(b"")


def test_an_end_when_an_answer_is_due() -> None:
    with pytest.raises(ConnectionEnded, match="greeting"):
        SmtpClient("client.example").receive(b"")
    with pytest.raises(ConnectionEnded, match="MAIL"):
        begun().receive(b"")


def test_a_refused_rset_ends_the_session() -> None:
    client = begun(PLAIN, [ANN])
    client.receive(b"450 later\r\n")
    client.begin(SENDER, [ANN], size=1)
    with pytest.raises(RemoteProtocolError, match="RSET"):
        client.receive(b"502 what\r\n")
