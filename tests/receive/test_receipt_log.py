"""The log: Postfix's words, and nothing that a client could forge."""

import logging
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.identity.handshake import Completed
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.mail.replies import Reply
from letterlock.queue.observing import Arrival
from letterlock.receive.receipt_log import MAX_WORD_OCTETS, RECEIVED, ReceiptLog, SessionJournal, printable


@given(st.text())
def test_no_text_of_a_client_breaks_a_line_of_the_log(text: str) -> None:
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= MAX_WORD_OCTETS + 3


SENDERS = [Mailbox("ann", "example.org"), Mailbox('"a\\b"', "x.example"), Mailbox("é", "y")]
WORDS = st.none() | st.sampled_from(["<1@example.org>", "a\\b", "\x1b[2J", "\r\nx: y", "é", "x" * 1000]) | st.text()


@given(
    message_id=WORDS,
    sender=st.none() | st.sampled_from(SENDERS),
    user=WORDS,
    uid=st.none() | st.just(7),
    about=st.none() | st.just("4F2A0"),
)
def test_the_text_is_that_of_the_events(
    message_id: str | None, sender: Mailbox | None, user: str | None, uid: int | None, about: str | None
) -> None:
    envelope = Envelope(id="4F2A1", reverse_path=sender, recipients=(), size=7, accepted_at=0.0, expires_at=1.0)
    client = SessionJournal("192.0.2.1").client
    arrival = Arrival(
        client=client, protocol="ESMTP", message_id=message_id, user=user, mechanism=user, local_uid=uid, about=about
    )
    begins: dict[str, str] = defaultdict(lambda: "mx: ")
    lines = RECEIVED.text(begins, envelope, arrival).split("\n")
    assert lines == [f"mx: {event}" for _, event in RECEIVED.events(envelope, arrival)]
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_escapes() -> None:
    assert printable("a\r\nb\\c\x00é") == "a\\r\\nb\\\\c\\x00\\xe9"
    assert printable("plain words") == "plain words"
    assert printable("x" * 1000) == "x" * MAX_WORD_OCTETS + "..."


def test_lines_as_postfix_writes_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "letterlock.receive")
    journal = SessionJournal("192.0.2.1")
    ann, bob = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")
    journal.connected()
    journal.secured(Completed(version="TLSv1.3", cipher="X", group="x25519", sni=None, chain=()))
    envelope = Envelope(id="4F2A1", reverse_path=ann, recipients=(bob,), size=7, accepted_at=0.0, expires_at=1.0)
    journal.queued()
    ReceiptLog().received(envelope, Arrival(client=journal.client, protocol="ESMTP", message_id="<1@example.org>"))
    journal.rejected(
        "RCPT",
        Reply(550, ("5.7.1 no",)),
        reverse_path=None,
        recipient=Mailbox("b", "c.example"),
        protocol="ESMTP",
        hello="\n",
    )
    journal.timed_out("DATA")
    journal.lost("MAIL")
    journal.tls_failed("bad\nrecord")
    journal.disconnected(9)
    assert [record.getMessage() for record in caplog.records] == [
        "connect from unknown[192.0.2.1]",
        "Anonymous TLS connection established from unknown[192.0.2.1]: TLSv1.3 with cipher X key-exchange x25519",
        "4F2A1: client=unknown[192.0.2.1]",
        "4F2A1: message-id=<1@example.org>",
        "4F2A1: from=<ann@example.org>, size=7, nrcpt=1 (queue active)",
        (
            "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.7.1 <b@c.example>: no; "
            "from=<> to=<b@c.example> proto=ESMTP helo=<\\n>"
        ),
        "timeout after DATA from unknown[192.0.2.1]",
        "lost connection after MAIL from unknown[192.0.2.1]",
        "SSL_accept error from unknown[192.0.2.1]: bad\\nrecord",
        "disconnect from unknown[192.0.2.1] messages=1 commands=9",
    ]
