"""What becomes of mail when servers put it off: greylisting, 421, rates, too many of something."""

import asyncio
from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.reply_hints import GREYLIST_SECONDS, SOON_SECONDS
from letterlock.mail.addresses import Mailbox
from letterlock.net.sources import SourceAddresses
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import OutcomeKind
from tests.deliver.test_attempt import TWO_HOSTS, kinds, make
from tests.deliver.test_pool import Sender, delivered
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BOB,
    BODY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    make_ports,
    make_task,
)

DELIVERED, DEFERRED, FAILED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED, OutcomeKind.FAILED
GREYLISTED = b"450 4.2.0 <ann@example.org>: Greylisted, see http://postgrey.example/\r\n"
CAROL = Mailbox("carol", "example.org")


async def test_greylisted_others_of_the_transaction_go_on_and_the_next_mx_is_left_alone(dialer: MemoryDialer) -> None:
    first = dialer.handlers["192.0.2.1"] = Server(answers={"RCPT": [GREYLISTED, b"250 2.1.5 Ok\r\n"]})
    dialer.handlers["192.0.2.2"] = Server()
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS), ANN, BOB)
    assert kinds(made) == [DEFERRED, DELIVERED]
    assert first.messages == [BODY]
    assert dialer.dialled == ["192.0.2.1"], "the answer for a recipient is the domain's answer, not one host's"


@pytest.mark.parametrize("attempts", [0, 3])
async def test_greylisted_the_next_attempt_comes_when_the_span_is_over_however_many_came_before(
    dialer: MemoryDialer, attempts: int
) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [GREYLISTED]})
    made = await make(dialer)
    task = replace(make_task(), attempts=attempts)
    waits = [
        (settle(task, made, now=0, schedule=RetrySchedule(first_seconds=1000), chance=chance).next_attempt_at)
        for chance in (0.0, 1.0)
    ]
    assert waits == [pytest.approx(GREYLIST_SECONDS), pytest.approx(GREYLIST_SECONDS * 1.1)]


async def test_greylisted_again_and_again_the_schedule_holds(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [GREYLISTED]})
    made = await make(dialer)
    settlement = settle(replace(make_task(), attempts=20), made, now=0, schedule=RetrySchedule())
    assert settlement.next_attempt_at == 4000


async def test_greylisted_beside_one_whose_mailbox_is_full_nobody_waits_longer_than_he_must(
    dialer: MemoryDialer,
) -> None:
    full = b"452 4.2.2 Mailbox full\r\n"
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [GREYLISTED, full]})
    made = await make(dialer, None, ANN, BOB)
    task = replace(make_task(ANN, BOB), attempts=3)
    assert settle(task, made, now=0, schedule=RetrySchedule()).next_attempt_at == pytest.approx(GREYLIST_SECONDS)


async def test_421_too_many_connections_tries_the_next_host_and_else_comes_again_soon(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(greeting=b"421 4.7.0 Too many connections from your address\r\n")
    made = await make(dialer)
    (outcome,) = made.outcomes
    assert (outcome.kind, outcome.slow_down, outcome.retry_after) == (DEFERRED, True, SOON_SECONDS)
    task = replace(make_task(), attempts=6)
    assert settle(task, made, now=0, schedule=RetrySchedule()).next_attempt_at == SOON_SECONDS, "not a failed attempt"


@pytest.mark.parametrize("command", ["MAIL", "first RCPT", "last RCPT", "DATA"])
@pytest.mark.parametrize("extensions", [("PIPELINING",), ()])
async def test_421_within_a_transaction_defers_what_was_not_answered_and_no_other(
    dialer: MemoryDialer, command: str, extensions: tuple[str, ...]
) -> None:
    closing = b"421 4.3.2 closing\r\n"
    answers = {command.removeprefix("first "): [closing]}
    if command == "last RCPT":
        answers = {"RCPT": [b"550 5.1.1 no such user\r\n", b"250 2.1.5 Ok\r\n", closing]}
    dialer.handlers[ADDRESS] = Server(answers=answers, extensions=extensions)
    made = await make(dialer, None, ANN, BOB, CAROL)
    assert kinds(made) == ([FAILED, DEFERRED, DEFERRED] if command == "last RCPT" else [DEFERRED] * 3)
    put_off = [outcome for outcome in made.outcomes if outcome.kind is DEFERRED]
    assert all(outcome.slow_down and "421 4.3.2 closing" in outcome.text for outcome in put_off)


async def test_421_as_the_answer_to_the_message_is_a_refusal_for_now_and_no_doubt(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={".": [b"421 4.3.2 going down\r\n"]})
    (outcome,) = (await make(dialer)).outcomes
    assert (outcome.kind, outcome.in_doubt) == (DEFERRED, False)


async def test_421_in_one_session_leaves_the_others_with_that_host_alone(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    sender = Sender(dialer)
    together = await asyncio.gather(sender.send(), sender.send())
    assert all(map(delivered, together))
    server.answers["MAIL"] = [b"421 4.3.2 this one ends\r\n", b"250 2.1.0 Ok\r\n"]
    assert delivered(await sender.send()), "over the other session, which is still kept"
    assert len(dialer.dialled) == 2
    assert delivered(await sender.send())
    assert len(dialer.dialled) == 2
    await sender.pool.close()


@pytest.mark.parametrize("reply", [b"452 4.5.3 too many recipients\r\n", b"552 too many recipients\r\n"])
async def test_rfc5321_4_5_3_1_10_too_many_recipients_the_rest_follows_at_once(
    dialer: MemoryDialer, reply: bytes
) -> None:
    ok = b"250 2.1.5 Ok\r\n"
    server = dialer.handlers[ADDRESS] = Server(answers={"RCPT": [ok, reply, reply, ok, reply, ok]})
    made = await make(dialer, None, ANN, BOB, CAROL)
    assert kinds(made) == [DELIVERED] * 3
    assert len(server.messages) == 3
    assert len(dialer.dialled) == 1


async def test_552_too_many_recipients_for_the_very_first_one_is_not_for_good(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [b"552 too many recipients\r\n"], "DATA": [b"503 no\r\n"]})
    assert [(each.kind, each.status) for each in (await make(dialer)).outcomes] == [(DEFERRED, "4.0.0")]


async def test_552_mailbox_full_is_for_good(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [b"552 5.2.2 mailbox full\r\n"], "DATA": [b"503 no\r\n"]})
    assert kinds(await make(dialer)) == [FAILED]


