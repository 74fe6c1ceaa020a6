"""BDAT by the client (RFC 3030): when it is used, and what goes over the wire."""

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import EnvelopeAnswered, LocalProtocolError, MessageAnswered
from letterlock.smtp.client_steps import ClientState
from tests.smtp.test_client import without

ANN, BOB, EVE = Mailbox("ann", "example.org"), Mailbox("bob", "example.net"), Mailbox("eve", "example.net")
CHUNKS = ("PIPELINING", "CHUNKING")


def ready(*extensions: str, chunking: bool = True, pipelining: bool = True) -> SmtpClient:
    client = SmtpClient("client.example", ignored=without(pipelining=pipelining, chunking=chunking))
    client.receive(b"220 mx\r\n")
    client.hello()
    client.take_output()
    lines = ["mx", *extensions]
    client.receive("".join(f"250{'-' if line != lines[-1] else ' '}{line}\r\n" for line in lines).encode())
    return client


def test_rfc3030_2_a_message_goes_in_one_chunk_as_it_is() -> None:
    client = ready(*CHUNKS)
    client.begin(ANN, [BOB], size=9)
    assert client.take_output() == b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.net>\r\n", "no DATA"
    assert client.receive(b"250 ok\r\n250 ok\r\n")[-1] == EnvelopeAnswered((BOB,), None)
    client.send_message(b".a\r\n..\r\n.")
    assert client.take_output() == b"BDAT 9 LAST\r\n.a\r\n..\r\n."
    assert client.receive(b"250 queued\r\n") == [MessageAnswered(Reply(250, ("queued",)))]
    assert client.state is ClientState.READY


def test_an_empty_message_is_an_empty_chunk() -> None:
    client = ready(*CHUNKS)
    client.begin(ANN, [BOB], size=0)
    client.take_output()
    client.receive(b"250 ok\r\n250 ok\r\n")
    client.send_message(b"")
    assert client.take_output() == b"BDAT 0 LAST\r\n"


def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    client = ready("CHUNKING")
    client.begin(ANN, [BOB, EVE], size=1)
    for sent in (b"MAIL", b"RCPT", b"RCPT"):
        assert client.take_output().startswith(sent)
        events = client.receive(b"250 ok\r\n")
    assert events[-1] == EnvelopeAnswered((BOB, EVE), None)


@pytest.mark.parametrize("pipelining", [True, False])
def test_nobody_accepted_no_octet_of_the_message_is_sent(pipelining: bool) -> None:
    client = ready(*CHUNKS, pipelining=pipelining)
    client.begin(ANN, [BOB], size=1)
    events = client.receive(b"250 ok\r\n550 no\r\n") if pipelining else client.receive(b"250 ok\r\n")
    if not pipelining:
        events = client.receive(b"550 no\r\n")
    assert events[-1] == EnvelopeAnswered((), None)
    assert client.state is ClientState.READY
    with pytest.raises(LocalProtocolError):
        client.send_message(b"x\r\n")
    client.take_output()
    client.begin(ANN, [EVE], size=1)
    assert client.take_output().startswith(b"RSET\r\n")


@pytest.mark.parametrize(("extensions", "chunking"), [(("PIPELINING",), True), (CHUNKS, False)])
def test_where_it_is_not_offered_or_not_wanted_data_is_used(extensions: tuple[str, ...], chunking: bool) -> None:
    client = ready(*extensions, chunking=chunking)
    client.begin(ANN, [BOB], size=1)
    assert client.take_output().endswith(b"DATA\r\n")


def test_what_was_offered_before_tls_does_not_count_inside() -> None:
    client = ready(*CHUNKS, "STARTTLS")
    assert client.chunking
    client.start_tls()
    client.receive(b"220 go\r\n")
    client.tls_established()
    assert not client.chunking


def test_a_bare_line_end_is_refused_though_bdat_could_carry_it() -> None:
    client = ready(*CHUNKS)
    client.begin(ANN, [BOB], size=1)
    client.receive(b"250 ok\r\n250 ok\r\n")
    with pytest.raises(LocalProtocolError, match="bare"):
        client.send_message(b"a\nb\r\n")


def test_rfc2033_4_2_in_lmtp_there_is_an_answer_for_each_recipient() -> None:
    client = SmtpClient("client.example", lmtp=True)
    client.receive(b"220 mx\r\n")
    client.hello()
    client.receive(b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
    client.begin(ANN, [BOB, EVE], size=1)
    client.receive(b"250 ok\r\n" * 3)
    client.send_message(b"x\r\n")
    events = client.receive(b"250 ok\r\n452 full\r\n")
    assert [event.recipient for event in events if isinstance(event, MessageAnswered)] == [BOB, EVE]
