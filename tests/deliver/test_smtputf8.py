"""Mail that needs SMTPUTF8 goes where it is offered, and comes back where it is not (RFC 6531 section 3.2)."""

from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.mail.addresses import Mailbox
from letterlock.net.tls import ServerContext
from letterlock.queue.tasks import Attempt, OutcomeKind
from tests.deliver.world import ADDRESS, ANN, OPTIONS, HandDiscoverer, MemoryDialer, Server, make_ports, make_task

UTF8 = ("PIPELINING", "8BITMIME", "SMTPUTF8")
JOERG = Mailbox("jörg", "example.org")
PLAIN, HEADER = b"Subject: x\r\n\r\nx\r\n", "Subject: grüße\r\n\r\nx\r\n".encode()
BODY = "Subject: x\r\n\r\ngrüße\r\n".encode()


async def sent(
    dialer: MemoryDialer, body: bytes, *recipients: Mailbox, sender: Mailbox | None = None, smtputf8: bool = True
) -> Attempt:
    task = make_task(*recipients)
    envelope = replace(task.envelope, smtputf8=smtputf8, reverse_path=sender or task.envelope.reverse_path)
    return await attempt(replace(task, envelope=envelope), body, ports=make_ports(dialer), options=OPTIONS)


def mail_line(server: Server) -> str:
    return next(line for line in server.clear if line.startswith("MAIL"))


@pytest.mark.parametrize(("body", "to"), [(PLAIN, JOERG), (HEADER, ANN)])
async def test_where_it_is_offered_it_is_used(dialer: MemoryDialer, body: bytes, to: Mailbox) -> None:
    server = dialer.handlers[ADDRESS] = Server(extensions=UTF8)
    made = await sent(dialer, body, to)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert mail_line(server).endswith("SMTPUTF8")


@pytest.mark.parametrize(
    ("body", "to", "sender"), [(PLAIN, JOERG, None), (HEADER, ANN, None), (PLAIN, ANN, Mailbox("jörg", "a.example"))]
)
async def test_where_it_is_not_the_message_has_failed_with_5_6_7(
    dialer: MemoryDialer, context: ServerContext, body: bytes, to: Mailbox, sender: Mailbox | None
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    made = await sent(dialer, body, to, sender=sender)
    assert [(outcome.kind, outcome.status) for outcome in made.outcomes] == [(OutcomeKind.FAILED, "5.6.7")]
    assert server.messages == []


async def test_the_others_have_their_mail(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    made = await sent(dialer, PLAIN, ANN, JOERG)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED, OutcomeKind.FAILED]


@pytest.mark.parametrize(("body", "smtputf8"), [(PLAIN, True), (BODY, True), (HEADER, False)])
async def test_what_does_not_need_it_goes_without(dialer: MemoryDialer, body: bytes, smtputf8: bool) -> None:
    """A header with octets beyond ASCII that came without SMTPUTF8 was never promised to be UTF-8."""
    server = dialer.handlers[ADDRESS] = Server(extensions=UTF8)
    made = await sent(dialer, body, ANN, smtputf8=smtputf8)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert "SMTPUTF8" not in mail_line(server)


TWO_HOSTS = {"mx1.example.org": (ADDRESS,), "mx2.example.org": ("192.0.2.2",)}
EIGHT_BIT = "Subject: x\r\n\r\ngrüße\r\n".encode()


async def sent_to_two(dialer: MemoryDialer, body: bytes, to: Mailbox) -> Attempt:
    task = make_task(to)
    task = replace(task, envelope=replace(task.envelope, smtputf8=True))
    return await attempt(task, body, ports=make_ports(dialer, HandDiscoverer(TWO_HOSTS)), options=OPTIONS)


@pytest.mark.parametrize(
    ("less", "body", "to"),
    [(("8BITMIME",), PLAIN, JOERG), (("SMTPUTF8",), EIGHT_BIT, ANN), (("SIZE 10", "SMTPUTF8"), PLAIN, ANN)],
)
async def test_rfc6531_3_2_another_host_may_have_what_the_first_lacks(
    dialer: MemoryDialer, less: tuple[str, ...], body: bytes, to: Mailbox
) -> None:
    first = dialer.handlers[ADDRESS] = Server(extensions=less)
    second = dialer.handlers["192.0.2.2"] = Server(extensions=UTF8)
    made = await sent_to_two(dialer, body, to)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert (first.messages, second.messages) == ([], [body])


async def test_it_has_failed_when_no_host_can_have_it(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS], dialer.handlers["192.0.2.2"] = Server(context), Server(context)
    made = await sent_to_two(dialer, PLAIN, JOERG)
    assert [(outcome.kind, outcome.status) for outcome in made.outcomes] == [(OutcomeKind.FAILED, "5.6.7")]


async def test_it_waits_for_a_host_that_may_have_it_and_is_down(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    made = await sent_to_two(dialer, PLAIN, JOERG)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DEFERRED]


async def test_other_addresses_of_a_host_that_cannot_have_it_are_not_tried(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    hosts = {"mx1.example.org": (ADDRESS, "192.0.2.3")}
    dialer.handlers[ADDRESS], dialer.handlers["192.0.2.3"] = Server(context), Server(context)
    task = make_task(JOERG)
    made = await attempt(task, PLAIN, ports=make_ports(dialer, HandDiscoverer(hosts)), options=OPTIONS)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.FAILED]
    assert dialer.dialled == [ADDRESS]
