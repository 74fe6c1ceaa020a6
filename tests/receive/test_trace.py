"""The Received field."""

from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.receive.trace import received_field

ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")


def _field(*recipients: Mailbox, tls: Completed | None = None, client: str = "192.0.2.1") -> bytes:
    return received_field(
        hello="client.example",
        client=client,
        hostname="mx.example.org",
        protocol="ESMTPS" if tls else "ESMTP",
        tls=tls,
        message_id="4F2A1",
        recipients=recipients,
        now=0.9,
    )


def test_rfc5321_4_4_the_field_says_from_by_with_id_for_and_when() -> None:
    assert _field(BOB) == (
        b"Received: from client.example ([192.0.2.1])\r\n\tby mx.example.org (Letterlock) with ESMTP id 4F2A1\r\n"
        b"\tfor <bob@example.net>;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n"
    )


def test_several_recipients_are_not_told_of_each_other() -> None:
    assert b"for <" not in _field(ANN, BOB)
    assert b" id 4F2A1;\r\n" in _field(ANN, BOB)


def test_rfc3848_tls_is_named_without_secrets() -> None:
    tls = Completed(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", group="X25519MLKEM768", sni="mx", chain=())
    field = _field(BOB, tls=tls)
    assert b"\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 group X25519MLKEM768)\r\n" in field
    assert b"with ESMTPS id" in field


def test_rfc5321_4_1_3_ipv6_literals_say_so() -> None:
    assert b"([IPv6:2001:db8::1])" in _field(BOB, client="2001:db8::1")


def test_rfc6531_3_7_3_our_own_field_is_ascii_whoever_it_is_for() -> None:
    field = _field(Mailbox("jürgen", "example.net"))
    assert field.isascii()
    assert b"for <" not in field
