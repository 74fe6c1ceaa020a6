"""The SMTP server's conversation: what it says to what, and what it tells its driver."""

import pytest

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import DotlessContent
from letterlock.mail.envelope import BodyType
from letterlock.mail.replies import Reply
from letterlock.smtp.client_events import LocalProtocolError
from letterlock.smtp.server import SmtpServer
from letterlock.smtp.server_events import (
    End,
    Ended,
    MessageReceived,
    RecipientOffered,
    Refused,
    SenderOffered,
    ServerLimits,
    StartTlsRequested,
)
from letterlock.smtp.server_table import State
from tests.smtp.server_driver import LIMITS, Driver, envelope, ready


def test_rfc5321_4_3_1_greeting_names_the_host() -> None:
    assert Driver(greet=False).server.take_output() == b""
    assert Driver().greeting == b"220 mx.example.org ESMTP Letterlock\r\n"


def test_rfc5321_4_1_1_1_ehlo_lists_the_extensions() -> None:
    assert Driver(starttls=True).send(b"EHLO client.example\r\n") == (
        b"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 10000\r\n250-8BITMIME\r\n"
        b"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n"
        b"250-LIMITS RCPTMAX=1000\r\n250-STARTTLS\r\n250 HELP\r\n"
    )


def test_rfc9422_4_2_the_number_of_recipients_that_is_taken_is_offered() -> None:
    assert b"250-LIMITS RCPTMAX=1000\r\n" in Driver().send(b"EHLO client.example\r\n")
    assert b"LIMITS" not in Driver().send(b"HELO client.example\r\n")


def test_rfc5321_4_1_1_1_helo_lists_nothing() -> None:
    driver = Driver()
    assert driver.send(b"HELO client.example\r\n") == b"250 mx.example.org\r\n"
    assert driver.server.protocol == "SMTP"


def test_without_a_certificate_starttls_is_neither_offered_nor_known() -> None:
    driver = Driver()
    assert b"STARTTLS" not in driver.send(b"EHLO client.example\r\n")
    assert driver.send(b"STARTTLS\r\n").startswith(b"502 5.5.1 ")


def test_a_message_goes_through() -> None:
    driver = ready()
    driver.note = "queued as 4F2A1"
    assert driver.send(b"MAIL FROM:<ann@example.org> SIZE=12 BODY=8BITMIME\r\n") == b"250 2.1.0 Ok\r\n"
    assert driver.send(b"RCPT TO:<bob@example.net>\r\n") == b"250 2.1.5 Ok\r\n"
    assert driver.send(b"DATA\r\n").startswith(b"354 ")
    assert driver.send(b"Subject: x\r\n\r\nhello\r\n.\r\n") == b"250 2.0.0 Ok: queued as 4F2A1\r\n"
    assert driver.send(b"QUIT\r\n") == b"221 2.0.0 Bye\r\n"
    ann, bob = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")
    assert driver.events == [
        SenderOffered(ann, 12),
        RecipientOffered(ann, bob),
        MessageReceived(
            reverse_path=ann,
            recipients=(bob,),
            body_type=BodyType.EIGHT_BIT_MIME,
            content=DotlessContent(b"Subject: x\r\n\r\nhello\r\n"),
        ),
        Ended(End.QUIT),
    ]


def test_rfc2920_a_group_is_answered_in_one_write() -> None:
    driver = ready()
    group = b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
    assert driver.send(group).split(b"\r\n")[:3] == [b"250 2.1.0 Ok", b"250 2.1.5 Ok", b"250 2.1.5 Ok"]
    answers = driver.send(b"x\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n")
    assert [line[:3] for line in answers.splitlines()] == [b"250", b"250", b"250", b"221"]


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_octets_may_come_in_any_pieces(step: int) -> None:
    driver = ready()
    out = b""
    for group in (envelope(), b"..dot\r\n.\r\nNOOP\r\nQUIT\r\n"):
        out += b"".join(driver.send(group[start : start + step]) for start in range(0, len(group), step))
    assert [line[:3] for line in out.splitlines()] == [b"250", b"250", b"354", b"250", b"250", b"221"]
    assert driver.messages[0].content == b".dot\r\n"