async def test_452_mailbox_full_is_one_recipients_and_asked_once(dialer: MemoryDialer) -> None:
    ok, full = b"250 2.1.5 Ok\r\n", b"452 4.2.2 mailbox full\r\n"
    server = dialer.handlers[ADDRESS] = Server(answers={"RCPT": [ok, full, ok]})
    assert kinds(await make(dialer, None, ANN, BOB)) == [DELIVERED, DEFERRED]
    assert len([line for line in server.clear if line.startswith("RCPT")]) == 2


async def test_554_greeting_tries_the_next_mx_and_else_waits(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(greeting=b"554 5.3.2 no SMTP service here\r\n")
    made = await make(dialer, HandDiscoverer(hosts=TWO_HOSTS))
    assert dialer.dialled == ["192.0.2.1", "192.0.2.2"]
    assert kinds(made) == [DEFERRED], "anybody on the path can say it"


async def test_rfc5321_5_1_the_winner_that_refuses_to_talk_leaves_the_other_addresses_to_be_tried(
    dialer: MemoryDialer,
) -> None:
    six, four = "2001:db8::1", "192.0.2.1"
    dialer.handlers = {six: Server(greeting=b"421 4.3.2 not now\r\n"), four: Server()}
    made = await make(dialer, HandDiscoverer(hosts={"mx.example.org": (four, six)}))
    assert kinds(made) == [DELIVERED]
    assert dialer.dialled == [six, four]
    assert made.address == four


async def test_addresses_that_failed_are_told_beside_the_last_trouble(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(greeting=b"421 4.3.2 not now\r\n")
    made = await make(dialer, HandDiscoverer(hosts={"mx.example.org": ("192.0.2.1", "2001:db8::1")}))
    (outcome,) = made.outcomes
    assert "mx.example.org[2001:db8::1]: cannot connect: Connection refused" in outcome.text
    assert "mx.example.org[192.0.2.1]: the server refused to talk to us: 421 4.3.2 not now" in outcome.text


async def test_a_source_address_of_one_family_leaves_the_other_family_out(dialer: MemoryDialer) -> None:
    dialer.handlers = {"192.0.2.1": Server(), "2001:db8::1": Server()}
    ports = make_ports(dialer, HandDiscoverer(hosts={"mx.example.org": ("192.0.2.1", "2001:db8::1")}))
    options = replace(OPTIONS, source=SourceAddresses(ipv4="198.51.100.1"))
    assert kinds(await attempt(make_task(), BODY, ports=ports, options=options)) == [DELIVERED]
    assert dialer.dialled == ["192.0.2.1"]


async def test_a_host_that_the_source_address_cannot_reach_is_told(dialer: MemoryDialer) -> None:
    ports = make_ports(dialer, HandDiscoverer(hosts={"mx.example.org": ("2001:db8::1",)}))
    options = replace(OPTIONS, source=SourceAddresses(ipv4="198.51.100.1"))
    (outcome,) = (await attempt(make_task(), BODY, ports=ports, options=options)).outcomes
    assert outcome.kind is DEFERRED
    assert outcome.text == "mx.example.org: 2001:db8::1 cannot be dialled from 198.51.100.1, by source_address"
    assert dialer.dialled == []


async def test_a_session_dialled_from_another_address_is_not_used(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    sender = Sender(dialer)
    assert delivered(await sender.send())
    sender.options = replace(OPTIONS, source=SourceAddresses(ipv4="198.51.100.1"))
    assert delivered(await sender.send())
    assert len(dialer.dialled) == 2
    await sender.pool.close()


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")])
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"200 fine\r\n", OutcomeKind.DELIVERED),
        (b"221 2.0.0 closing\r\n", OutcomeKind.DEFERRED),
        (b"220 mx ESMTP\r\n", OutcomeKind.DEFERRED),
    ],
)
async def test_rfc5321_4_2_3_what_is_no_answer_to_the_message_leaves_it_in_doubt(
    dialer: MemoryDialer, extensions: tuple[str, ...], reply: bytes, kind: OutcomeKind
) -> None:
    """221 says that the server closes, 220 that one has begun: neither says that the message is on its disk."""
    dialer.handlers["192.0.2.1"] = Server(extensions=extensions, answers={".": [reply], "BDAT": [reply]})
    dialer.handlers["192.0.2.2"] = other = Server()
    ports = make_ports(dialer, HandDiscoverer(hosts={"a.example": ("192.0.2.1",), "b.example": ("192.0.2.2",)}))
    made = await attempt(make_task(), BODY, ports=ports, options=OPTIONS)
    (outcome,) = made.outcomes
    assert (outcome.kind, outcome.in_doubt) == (kind, kind is OutcomeKind.DEFERRED)
    assert other.messages == [], "what may have been delivered goes to no other host at once"
