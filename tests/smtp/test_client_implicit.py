"""The client in a session that is inside TLS from its first octet (RFC 8314 section 3)."""

import pytest

from letterlock.smtp.client import SmtpClient
from letterlock.smtp.client_events import LocalProtocolError


def greeted() -> SmtpClient:
    client = SmtpClient("client.example", secure=True)
    client.receive(b"220 mx\r\n")
    return client


def test_rfc8314_3_there_is_no_starttls_inside_tls() -> None:
    client = greeted()
    assert client.secure
    client.hello()
    client.receive(b"250-mx\r\n250 STARTTLS\r\n")
    with pytest.raises(LocalProtocolError):
        client.start_tls()


def test_rfc8314_3_nor_is_there_helo() -> None:
    client = greeted()
    client.hello()
    client.receive(b"502 what?\r\n")
    with pytest.raises(LocalProtocolError):
        client.hello_without_extensions()
