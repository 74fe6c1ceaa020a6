"""The sans-IO client against scripted servers that keep to the protocol."""

from collections.abc import Sequence

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.replies import Reply
from letterlock.smtp.client import MAX_RECIPIENTS, SmtpClient
from letterlock.smtp.client_content import stuff_dots
from letterlock.smtp.client_events import (
    Capabilities,
    EnvelopeAnswered,
    Event,
    Greeted,
    HelloAnswered,
    LocalProtocolError,
    MessageAnswered,
    QuitAnswered,
    RecipientAnswered,
    SenderAnswered,
    ServerClosing,
    TlsAnswered,
    TlsGoAhead,
    parse_capabilities,
)
from letterlock.smtp.client_steps import ClientState, Step
from letterlock.smtp.content import has_bare_line_ends

ANN = Mailbox("ann", "example.org")
BOB = Mailbox("bob", "example.org")
SENDER = Mailbox("sender", "example.net")
ALL = b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"
PLAIN = b"250-mx\r\n250 8BITMIME\r\n"
OK = b"250 2.0.0 Ok\r\n"


def without(*, pipelining: bool, chunking: bool) -> frozenset[str]:
    """The EHLO keywords to be ignored."""
    used = {"PIPELINING": pipelining, "CHUNKING": chunking}
    return frozenset(keyword for keyword, wanted in used.items() if not wanted)


def ready(hello: bytes = ALL) -> SmtpClient:
    """A client behind EHLO."""
    client = SmtpClient("client.example")
    assert client.receive(b"220 mx ESMTP\r\n") == [Greeted(Reply(220, ("mx ESMTP",)))]
    client.hello()
    assert client.take_output() == b"EHLO client.example\r\n"
    (answered,) = client.receive(hello)
    assert isinstance(answered, HelloAnswered)
    return client


def begun(hello: bytes = ALL, recipients: Sequence[Mailbox] = (ANN, BOB)) -> SmtpClient:
    """A client that has begun a transaction."""
    client = ready(hello)
    client.begin(SENDER, recipients, size=10)
    return client


def kinds(events: Sequence[Event]) -> list[type]:
    return [type(event) for event in events]


def test_rfc5321_3_1_only_220_lets_a_session_go_on() -> None:
    for code in (421, 450, 521, 554):
        client = SmtpClient("client.example")
        greeted = client.receive(b"%d no\r\n" % code)[0]
        assert isinstance(greeted, Greeted)
        assert greeted.reply.code == code
        assert client.state is ClientState.CLOSED


def test_a_greeting_of_several_lines() -> None:
    assert kinds(SmtpClient("client.example").receive(b"220-a\r\n220-b\r\n220 c\r\n")) == [Greeted]