@pytest.mark.parametrize("command", [b"DATA", b"EHLO again.example", b"HELO again.example"])
def test_rfc2920_3_1_what_must_be_last_in_a_group_is_last(command: bytes) -> None:
    driver = ready()
    driver.send(b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\n")
    assert driver.send(command + b"\r\nNOOP\r\n").startswith(b"554 5.5.0 ")
    assert driver.events[-1] == Ended(End.REFUSED)


def test_rfc2034_every_reply_but_greeting_ehlo_and_354_has_an_enhanced_status_code() -> None:
    driver = ready()
    lines = b"NOOP\r\nVRFY x\r\nHELP\r\nEXPN x\r\nRCPT TO:<a@b.example>\r\nMAIL x\r\nRSET\r\nQUIT\r\n"
    for line in driver.send(lines).splitlines():
        code, enhanced = line.split()[:2]
        assert enhanced[:2] == code[:1] + b".", line


@pytest.mark.parametrize(
    ("line", "start"),
    [
        (b"NOOP", b"250 2.0.0"),
        (b"NOOP ignored words", b"250 2.0.0"),
        (b"noop", b"250 2.0.0"),
        (b"VRFY ann", b"252 2.5.2"),
        (b"HELP MAIL", b"214 2.0.0"),
        (b"RSET", b"250 2.0.0"),
        (b"EXPN list", b"502 5.5.1"),
        (b"AUTH PLAIN", b"502 5.5.1"),
        (b"ETRN x", b"502 5.5.1"),
        (b"FOO", b"500 5.5.2"),
        (b"", b"500 5.5.2"),
        (b"   ", b"500 5.5.2"),
        (b"\xff\xfe", b"500 5.5.2"),
        (b"NOOP \0", b"500 5.5.2"),
        (b"RSET now", b"501 5.5.4"),
        (b"QUIT now", b"501 5.5.4"),
        (b"DATA now", b"501 5.5.4"),
    ],
)
def test_plain_commands(line: bytes, start: bytes) -> None:
    assert ready().send(line + b"\r\n").startswith(start)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"CONNECT x:25"])
def test_a_client_of_another_protocol_is_cut_off(line: bytes) -> None:
    driver = ready()
    assert driver.send(line + b"\r\nMAIL FROM:<>\r\n").count(b"\r\n") == 1
    assert driver.events[-1] == Ended(End.REFUSED)


def test_rfc5321_4_1_1_4_no_valid_recipients() -> None:
    driver = ready()
    driver.refuse_recipients = Reply(550, ("5.7.1 relaying denied",))
    assert driver.send(b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nDATA\r\n").endswith(
        b"550 5.7.1 relaying denied\r\n554 5.5.1 No valid recipients\r\n"
    )


