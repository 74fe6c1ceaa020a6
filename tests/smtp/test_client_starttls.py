"""What the client waits for before it says more: RFC 3207 section 4, RFC 8689 section 2."""

import pytest

from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import LocalProtocolError, TlsAnswered, TlsGoAhead
from letterlock.smtp.client_steps import ClientState
from tests.smtp.test_client import ALL, ANN, PLAIN, SENDER, ready

OFFERING = b"250-mx\r\n250-REQUIRETLS\r\n250 PIPELINING\r\n"


def test_rfc3207_4_starttls_is_the_last_word_until_220() -> None:
    client = ready()
    client.start_tls()
    assert client.take_output() == b"STARTTLS\r\n"
    for attempt in (client.hello, client.quit, lambda: client.begin(SENDER, [ANN], size=1), client.tls_established):
        with pytest.raises(LocalProtocolError):
            attempt()
    assert client.receive(b"220-go") == []
    assert client.receive(b" on\r\n220 go\r\n") != []
    assert (client.state, client.take_output()) == (ClientState.HANDSHAKE, b"")


@pytest.mark.parametrize("code", [b"221", b"250", b"354", b"454", b"501", b"503", b"530", b"554"])
def test_rfc3207_4_nothing_but_220_begins_the_handshake(code: bytes) -> None:
    client = ready()
    client.start_tls()
    events = client.receive(code + b" no\r\n")
    assert [one.go_ahead for one in events if isinstance(one, TlsAnswered)] == [TlsGoAhead.REFUSED]
    with pytest.raises(LocalProtocolError):
        client.tls_established()
    assert not client.secure


@pytest.mark.parametrize("code", [b"200", b"229", b"299"])
def test_rfc5321_4_2_1_an_unknown_2yz_to_starttls_counts_by_its_first_digit(code: bytes) -> None:
    client = ready()
    client.start_tls()
    events = client.receive(code + b" go\r\n")
    assert [one.go_ahead for one in events if isinstance(one, TlsAnswered)] == [TlsGoAhead.READY]
    assert client.state is ClientState.HANDSHAKE


def test_rfc3207_4_starttls_is_not_said_to_a_server_that_does_not_offer_it() -> None:
    with pytest.raises(LocalProtocolError, match="not on offer"):
        ready(PLAIN).start_tls()


def in_tls(hello: bytes) -> SmtpClient:
    client = ready()
    client.start_tls()
    client.receive(b"220 go\r\n")
    client.tls_established()
    client.hello()
    client.receive(hello)
    client.take_output()
    return client


@pytest.mark.parametrize(
    "client", [ready(OFFERING), in_tls(ALL)], ids=["offered in cleartext", "not offered inside TLS"]
)
def test_rfc8689_2_the_parameter_is_used_inside_tls_and_where_it_is_offered_only(client: SmtpClient) -> None:
    with pytest.raises(LocalProtocolError, match="REQUIRETLS"):
        client.begin(SENDER, [ANN], size=1, requiretls=True)
    assert client.take_output() == b""


def test_rfc8689_2_the_parameter_stands_in_the_mail_command() -> None:
    client = in_tls(OFFERING)
    client.begin(SENDER, [ANN], size=1, requiretls=True)
    assert client.take_output().startswith(b"MAIL FROM:<sender@example.net> REQUIRETLS\r\n")