def test_capabilities() -> None:
    assert ready().capabilities == Capabilities(
        starttls=True,
        pipelining=True,
        eight_bit_mime=True,
        enhanced_status_codes=True,
        size=1000,
        keywords=frozenset({"PIPELINING", "SIZE", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES"}),
    )


@pytest.mark.parametrize(
    ("line", "size"),
    [("SIZE", 0), ("size 5", 5), ("SIZE x", 0), ("SIZE -1", 0), ("SIZE ²", 0), ("SIZE " + "9" * 5000, 0)],
)
def test_rfc1870_size(line: str, size: int) -> None:
    assert parse_capabilities(("mx", line)).size == size


def test_the_first_line_of_an_ehlo_reply_offers_nothing() -> None:
    assert parse_capabilities(("STARTTLS",)) == Capabilities()
    assert parse_capabilities(("mx", "", " ", "starttls now")).starttls


def test_ehlo_refused_then_helo() -> None:
    client = ready(b"502 no such thing\r\n")
    assert client.state is ClientState.GREETED
    client.hello_without_extensions()
    assert client.take_output() == b"HELO client.example\r\n"
    (answered,) = client.receive(b"250-mx\r\n250 STARTTLS\r\n")
    assert answered == HelloAnswered(Reply(250, ("mx", "STARTTLS")), Capabilities())


def test_rfc3207_4_2_everything_learned_before_tls_is_forgotten() -> None:
    client = ready()
    client.start_tls()
    assert client.take_output() == b"STARTTLS\r\n"
    assert client.receive(b"220 go\r\n") == [TlsAnswered(Reply(220, ("go",)), TlsGoAhead.READY)]
    assert client.state is ClientState.HANDSHAKE
    client.tls_established()
    assert client.capabilities == Capabilities()
    assert client.secure
    with pytest.raises(LocalProtocolError):
        client.begin(SENDER, [ANN], size=1)
    client.hello()
    client.receive(ALL)
    with pytest.raises(LocalProtocolError, match="not on offer"):
        client.start_tls()


def test_rfc3207_4_2_inside_tls_there_is_no_helo() -> None:
    client = ready()
    client.start_tls()
    client.receive(b"220 go\r\n")
    client.tls_established()
    with pytest.raises(LocalProtocolError):
        client.hello_without_extensions()


def test_rfc3207_4_a_refused_starttls_leaves_the_session() -> None:
    client = ready()
    client.start_tls()
    assert client.receive(b"454 4.7.0 not now\r\n") == [TlsAnswered(Reply(454, ("4.7.0 not now",)), TlsGoAhead.REFUSED)]
    assert client.state is ClientState.READY


def test_rfc2920_3_1_the_envelope_goes_out_in_one_group() -> None:
    client = begun()
    assert client.take_output() == (
        b"MAIL FROM:<sender@example.net> SIZE=10\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    )
    assert str(client.awaiting) == Step.MAIL
    events = client.receive(OK + OK + b"550 5.1.1 nobody\r\n354 go\r\n")
    assert kinds(events) == [SenderAnswered, RecipientAnswered, RecipientAnswered, EnvelopeAnswered]
    assert events[-1] == EnvelopeAnswered((ANN,), Reply(354, ("go",)))
    client.send_message(b".a\r\n\r\n..b\r\nend")
    assert client.take_output() == b"..a\r\n\r\n...b\r\nend\r\n.\r\n"
    assert str(client.awaiting) == Step.MESSAGE
    assert client.receive(b"250 2.0.0 queued\r\n") == [MessageAnswered(Reply(250, ("2.0.0 queued",)))]
    assert client.state is ClientState.READY


def test_without_pipelining_one_command_at_a_time() -> None:
    client = begun(PLAIN)
    assert client.take_output() == b"MAIL FROM:<sender@example.net>\r\n"
    client.receive(OK)
    assert client.take_output() == b"RCPT TO:<ann@example.org>\r\n"
    client.receive(OK)
    assert client.take_output() == b"RCPT TO:<bob@example.org>\r\n"
    client.receive(b"450 4.2.0 later\r\n")
    assert client.take_output() == b"DATA\r\n"
    assert client.receive(b"354 go\r\n") == [EnvelopeAnswered((ANN,), Reply(354, ("go",)))]


def test_without_pipelining_a_refused_mail_asks_for_nothing_more() -> None:
    client = begun(PLAIN)
    client.take_output()
    events = client.receive(b"550 5.7.1 not you\r\n")
    assert kinds(events) == [SenderAnswered, EnvelopeAnswered]
    assert client.take_output() == b""
    assert client.state is ClientState.READY


def test_without_pipelining_no_data_for_nobody() -> None:
    client = begun(PLAIN, [ANN])
    client.receive(OK)
    client.take_output()
    assert kinds(client.receive(b"550 nobody\r\n")) == [RecipientAnswered, EnvelopeAnswered]
    assert client.take_output() == b""


def test_the_next_transaction_begins_with_rset_where_the_last_was_left_open() -> None:
    client = begun(PLAIN, [ANN])
    client.receive(b"450 later\r\n")
    client.take_output()
    client.begin(SENDER, [BOB], size=1)
    assert client.take_output() == b"RSET\r\n"
    client.receive(OK)
    assert client.take_output().startswith(b"MAIL FROM")


def test_rfc2920_3_1_a_354_that_nobody_wants_gets_a_lone_dot() -> None:
    client = begun()
    client.take_output()
    events = client.receive(OK + b"550 no\r\n550 no\r\n354 go\r\n")
    assert kinds(events) == [SenderAnswered, RecipientAnswered, RecipientAnswered]
    assert client.take_output() == b".\r\n"
    assert client.receive(b"554 no valid recipients\r\n") == [EnvelopeAnswered((), None)]
    assert client.state is ClientState.READY


def test_a_refused_data_is_told() -> None:
    client = begun()
    events = client.receive(OK * 3 + b"451 4.3.0 no disk\r\n")
    assert events[-1] == EnvelopeAnswered((), Reply(451, ("4.3.0 no disk",)))
    assert client.state is ClientState.READY


def test_the_null_reverse_path_and_8bitmime() -> None:
    client = ready()
    client.begin(None, [ANN], size=7, eight_bit=True)
    assert client.take_output().startswith(b"MAIL FROM:<> SIZE=7 BODY=8BITMIME\r\n")


def test_rfc6152_8bit_only_where_it_is_offered() -> None:
    with pytest.raises(LocalProtocolError, match="8BITMIME"):
        ready(b"250 mx\r\n").begin(None, [ANN], size=7, eight_bit=True)


def test_rfc5321_3_8_421_ends_the_session_after_its_answer() -> None:
    client = begun()
    assert kinds(client.receive(b"421 4.3.2 down\r\n")) == [SenderAnswered, ServerClosing]
    assert client.state is ClientState.CLOSED


def test_rfc5321_3_8_421_may_come_unasked() -> None:
    client = ready()
    assert kinds(client.receive(b"421 4.4.2 idle\r\n")) == [ServerClosing]
    assert client.state is ClientState.CLOSED


def test_an_answer_with_421_behind_it_is_still_an_answer() -> None:
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n")
    client.send_message(b"x\r\n")
    assert kinds(client.receive(b"250 queued\r\n421 bye\r\n")) == [MessageAnswered, ServerClosing]


def test_quit() -> None:
    client = ready()
    client.quit()
    assert client.take_output() == b"QUIT\r\n"
    assert client.receive(b"221 bye\r\n") == [QuitAnswered(Reply(221, ("bye",)))]
    assert client.state is ClientState.CLOSED


def test_the_end_after_quit_is_no_fault() -> None:
    client = ready()
    client.quit()
    assert client.receive(b"") == []


@pytest.mark.parametrize("recipients", [[], [ANN] * (MAX_RECIPIENTS + 1)])
def test_a_transaction_has_recipients_within_bounds(recipients: list[Mailbox]) -> None:
    with pytest.raises(LocalProtocolError):
        ready().begin(SENDER, recipients, size=1)


@pytest.mark.parametrize("local_part", ["ann>\r\nDATA", "ann\x00", "añn", "a\tb"])
def test_no_command_can_be_smuggled_in_an_address(local_part: str) -> None:
    client = ready()
    with pytest.raises(LocalProtocolError):
        client.begin(SENDER, [Mailbox(local_part, "example.org")], size=1)
    assert client.take_output() == b""
    assert client.state is ClientState.READY


def test_misuse_is_our_own_error() -> None:
    client = SmtpClient("client.example")
    for misuse in (
        client.hello,
        client.hello_without_extensions,
        client.start_tls,
        client.tls_established,
        client.quit,
        lambda: client.begin(None, [ANN], size=1),
        lambda: client.send_message(b""),
    ):
        with pytest.raises(LocalProtocolError):
            misuse()


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\r\n.\n", b"a\rb\r\n", b"a\r\n\r", b"\n", b"a\r\r\n"])
def test_rfc5321_2_3_8_bare_line_ends_are_never_sent(content: bytes) -> None:
    assert has_bare_line_ends(content)
    client = begun()
    client.receive(OK * 3 + b"354 go\r\n")
    client.take_output()
    with pytest.raises(LocalProtocolError):
        client.send_message(content)
    assert client.take_output() == b""


@pytest.mark.parametrize(
    ("content", "stuffed"),
    [
        (b"", b""),
        (b".", b"..\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n"),
        (b"..\r\n", b"...\r\n"),
        (b"a.b\r\n", b"a.b\r\n"),
        (b"\r\n.\r\n.\r\n", b"\r\n..\r\n..\r\n"),
    ],
)
def test_rfc5321_4_5_2_dots(content: bytes, stuffed: bytes) -> None:
    assert stuff_dots(content) == stuffed
    assert not has_bare_line_ends(content)