def test_some_recipients_may_be_refused() -> None:
    driver = ready()
    driver.send(b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\n")
    driver.refuse_recipients = Reply(451, ("4.3.0 later",))
    driver.send(b"RCPT TO:<b@example.net>\r\n")
    driver.send(b"DATA\r\n")
    driver.send(b".\r\n")
    assert driver.messages[0].recipients == (Mailbox("a", "example.net"),)
    assert driver.messages[0].content == b""


def test_a_refused_message_leaves_the_session_ready() -> None:
    driver = ready()
    driver.refuse_messages = Reply(451, ("4.3.0 The message could not be stored",))
    driver.send(envelope())
    assert driver.send(b"x\r\n.\r\n") == b"451 4.3.0 The message could not be stored\r\n"
    assert driver.server.state is State.READY
    assert driver.send(b"MAIL FROM:<>\r\n").startswith(b"250 ")


def test_rfc5321_4_1_4_ehlo_ends_the_transaction() -> None:
    driver = ready()
    driver.send(b"MAIL FROM:<>\r\n")
    driver.send(b"EHLO again.example\r\n")
    assert driver.send(b"RCPT TO:<a@example.net>\r\n").startswith(b"503 ")


def test_rset_before_ehlo_does_not_stand_in_for_it() -> None:
    assert Driver().send(b"RSET\r\nMAIL FROM:<>\r\n").endswith(b"503 5.5.1 Send EHLO or HELO first\r\n")


# --- limits ----------------------------------------------------------------------------------------------------------


def test_rfc5321_4_5_3_1_10_too_many_recipients_is_452_and_does_not_end_the_session() -> None:
    driver = ready(limits=ServerLimits(max_message_octets=100, max_recipients=100))
    driver.send(b"MAIL FROM:<>\r\n")
    answers = driver.send(b"RCPT TO:<a@example.net>\r\n" * 150).splitlines()
    assert [line[:9] for line in answers] == [b"250 2.1.5"] * 100 + [b"452 4.5.3"] * 50


def test_rfc1870_6_1_a_declared_size_above_the_limit_is_refused_at_mail() -> None:
    driver = ready()
    assert driver.send(b"MAIL FROM:<> SIZE=10000\r\n").startswith(b"250 ")
    driver.send(b"RSET\r\n")
    assert driver.send(b"MAIL FROM:<> SIZE=10001\r\n") == b"552 5.3.4 Message too large\r\n"
    assert driver.send(b"MAIL FROM:<> SIZE=99999999999999999999\r\n").startswith(b"552 5.3.4 ")


def test_rfc1870_6_3_a_message_that_grows_too_large_is_read_to_its_end_in_bounded_memory() -> None:
    driver = ready()
    driver.send(envelope())
    for _ in range(100):
        assert driver.send(b"x" * 98 + b"\r\n" + b"y" * 898 + b"\r\n") == b""
        assert driver.content_held < 15_000
    assert driver.send(b".\r\nNOOP\r\n") == b"552 5.3.4 Message too large\r\n250 2.0.0 Ok\r\n"
    assert driver.messages == []


@pytest.mark.parametrize(("octets", "code"), [(10_000, b"250"), (10_001, b"552")])
def test_the_size_is_counted_without_stuffed_dots(octets: int, code: bytes) -> None:
    driver = ready()
    driver.send(envelope())
    line_count, rest = divmod(octets, 3)
    content = b"..\r\n" * (line_count - 1) + b"." + b"." * (1 + rest) + b"\r\n"
    assert driver.send(content + b".\r\n").startswith(code)


def test_the_driver_can_stop_holding_a_message() -> None:
    driver = ready()
    driver.send(envelope())
    driver.send(b"x" * 500)
    with pytest.raises(LocalProtocolError):
        driver.server.discard_content(Reply(250, ("2.0.0 ok",)))
    driver.server.discard_content(Reply(452, ("4.3.1 no memory",)))
    driver.send(b"\r\nmore\r\n")
    assert driver.content_held <= 4
    assert driver.send(b".\r\n") == b"452 4.3.1 no memory\r\n"
    assert driver.send(envelope()).endswith(b"<CRLF>.<CRLF>\r\n")
    assert driver.send(b"x\r\n.\r\n").startswith(b"250 ")


@pytest.mark.parametrize(("octets", "code"), [(1000, b"250 2.0.0"), (1001, b"554 5.6.0")])
def test_rfc5321_4_5_3_1_6_text_lines_have_at_most_1000_octets(octets: int, code: bytes) -> None:
    driver = ready()
    driver.send(envelope())
    line = b"x" * (octets - 2) + b"\r\n"
    assert driver.send(b"a\r\n" + line + b"b\r\n.\r\n").startswith(code)


def test_rfc5321_4_5_3_1_6_a_stuffed_dot_does_not_count() -> None:
    driver = ready()
    driver.send(envelope())
    assert driver.send(b".." + b"x" * 997 + b"\r\n.\r\n").startswith(b"250 ")


@pytest.mark.parametrize(("octets", "code"), [(2048, b"250 2.0.0"), (2049, b"500 5.5.2"), (9000, b"500 5.5.2")])
def test_rfc5321_4_5_3_1_4_a_long_command_line_is_refused_and_the_next_one_read(octets: int, code: bytes) -> None:
    driver = ready()
    assert driver.send(b"NOOP " + b"x" * (octets - 7) + b"\r\nQUIT\r\n").splitlines()[0].startswith(code)
    assert driver.events[-1] == Ended(End.QUIT)


def test_a_line_that_never_ends_is_answered_once_and_not_kept() -> None:
    driver = ready()
    assert driver.send(b"x" * 3000).startswith(b"500 5.5.2 ")
    for _ in range(50):
        assert driver.send(b"MAIL FROM:<>\n" * 100) == b""
        assert driver.content_held <= 1
    assert driver.send(b"\r\nNOOP\r\n") == b"250 2.0.0 Ok\r\n"


def test_too_many_mistakes_end_the_session_with_421() -> None:
    driver = ready()
    answers = driver.send(b"FOO\r\n" * 50).splitlines()
    assert [line[:3] for line in answers] == [b"500"] * 21 + [b"421"]
    assert driver.events[-1] == Ended(End.REFUSED)


def test_refused_recipients_count_as_mistakes() -> None:
    driver = ready()
    driver.refuse_recipients = Reply(550, ("5.7.1 relaying denied",))
    driver.send(b"MAIL FROM:<>\r\n")
    assert driver.send(b"RCPT TO:<a@example.net>\r\n" * 50).splitlines()[-1].startswith(b"421 4.7.0")


def test_an_accepted_message_wipes_the_slate() -> None:
    driver = ready()
    for _ in range(3):
        assert b"421" not in driver.send(b"FOO\r\n" * 20)
        driver.send(envelope())
        driver.send(b".\r\n")
    assert driver.server.state is State.READY


@pytest.mark.parametrize("line", [b"NOOP", b"RSET", b"VRFY x", b"HELP"])
def test_too_many_commands_without_mail_end_the_session(line: bytes) -> None:
    answers = ready().send((line + b"\r\n") * 200).splitlines()
    assert len(answers) == 100
    assert answers[-1].startswith(b"421 4.7.0")


def test_greeting_again_and_again_ends_the_session() -> None:
    driver = ready()
    answers = [driver.send(b"HELO client.example\r\n") for _ in range(100)]
    assert [answer[:3] for answer in answers] == [b"250"] * 99 + [b"421"]


def test_rfc5321_6_3_a_hundred_received_fields_are_a_loop() -> None:
    driver = ready()
    for hops, code in ((99, b"250"), (100, b"554 5.4.6")):
        driver.send(envelope())
        content = b"received: from a\r\n\tby b\r\n" * hops + b"\r\n" + b"Received: in the body\r\n" * 50
        assert driver.send(content + b".\r\n").startswith(code)


# --- STARTTLS --------------------------------------------------------------------------------------------------------


def test_rfc3207_4_2_everything_said_in_clear_is_forgotten() -> None:
    driver = ready(starttls=True)
    driver.send(b"FOO\r\n" * 15)
    assert driver.send(b"STARTTLS\r\n") == b"220 2.0.0 Ready to start TLS\r\n"
    assert driver.events[-1] == StartTlsRequested()
    driver.server.tls_established()
    assert driver.server.hello is None
    assert driver.send(b"MAIL FROM:<>\r\n").startswith(b"503 5.5.1 Send EHLO")
    assert b"STARTTLS" not in driver.send(b"EHLO client.example\r\n")
    assert driver.send(b"STARTTLS\r\n").startswith(b"503 5.5.1 TLS is active")
    assert driver.server.secure
    assert driver.server.protocol == "ESMTPS"


def test_cve_2011_0411_octets_behind_starttls_end_the_session() -> None:
    driver = ready(starttls=True)
    assert driver.send(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n") == (
        b"421 4.7.0 Data arrived before the TLS handshake; closing\r\n"
    )
    assert driver.events[-1] == Ended(End.REFUSED)
    assert not any(isinstance(event, StartTlsRequested) for event in driver.events)


def test_rfc3207_starttls_before_ehlo_or_within_a_transaction_is_out_of_order() -> None:
    driver = Driver(starttls=True)
    assert driver.send(b"STARTTLS\r\n").startswith(b"503 ")
    driver.send(b"EHLO client.example\r\n")
    driver.send(b"MAIL FROM:<>\r\n")
    assert driver.send(b"STARTTLS\r\n").startswith(b"503 ")
    assert driver.send(b"RSET\r\nSTARTTLS now\r\n").endswith(b"501 5.5.4 This command takes no argument\r\n")


# --- the driver's side -----------------------------------------------------------------------------------------------


def test_misuse_is_a_local_protocol_error() -> None:
    server = SmtpServer("mx.example.org", LIMITS, starttls=True)
    with pytest.raises(LocalProtocolError):
        server.feed(b"x")
    with pytest.raises(LocalProtocolError):
        server.next_event()
    server.greet()
    for misuse in (server.greet, server.accept, server.tls_established):
        with pytest.raises(LocalProtocolError):
            misuse()
    with pytest.raises(LocalProtocolError):
        server.refuse(Reply(550, ("5.0.0 no",)))
    with pytest.raises(LocalProtocolError):
        server.discard_content(Reply(452, ("4.0.0 no",)))


def test_a_decision_is_due_before_the_next_event_and_a_refusal_must_refuse() -> None:
    server = SmtpServer("mx.example.org", LIMITS, starttls=False)
    server.greet()
    server.feed(b"EHLO x\r\n")
    assert server.next_event() is None
    server.feed(b"MAIL FROM:<>\r\n")
    assert isinstance(server.next_event(), SenderOffered)
    with pytest.raises(LocalProtocolError):
        server.next_event()
    with pytest.raises(LocalProtocolError):
        server.refuse(Reply(250, ("2.0.0 ok",)))
    server.refuse(Reply(421, ("4.3.0 no",)))
    assert server.next_event() == server.next_event() == Ended(End.REFUSED)


def test_no_octet_may_come_during_the_handshake() -> None:
    driver = ready(starttls=True)
    driver.send(b"STARTTLS\r\n")
    with pytest.raises(LocalProtocolError):
        driver.server.feed(b"x")
    with pytest.raises(LocalProtocolError):
        driver.server.next_event()


def test_the_session_tells_what_it_refused_and_where_a_client_got_lost() -> None:
    driver = ready()
    assert driver.server.last_step == "EHLO"
    driver.send(b"MAIL FROM:<a@example.org>\r\nFOO\r\nRCPT TO:nobody\r\n")
    sender = Mailbox("a", "example.org")
    refusals = [event for event in driver.events if isinstance(event, Refused)]
    assert [(refused.what, refused.reply.code, refused.reverse_path) for refused in refusals] == [
        ("UNKNOWN", 500, sender),
        ("RCPT", 501, sender),
    ]
    driver.send(b"")
    assert driver.events[-1] == Ended(End.LOST)
    assert driver.server.last_step == "RCPT"


def test_what_was_whole_is_dealt_with_before_the_end_of_the_connection() -> None:
    driver = ready()
    driver.server.feed(envelope())
    driver.run()
    driver.server.feed(b"x\r\n.\r\nMAIL FR")
    driver.server.feed(b"")
    driver.run()
    assert len(driver.messages) == 1
    assert driver.events[-1] == Ended(End.LOST)


def test_a_message_without_its_end_is_no_message() -> None:
    driver = ready()
    driver.send(envelope())
    driver.send(b"x\r\n.\r")
    driver.send(b"")
    assert driver.messages == []
    assert driver.server.last_step == "DATA"


def test_the_driver_can_end_the_session_at_any_time() -> None:
    driver = ready()
    driver.send(envelope())
    driver.server.end(Reply(421, ("4.4.2 Time-out",)))
    assert driver.send(b"x\r\n.\r\n") == b"421 4.4.2 Time-out\r\n"
    driver.server.end(Reply(421, ("4.4.2 again",)))
    assert driver.server.take_output() == b""


# --- REQUIRETLS ------------------------------------------------------------------------------------------------------


def secured() -> Driver:
    """A session inside TLS, after EHLO."""
    driver = ready(starttls=True)
    driver.send(b"STARTTLS\r\n")
    driver.server.tls_established()
    driver.send(b"EHLO client.example\r\n")
    driver.events.clear()
    return driver


def test_rfc8689_2_requiretls_is_offered_inside_tls_only() -> None:
    driver = Driver(starttls=True)
    assert b"REQUIRETLS" not in driver.send(b"EHLO client.example\r\n")
    driver.send(b"STARTTLS\r\n")
    driver.server.tls_established()
    assert b"250-REQUIRETLS\r\n" in driver.send(b"EHLO client.example\r\n")


def test_rfc8689_2_the_parameter_is_kept_with_the_message_and_with_no_other() -> None:
    driver = secured()
    for command, requiretls in ((b"MAIL FROM:<ann@example.org> REQUIRETLS\r\n", True), (b"MAIL FROM:<>\r\n", False)):
        driver.send(command + b"RCPT TO:<bob@example.net>\r\nDATA\r\n")
        driver.send(b"x\r\n.\r\n")
        assert driver.messages[-1].requiretls is requiretls


def test_rfc8689_2_the_parameter_in_clear_is_refused() -> None:
    driver = ready(starttls=True)
    assert driver.send(b"MAIL FROM:<ann@example.org> REQUIRETLS\r\n").startswith(b"530 5.7.10 ")


def test_rfc8689_2_the_parameter_has_no_value() -> None:
    assert secured().send(b"MAIL FROM:<ann@example.org> REQUIRETLS=1\r\n").startswith(b"555 5.5.4 ")


@pytest.mark.parametrize("path", ["postmaster", "Postmaster", "postmaster@mx.example.org", "POSTMASTER@MX.example.org"])
def test_rfc5321_4_5_1_postmaster_is_accepted_and_known_as_ours(path: str) -> None:
    driver = ready()
    driver.send(b"MAIL FROM:<>\r\n")
    assert driver.send(f"RCPT TO:<{path}>\r\n".encode()) == b"250 2.1.5 Ok\r\n"
    assert driver.events[-1] == RecipientOffered(None, Mailbox("postmaster", "mx.example.org"), postmaster=True)


def test_another_domains_postmaster_is_not_ours() -> None:
    driver = ready()
    driver.send(b"MAIL FROM:<>\r\nRCPT TO:<postmaster@example.net>\r\n")
    assert driver.events[-1] == RecipientOffered(None, Mailbox("postmaster", "example.net"))


def test_rfc5321_4_1_2_odd_dots_are_accepted_on_both_sides() -> None:
    driver = ready()
    assert driver.send(b"MAIL FROM:<a.@mail.test>\r\n").startswith(b"250 ")
    assert driver.send(b"RCPT TO:<a..b@docomo.test>\r\n").startswith(b"250 ")
    assert driver.events == [
        SenderOffered(Mailbox('"a."', "mail.test"), None),
        RecipientOffered(Mailbox('"a."', "mail.test"), Mailbox('"a..b"', "docomo.test")),
    ]
