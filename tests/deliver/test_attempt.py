"""Attempts against servers that keep to the protocol: routes, hosts, replies, TLS levels."""

from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.dsn import Fate, Report, ToldRecipient, compose
from letterlock.mail.addresses import Mailbox
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Level
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Credential
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BOB,
    BODY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    dane_ee,
    lookup_failure,
    make_ports,
    make_task,
)

TWO_HOSTS = {"mx1.example.org": ("192.0.2.1",), "mx2.example.org": ("192.0.2.2",)}


async def make(
    dialer: MemoryDialer, discoverer: HandDiscoverer | None = None, *recipients: Mailbox, body: bytes = BODY
) -> Attempt:
    """One attempt for Ann, or for whom it is told."""
    ports = make_ports(dialer, discoverer)
    return await attempt(make_task(*recipients), body, ports=ports, options=OPTIONS)


def kinds(made: Attempt) -> list[OutcomeKind]:
    return [outcome.kind for outcome in made.outcomes]


def dane(credential: Credential) -> HandDiscoverer:
    """mx.example.org with a TLSA record for this certificate."""
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    return HandDiscoverer(tlsa={"mx.example.org": tlsa})


async def test_delivered_encrypted(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    made = await make(dialer)
    (outcome,) = made.outcomes
    assert outcome.kind is OutcomeKind.DELIVERED
    assert (outcome.status, outcome.text) == ("2.0.0", "250 2.0.0 Ok: queued")
    assert server.messages == [BODY]
    assert made.achieved is not None
    assert made.achieved.level is Level.ENCRYPTED
    assert made.handshake is not None
    assert made.handshake.group == "X25519MLKEM768"
    assert (made.host, made.address, made.port) == ("mx.example.org", ADDRESS, 25)
    assert made.reasons
    assert server.clear == ["EHLO client.example", "STARTTLS"], "nothing of the message in cleartext"


async def test_rfc7672_2_2_dane_authenticates(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    made = await make(dialer, dane(credential))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert made.achieved is not None
    assert made.achieved.level is Level.AUTHENTICATED
    assert dialer.handshakes == [("mx.example.org", False)], "SNI is the TLSA base domain (RFC 7672 section 8.1)"
    assert server.messages == [BODY]


async def test_delivered_in_clear_where_nothing_demands_more(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    made = await make(dialer)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert made.achieved is not None
    assert made.achieved.level is Level.CLEAR
    assert made.handshake is None
    assert server.messages == [BODY]


async def test_helo_to_a_server_that_knows_nothing_else(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(answers={"EHLO": [b"502 what?\r\n"]})
    made = await make(dialer)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert server.clear[:3] == ["EHLO client.example", "HELO client.example", "MAIL FROM:<sender@example.net>"]


async def test_each_recipient_has_its_own_outcome(dialer: MemoryDialer, context: ServerContext) -> None:
    carol = Mailbox("carol", "example.org")
    replies = [b"250 Ok\r\n", b"550 5.1.1 no such user\r\n", b"450 4.2.0 later\r\n"]
    dialer.handlers[ADDRESS] = Server(context, answers={"RCPT": replies})
    made = await make(dialer, None, ANN, BOB, carol)
    assert kinds(made) == [OutcomeKind.DELIVERED, OutcomeKind.FAILED, OutcomeKind.DEFERRED]
    assert [outcome.status for outcome in made.outcomes] == ["2.0.0", "5.1.1", "4.2.0"]
    assert made.outcomes[1].text == ("mx.example.org[192.0.2.1] said: 550 5.1.1 no such user (in answer to RCPT TO)")
    assert made.outcomes[1].remote_reply == "550 5.1.1 no such user"


@pytest.mark.parametrize(
    ("command", "reply", "kind", "status"),
    [
        ("MAIL", b"550 5.7.1 not you\r\n", OutcomeKind.FAILED, "5.7.1"),
        ("MAIL", b"451 4.7.1 greylisted\r\n", OutcomeKind.DEFERRED, "4.7.1"),
        ("RCPT", b"550 no\r\n", OutcomeKind.FAILED, "5.0.0"),
        ("RCPT", b"452 4.5.3 too many\r\n", OutcomeKind.DEFERRED, "4.5.3"),
        ("RCPT", b"550 4.1.1 class does not fit\r\n", OutcomeKind.FAILED, "5.0.0"),
        ("DATA", b"451 4.3.0 no disk\r\n", OutcomeKind.DEFERRED, "4.3.0"),
        ("DATA", b"554 5.5.1 no\r\n", OutcomeKind.FAILED, "5.5.1"),
        (".", b"552 5.3.4 too big\r\n", OutcomeKind.FAILED, "5.3.4"),
        (".", b"451 4.3.0 scanner down\r\n", OutcomeKind.DEFERRED, "4.3.0"),
        (".", b"421 4.3.2 going down\r\n", OutcomeKind.DEFERRED, "4.3.2"),
    ],
)
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
async def test_rfc5321_4_2_1_replies_decide(
    dialer: MemoryDialer, command: str, reply: bytes, kind: OutcomeKind, status: str, extensions: tuple[str, ...]
) -> None:
    server = dialer.handlers[ADDRESS] = Server(answers={command: [reply]}, extensions=extensions)
    if command == "MAIL":
        server.answers["RCPT"] = [b"503 5.5.1 MAIL first\r\n"]
        server.answers["DATA"] = [b"503 5.5.1 MAIL first\r\n"]
    if command == "RCPT":
        server.answers["DATA"] = [b"554 5.5.1 no valid recipients\r\n"]
    made = await make(dialer)
    assert [(outcome.kind, outcome.status) for outcome in made.outcomes] == [(kind, status)]
    assert server.messages == []


async def test_a_354_for_nobody_sends_nothing(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server(answers={"RCPT": [b"550 no\r\n"], ".": [b"554 nobody\r\n"]})
    made = await make(dialer)
    assert kinds(made) == [OutcomeKind.FAILED]
    assert server.messages == []


async def test_rfc5321_4_5_3_1_10_too_many_recipients_get_another_transaction(dialer: MemoryDialer) -> None:
    replies = [b"250 Ok\r\n", b"452 4.5.3 too many\r\n", b"250 Ok\r\n"]
    server = dialer.handlers[ADDRESS] = Server(answers={"RCPT": replies})
    made = await make(dialer, None, ANN, BOB)
    assert kinds(made) == [OutcomeKind.DELIVERED, OutcomeKind.DELIVERED]
    assert server.messages == [BODY, BODY]
    assert len(dialer.dialled) == 1


async def test_more_than_100_recipients_go_in_several_transactions(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    many = [Mailbox(f"r{number}", "example.org") for number in range(230)]
    made = await make(dialer, None, *many)
    assert kinds(made) == [OutcomeKind.DELIVERED] * 230
    assert len(server.messages) == 3


async def test_rfc5321_5_1_the_next_host_when_the_first_cannot_be_reached(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.2"] = Server()
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert dialer.dialled == ["192.0.2.1", "192.0.2.2"]
    assert made.host == "mx2.example.org"


@pytest.mark.parametrize("greeting", [b"421 busy\r\n", b"450 no\r\n", b"554 no\r\n"])
async def test_the_next_host_when_the_first_refuses_to_talk(dialer: MemoryDialer, greeting: bytes) -> None:
    dialer.handlers["192.0.2.1"] = Server(greeting=greeting)
    dialer.handlers["192.0.2.2"] = Server()
    assert kinds(await make(dialer, HandDiscoverer(hosts=TWO_HOSTS))) == [OutcomeKind.DELIVERED]


async def test_a_554_greeting_in_clear_bounces_nothing(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(greeting=b"554 5.3.2 go away\r\n")
    (outcome,) = (await make(dialer)).outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.status.startswith("4.")
    assert "554 5.3.2 go away" in outcome.text


async def test_every_address_of_a_host_is_tried(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.3"] = Server()
    made = await make(dialer, HandDiscoverer(hosts={"mx.example.org": ("192.0.2.1", "192.0.2.2", "192.0.2.3")}))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert made.address == "192.0.2.3"


async def test_421_in_the_envelope_goes_to_the_next_host(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(answers={"RCPT": [b"421 4.3.2 down\r\n"]})
    second = dialer.handlers["192.0.2.2"] = Server()
    assert kinds(await make(dialer, HandDiscoverer(hosts=TWO_HOSTS))) == [OutcomeKind.DELIVERED]
    assert second.messages == [BODY]


async def test_a_5yz_of_one_host_is_final(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(answers={"RCPT": [b"550 5.1.1 nobody\r\n"]})
    dialer.handlers["192.0.2.2"] = Server()
    assert kinds(await make(dialer, HandDiscoverer(hosts=TWO_HOSTS))) == [OutcomeKind.FAILED]
    assert dialer.dialled == ["192.0.2.1"]


async def test_what_the_first_host_decided_stands_when_its_session_breaks(dialer: MemoryDialer) -> None:
    first = Server(extensions=(), answers={"RCPT": [b"550 5.1.1 nobody\r\n", b""]})
    second = Server()
    dialer.handlers |= {"192.0.2.1": first, "192.0.2.2": second}
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS), ANN, BOB)
    assert kinds(made) == [OutcomeKind.FAILED, OutcomeKind.DELIVERED]
    assert [line for line in second.clear if line.startswith("RCPT")] == ["RCPT TO:<bob@example.org>"]


async def test_no_host_answers(dialer: MemoryDialer) -> None:
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS))
    (outcome,) = made.outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.status == "4.4.1"
    assert "mx1.example.org[192.0.2.1]: cannot connect: Connection refused" in outcome.text
    assert "mx2.example.org[192.0.2.2]" in outcome.text
    assert made.host is None
    assert made.connected_at is None


async def test_rfc7672_2_1_2_an_mx_lookup_failure_defers(dialer: MemoryDialer) -> None:
    made = await make(dialer, HandDiscoverer(mx=lookup_failure("example.org", "MX")))
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert dialer.dialled == []
    assert made.reasons


async def test_rfc7505_a_null_mx_fails(dialer: MemoryDialer) -> None:
    null_mx = answer("example.org", "MX", "0 .", security=Security.SECURE)
    (outcome,) = (await make(dialer, HandDiscoverer(mx=null_mx))).outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.FAILED, "5.1.10")
    assert dialer.dialled == []


async def test_rfc7672_2_1_2_a_tlsa_lookup_failure_skips_the_host(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server()
    dialer.handlers["192.0.2.2"] = Server()
    failure = lookup_failure("_25._tcp.mx1.example.org", "TLSA")
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS, tlsa={"mx1.example.org": failure}))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert dialer.dialled == ["192.0.2.2"]


async def test_rfc7672_2_2_a_certificate_that_does_not_match_is_held_with_the_policy_s_status(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    other = answer("_25._tcp.mx.example.org", "TLSA", "3 1 1 " + "00" * 32, security=Security.SECURE)
    made = await make(dialer, HandDiscoverer(tlsa={"mx.example.org": other}))
    (outcome,) = made.outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.status.startswith("4.7.")
    assert server.messages == []
    assert server.secret in ([], ["QUIT"])
    assert made.achieved is None
    assert made.handshake is not None


async def test_require_tls_takes_any_certificate(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    assert kinds(await make(dialer, HandDiscoverer(rule=TlsRule.REQUIRE_TLS))) == [OutcomeKind.DELIVERED]
    assert server.messages == [BODY]


async def test_rfc6152_3_8_bit_content_is_not_converted(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, extensions=())
    (outcome,) = (await make(dialer, body=b"caf\xc3\xa9\r\n")).outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.FAILED, "5.6.3")
    assert not any(line.startswith("MAIL") for line in server.clear + server.secret)


async def test_rfc6152_2_8_bit_content_is_declared(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    made = await make(dialer, body=b"caf\xc3\xa9\r\n")
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert "MAIL FROM:<sender@example.net> SIZE=7 BODY=8BITMIME" in server.clear


async def test_rfc1870_6_1_a_message_that_is_too_large_is_not_sent(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, extensions=("SIZE 10",))
    (outcome,) = (await make(dialer)).outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.FAILED, "5.3.4")
    assert not any(line.startswith("MAIL") for line in server.clear + server.secret)


async def test_bare_line_ends_are_never_sent(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    (outcome,) = (await make(dialer, body=b"a\n.\r\nMAIL FROM:<x@y>\r\n")).outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.FAILED, "5.6.0")
    assert not any(line.startswith("MAIL") for line in server.clear)


async def test_an_address_that_needs_smtputf8_fails_alone(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    made = await make(dialer, None, ANN, Mailbox("jürgen", "example.org"))
    assert [outcome.status for outcome in made.outcomes] == ["2.0.0", "5.6.7"]


async def test_a_large_message_with_dots_arrives_whole(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    body = b".dot\r\n..\r\n" + b"x" * 70 + b"\r\n.\r\n" * 20_000
    assert kinds(await make(dialer, body=body)) == [OutcomeKind.DELIVERED]
    (received,) = server.messages
    assert b"\r\n" + received == (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")


async def test_rfc7672_2_2_1_records_at_a_later_host_do_not_put_it_first(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    first = dialer.handlers["192.0.2.1"] = Server(context)
    second = dialer.handlers["192.0.2.2"] = Server(context)
    tlsa = answer("_25._tcp.mx2.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS, tlsa={"mx2.example.org": tlsa}))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert (len(first.messages), len(second.messages)) == (1, 0)


async def test_rfc6152_3_a_notification_with_8_bit_content_goes_on_in_7_bits(dialer: MemoryDialer) -> None:
    """RET=FULL of 8-bit mail, and the sender's host takes 7 bits only: the header comes back."""
    server = dialer.handlers[ADDRESS] = Server(extensions=())
    told = ToldRecipient(recipient=BOB, status="5.1.1", text="no such user")
    report = Report(sender=ANN, fate=Fate.FAILED, accepted_at=0.0, recipients=(told,))
    about = b"Subject: hello\r\n\r\ncaf\xc3\xa9\r\n"
    body = compose(report, about, hostname="mx.example.net", message_id="D1", now=0.0, full=True)
    task = make_task(ANN)
    task = replace(task, envelope=replace(task.envelope, reverse_path=None))
    made = await attempt(task, body, ports=make_ports(dialer), options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert server.messages[0].isascii()
    assert b"text/rfc822-headers" in server.messages[0]
