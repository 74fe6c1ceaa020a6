"""Attempts against attackers and broken servers: nothing in cleartext that must not be, no hanging, no false `sent`."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.options import DeliverOptions, Timeouts
from letterlock.net.tls import ServerContext, accept_tls
from letterlock.ports import Stream
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Credential
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BOB,
    BODY,
    HASTY,
    OPTIONS,
    HandDiscoverer,
    Handler,
    MemoryDialer,
    MemoryStream,
    Server,
    answer,
    dane_ee,
    make_ports,
    make_task,
    mute,
    raw,
)

EHLO = b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
GREETING = b"220 mx ESMTP\r\n"
OK = b"250 Ok\r\n"

# What an attacker on the path, or a broken server, may do before there is TLS.
BEFORE_TLS: dict[str, Callable[[], Handler]] = {
    "STARTTLS stripped": Server,
    "STARTTLS refused": lambda: Server(answers={"STARTTLS": [b"454 4.7.0 not now\r\n"]}, extensions=("STARTTLS",)),
    "STARTTLS refused for good": lambda: Server(answers={"STARTTLS": [b"502 no\r\n"]}, extensions=("STARTTLS",)),
    "another 2yz than 220": lambda: Server(answers={"STARTTLS": [b"250 sure\r\n"]}, extensions=("STARTTLS",)),
    "injected with 220": lambda: raw(GREETING, EHLO, b"220 go\r\n" + EHLO),
    "injected after 220": lambda: raw(GREETING, EHLO, b"220 go\r\n", EHLO + OK * 3),
    "220 and then silence": lambda: raw(GREETING, EHLO, b"220 go\r\n"),
    "220 and then the protocol goes on in cleartext": lambda: Server(extensions=("STARTTLS",)),
    "TLS alert": lambda: raw(GREETING, EHLO, b"220 go\r\n", b"\x15\x03\x03\x00\x02\x02\x28"),
    "EHLO unknown": lambda: Server(answers={"EHLO": [b"502 what?\r\n"]}),
    "EHLO refused": lambda: Server(answers={"EHLO": [b"550 5.7.1 not you\r\n"]}),
    "greeting 554": lambda: Server(greeting=b"554 no\r\n"),
    "greeting never ends": lambda: raw(b"220-mx\r\n"),
    "greeting unfinished": lambda: raw(b"220 mx"),
    "greeting is a flood of lines": lambda: raw(b"220-mx\r\n" * 5000),
    "greeting is one long line": lambda: raw(b"220 " + b"x" * 100_000),
    "greeting with NUL": lambda: raw(b"220 mx\0\r\n"),
    "another protocol": lambda: raw(b"HTTP/1.1 200 OK\r\n\r\n"),
    "answers in advance": lambda: raw(GREETING + OK * 6),
    "EHLO answered twice": lambda: raw(GREETING, EHLO + OK * 5),
    "mute": lambda: mute,
    "hangs up": lambda: raw(None, b""),
}


def protected(kind: str, credential: Credential) -> HandDiscoverer:
    """A destination that an operator's rule or a TLSA record protects."""
    if kind == "require-tls":
        return HandDiscoverer(rule=TlsRule.REQUIRE_TLS)
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    return HandDiscoverer(tlsa={"mx.example.org": tlsa})


async def make(
    dialer: MemoryDialer,
    discoverer: HandDiscoverer | None = None,
    *,
    body: bytes = BODY,
    options: DeliverOptions = OPTIONS,
) -> Attempt:
    """One attempt for Ann and Bob, which must end by itself."""
    async with asyncio.timeout(10):
        ports = make_ports(dialer, discoverer)
        return await attempt(make_task(ANN, BOB), body, ports=ports, options=options)


def kinds(made: Attempt) -> set[OutcomeKind]:
    return {outcome.kind for outcome in made.outcomes}


