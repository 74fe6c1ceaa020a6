"""The sans-IO client against servers that do not keep to the protocol."""

from contextlib import suppress

import pytest

from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import (
    ConnectionEnded,
    HelloAnswered,
    LocalProtocolError,
    MessageAnswered,
    RemoteProtocolError,
    TlsAnswered,
    TlsGoAhead,
)
from letterlock.smtp.client_steps import ClientState
from tests.smtp.test_client import ALL, ANN, BOB, OK, PLAIN, SENDER, begun, kinds, ready

CHUNKING = b"250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n"


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250 mx\r\n",
        b"221 mx\r\n",
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
    assert client.state is ClientState.CLOSED
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
    assert client.state is ClientState.CLOSED
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
    with pytest.raises(RemoteProtocolError, match="unexpected reply"):
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
    assert client.state is ClientState.CLOSED


def test_a_2yz_before_the_content_is_never_taken_for_its_acceptance() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n250 queued already\r\n")
    assert client.state is ClientState.CLOSED
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
        OK * 3 + b"334 go\r\n",
        b"550 not you\r\n" + OK,  # RCPT accepted without a sender
    ],
)
def test_answers_that_fit_another_command(answers: bytes) -> None:
    client = begun()
    with suppress(RemoteProtocolError):
        client.receive(answers)  # what was rightly answered before comes out first
    assert client.fault is not None
    assert client.state is ClientState.CLOSED


def test_a_3yz_is_no_acceptance_of_the_message() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n")
    client.send_message(b"x\r\n")
    with pytest.raises(RemoteProtocolError):
        client.receive(b"354 more\r\n")


@pytest.mark.parametrize("code", [b"211", b"214", b"220", b"221", b"235", b"350", b"354"])
@pytest.mark.parametrize("hello", [PLAIN, ALL, CHUNKING])
def test_rfc5321_4_2_3_a_code_of_another_command_is_no_acceptance_of_the_message(code: bytes, hello: bytes) -> None:
    client = sent(hello)
    with pytest.raises(RemoteProtocolError):
        client.receive(code + b" 2.0.0 closing\r\n")
    assert client.state is ClientState.CLOSED


@pytest.mark.parametrize("code", [b"250", b"200", b"251", b"252", b"253", b"299"])
@pytest.mark.parametrize("hello", [PLAIN, ALL, CHUNKING])
def test_rfc5321_4_3_2_an_unknown_2yz_accepts_the_message(code: bytes, hello: bytes) -> None:
    client = sent(hello)
    assert kinds(client.receive(code + b" fine\r\n")) == [MessageAnswered]
    assert client.state is ClientState.READY


@pytest.mark.parametrize("code", [b"211", b"220", b"221"])
def test_rfc2033_4_2_in_lmtp_one_such_code_leaves_the_others_answered(code: bytes) -> None:
    client = SmtpClient("client.example", lmtp=True)
    client.receive(b"200 lmtp\r\n")
    client.hello()
    client.receive(b"200 lmtp\r\n")
    client.begin(SENDER, [ANN, BOB], size=3)
    client.receive(OK)
    client.receive(OK)
    client.receive(OK)
    client.receive(b"350 go\r\n")
    client.send_message(b"x\r\n")
    assert kinds(client.receive(OK + code + b" bye\r\n")) == [MessageAnswered]
    assert client.fault is not None


@pytest.mark.parametrize("code", [b"200", b"230", b"299"])
@pytest.mark.parametrize("go", [b"350", b"354", b"300", b"399"])
def test_rfc5321_4_3_2_unknown_codes_count_by_their_first_digit(code: bytes, go: bytes) -> None:
    client = SmtpClient("client.example")
    client.receive(code + b" mx\r\n")
    client.hello()
    assert kinds(client.receive(code + b"-mx\r\n" + code + b" 8BITMIME\r\n")) == [HelloAnswered]
    assert client.capabilities.eight_bit_mime
    client.begin(SENDER, [ANN], size=3)
    client.receive(code + b" ok\r\n")
    client.receive(code + b" ok\r\n")
    client.receive(go + b" go\r\n")
    assert client.state is ClientState.SENDING


def sent(hello: bytes) -> SmtpClient:
    """A client that has sent a message to Ann, by DATA or BDAT."""
    client = begun(hello, (ANN,))
    for _ in range(2):
        client.receive(OK)
    if not client.chunking:
        client.receive(b"354 go\r\n")
    client.send_message(b"x\r\n")
    return client


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