@pytest.mark.parametrize("protection", ["require-tls", "dane"])
@pytest.mark.parametrize("attack", BEFORE_TLS)
async def test_rfc7672_2_2_no_mail_from_in_clear(
    dialer: MemoryDialer, credential: Credential, attack: str, protection: str
) -> None:
    dialer.handlers[ADDRESS] = BEFORE_TLS[attack]()
    made = await make(dialer, protected(protection, credential), options=HASTY)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert all(outcome.status.startswith("4.") and outcome.text for outcome in made.outcomes)
    for client in dialer.clients:
        assert b"MAIL" not in client.written
        assert b"HELO client" not in client.written


@pytest.mark.parametrize("attack", BEFORE_TLS)
async def test_without_protection_nothing_bounces_and_nothing_hangs(dialer: MemoryDialer, attack: str) -> None:
    server = dialer.handlers[ADDRESS] = BEFORE_TLS[attack]()
    made = await make(dialer, options=HASTY)
    assert OutcomeKind.FAILED not in kinds(made)
    if OutcomeKind.DELIVERED in kinds(made):
        assert isinstance(server, Server)
        assert server.messages == [BODY]


async def test_rfc7672_2_2_a_failed_handshake_is_retried_in_clear_only_where_that_was_earned(
    dialer: MemoryDialer, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = server = Server(starttls_answer=b"220 go\r\n", extensions=("STARTTLS",))
    made = await make(dialer)
    assert kinds(made) == {OutcomeKind.DELIVERED}
    assert server.messages == [BODY]
    assert [compatible for _, compatible in dialer.handshakes] == [False, True], "P-256 first, then clear"
    assert len(dialer.dialled) == 3
    dialer.dialled.clear()
    held = await make(dialer, protected("dane", credential))
    assert kinds(held) == {OutcomeKind.DEFERRED}
    assert len(dialer.dialled) == 2
    assert server.messages == [BODY]


async def test_rfc3207_4_2_injection_is_not_retried_in_clear(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = BEFORE_TLS["injected with 220"]()
    made = await make(dialer)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert len(dialer.dialled) == 1
    assert made.reasons[0].code == "rfc3207-4.2-injected"


async def test_a_server_that_chokes_on_a_large_client_hello_gets_a_small_one(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    server = Server(context)

    async def choking(stream: MemoryStream) -> None:
        if len(dialer.dialled) == 1:
            await stream.write(GREETING)
            for reply in (EHLO, b"220 go\r\n"):
                await stream.read(1000)
                await stream.write(reply)
            await stream.read(100)
            stream.abort()
        else:
            await server(stream)

    dialer.handlers[ADDRESS] = choking
    made = await make(dialer, protected("dane", credential))
    assert kinds(made) == {OutcomeKind.DELIVERED}
    assert made.handshake is not None
    assert made.handshake.group in ("secp256r1", "prime256v1")


@pytest.mark.parametrize(
    "answers",
    [
        {"EHLO/TLS": [b"502 what?\r\n"]},
        {"EHLO/TLS": [b"421 no\r\n"]},
        {"EHLO/TLS": [b""]},
        {"EHLO/TLS": [b"550 no\r\n"]},
    ],
)
async def test_ehlo_refused_inside_tls_defers(
    dialer: MemoryDialer, context: ServerContext, answers: dict[str, list[bytes]]
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, answers=answers)
    made = await make(dialer)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert not any("MAIL" in line or "HELO" in line for line in server.secret if line != "EHLO client.example")


async def test_rfc3207_4_2_capabilities_from_before_tls_are_not_used(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, answers={"EHLO/TLS": [b"250 mx\r\n"]})
    assert kinds(await make(dialer)) == {OutcomeKind.DELIVERED}
    assert "MAIL FROM:<sender@example.net>" in server.secret, "no SIZE was offered inside TLS"


@pytest.mark.parametrize(
    "end",
    [b"", b"250-queued\r\n", b"250 queu", b"354 more\r\n", b"hello\r\n", b"250 \0\r\n", b"250-a\r\n" * 500],
)
async def test_rfc5321_4_2_5_without_an_answer_to_the_message_it_is_in_doubt(dialer: MemoryDialer, end: bytes) -> None:
    dialer.handlers[ADDRESS] = Server(answers={".": [end]})
    made = await make(dialer, options=HASTY)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert all(outcome.in_doubt for outcome in made.outcomes)
    assert "may have been delivered" in made.outcomes[0].text


async def test_a_message_in_doubt_is_not_offered_to_the_next_host(dialer: MemoryDialer) -> None:
    second = Server()
    dialer.handlers |= {"192.0.2.1": Server(answers={".": [b""]}), "192.0.2.2": second}
    hosts = {"mx1.example.org": ("192.0.2.1",), "mx2.example.org": ("192.0.2.2",)}
    made = await make(dialer, HandDiscoverer(hosts=hosts))
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert second.clear == []


@pytest.mark.parametrize("after", ["MAIL", "RCPT", "DATA"])
async def test_an_end_in_the_envelope_is_not_in_doubt(dialer: MemoryDialer, after: str) -> None:
    dialer.handlers[ADDRESS] = Server(answers={after: [b""]})
    made = await make(dialer)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert not any(outcome.in_doubt for outcome in made.outcomes)


async def test_a_2yz_in_advance_is_not_sent(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"DATA": [b"354 go\r\n250 queued already\r\n"]})
    assert kinds(await make(dialer)) == {OutcomeKind.DEFERRED}


async def test_a_refusal_amid_the_content_is_heard(dialer: MemoryDialer) -> None:
    async def impatient(stream: MemoryStream) -> None:
        await stream.write(GREETING)
        await stream.read(100)
        await stream.write(b"250-mx\r\n250 PIPELINING\r\n")
        await stream.read(1000)
        await stream.write(OK * 3 + b"354 go\r\n")
        await stream.read(1000)
        await stream.write(b"552 5.3.4 enough\r\n")
        stream._incoming.ended = True  # it reads no more: the client's writes fail
        await stream._incoming.notify()

    dialer.handlers[ADDRESS] = impatient
    made = await make(dialer, body=b"x" * 78 + b"\r\n" * 2_000_000)
    assert kinds(made) == {OutcomeKind.FAILED}
    assert made.outcomes[0].status == "5.3.4"


async def test_an_end_amid_the_content_is_not_in_doubt(dialer: MemoryDialer) -> None:
    async def fickle(stream: MemoryStream) -> None:
        await stream.write(GREETING)
        await stream.read(100)
        await stream.write(b"250-mx\r\n250 PIPELINING\r\n")
        await stream.read(1000)
        await stream.write(OK * 3 + b"354 go\r\n")
        await stream.read(1000)
        stream.abort()

    dialer.handlers[ADDRESS] = fickle
    made = await make(dialer, body=b"x" * 78 + b"\r\n" * 2_000_000)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert not any(outcome.in_doubt for outcome in made.outcomes)


async def test_a_server_that_reads_nothing_of_the_content_is_left(dialer: MemoryDialer) -> None:
    async def lazy(stream: MemoryStream) -> None:
        await stream.write(GREETING)
        await stream.read(100)
        await stream.write(b"250-mx\r\n250 PIPELINING\r\n")
        await stream.read(1000)
        await stream.write(OK * 3 + b"354 go\r\n")
        await asyncio.sleep(3600)

    dialer.handlers[ADDRESS] = lazy
    made = await make(dialer, body=b"x" * 78 + b"\r\n" * 2_000_000, options=HASTY)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert "no more data" in made.outcomes[0].text


async def test_whatever_a_server_says_nothing_leaves_in_clear_under_dane(
    dialer: MemoryDialer, credential: Credential
) -> None:
    chance = random.Random(7672)
    pieces = [
        GREETING,
        EHLO,
        OK,
        b"220 go\r\n",
        b"354 go\r\n",
        b"454 no\r\n",
        b"502 what\r\n",
        b"421 no\r\n",
        b"250-a\r\n",
    ]

    async def babbling(stream: MemoryStream) -> None:
        said = [GREETING, EHLO, b"220 go\r\n", EHLO, OK * 4, b"354 go\r\n", OK][: chance.randint(0, 7)]
        for piece in [*said, *chance.choices(pieces, k=8)]:
            await stream.write(piece if chance.random() < 0.8 else chance.choice(pieces) + chance.choice(pieces))
            with suppress(TimeoutError):  # it does not wait for ever for a client that waits for the rest
                async with asyncio.timeout(0.003):
                    await stream.read(65536)

    dialer.handlers[ADDRESS] = babbling
    for _ in range(100):
        made = await make(dialer, protected("dane", credential))
        assert kinds(made) == {OutcomeKind.DEFERRED}
    assert not any(b"MAIL" in client.written or b"RCPT" in client.written for client in dialer.clients)


async def test_a_connection_that_is_not_made_in_time(dialer: MemoryDialer) -> None:
    class NeverThere(MemoryDialer):
        async def dial(self, address: str, port: int) -> Stream:
            await asyncio.sleep(3600)
            raise AssertionError

    made = await make(NeverThere(), options=HASTY)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert made.outcomes[0].status == "4.4.1"
    assert "no connection within" in made.outcomes[0].text


@pytest.mark.parametrize("handler", [mute, BEFORE_TLS["220 and then silence"](), Server(answers={".": [b"250-\r\n"]})])
async def test_a_cancelled_attempt_leaves_no_connection(dialer: MemoryDialer, handler: Handler) -> None:
    dialer.handlers[ADDRESS] = handler
    trying = asyncio.create_task(make(dialer))
    await asyncio.sleep(0.05)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying
    assert dialer.clients[0].over


async def test_the_whole_session_has_an_end_however_slowly_it_drips(dialer: MemoryDialer) -> None:
    async def drip(stream: MemoryStream) -> None:
        await stream.write(GREETING)
        while await stream.read(1000):
            await asyncio.sleep(0.1)
            await stream.write(OK)

    dialer.handlers[ADDRESS] = drip
    timeouts = Timeouts(session=0.25, goodbye=0.1)
    options = DeliverOptions(hostname="client.example", timeouts=timeouts)
    async with asyncio.timeout(5):
        made = await attempt(make_task(ANN, BOB), BODY, ports=make_ports(dialer), options=options)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert dialer.clients[0].written.count(b"\r\n") < 6


async def test_truncation_inside_tls_is_no_acceptance(dialer: MemoryDialer, context: ServerContext) -> None:
    async def truncating(stream: MemoryStream) -> None:
        await stream.write(GREETING)
        await stream.read(100)
        await stream.write(EHLO)
        await stream.read(100)
        await stream.write(b"220 go\r\n")
        inside, _ = await accept_tls(stream, context)
        await inside.read(100)
        await inside.write(b"250-mx\r\n250 PIPELINING\r\n")
        await inside.read(1000)
        await inside.write(OK * 3 + b"354 go\r\n")
        await inside.read(1000)
        await inside.write(b"250 que")
        await stream.close()

    dialer.handlers[ADDRESS] = truncating
    made = await make(dialer)
    assert kinds(made) == {OutcomeKind.DEFERRED}
    assert all(outcome.in_doubt for outcome in made.outcomes)


async def test_remote_text_is_bounded(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"MAIL": [b"550-" + b"x" * 2000 + b"\r\n550 end\r\n"]})
    made = await make(dialer)
    assert kinds(made) == {OutcomeKind.FAILED}
    assert len(made.outcomes[0].remote_reply or "") <= 1000
    assert len(made.outcomes[0].text) < 1200
