"""Sessions that are kept: used again only where a new one would have to prove the same, and judged each time."""

import asyncio
from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.deliver.handshake_slots import HostBusy
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import USED_ONCE_SHARE, SessionPool
from letterlock.deliver.session import Ports
from letterlock.mail.envelope import TlsDemand
from letterlock.net.tls import ServerContext, TlsStream
from letterlock.policy.decision import Level
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Credential
from tests.deliver.virtual_time import virtual_time
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BODY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    dane_ee,
    make_ports,
    make_task,
)


class Sender:
    """Sends message after message over one pool."""

    def __init__(
        self, dialer: MemoryDialer, discoverer: HandDiscoverer | None = None, options: DeliverOptions = OPTIONS
    ) -> None:
        self.clock = HandClock()
        self.ports: Ports = replace(make_ports(dialer, discoverer), clock=self.clock)
        self.options = options
        self.pool = SessionPool(self.clock, options)

    async def send(self, discoverer: HandDiscoverer | None = None, demand: TlsDemand = TlsDemand.NONE) -> Attempt:
        task = make_task(ANN)
        task = replace(task, envelope=replace(task.envelope, tls_demand=demand))
        ports = replace(self.ports, discoverer=discoverer) if discoverer else self.ports
        return await attempt(task, BODY, ports=ports, options=self.options, pool=self.pool)


def delivered(made: Attempt) -> bool:
    return [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]


def dane(credential: Credential) -> HandDiscoverer:
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    return HandDiscoverer(tlsa={"mx.example.org": tlsa})


async def test_the_next_message_goes_through_the_same_session(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    made = [await sender.send() for _ in range(3)]
    assert all(map(delivered, made))
    assert dialer.dialled == [ADDRESS]
    assert len(server.messages) == 3
    assert [line for line in server.secret if line.startswith("EHLO")] == ["EHLO client.example"]
    assert made[2].handshake == made[0].handshake
    await sender.pool.close()


async def test_an_idle_session_is_ended_with_quit(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, options=replace(OPTIONS, idle_seconds=0.001))
    await sender.send()
    await dialer.tasks[0]
    assert server.secret[-1] == "QUIT"


async def test_without_idle_time_each_message_has_its_session(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, options=replace(OPTIONS, idle_seconds=0.0))
    for _ in range(2):
        assert delivered(await sender.send())
    assert len(dialer.dialled) == 2


async def test_close_ends_all(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    await sender.send()
    await sender.pool.close()
    await dialer.tasks[0]
    assert server.secret[-1] == "QUIT"


async def test_an_idle_session_gives_its_buffers_back_once_and_is_used_again(
    dialer: MemoryDialer, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared: list[TlsStream] = []
    giving = TlsStream.spare_memory

    def give(stream: TlsStream) -> None:
        spared.append(stream)
        giving(stream)

    monkeypatch.setattr(TlsStream, "spare_memory", give)
    monkeypatch.setattr("letterlock.deliver.pool.SPARING_SECONDS", 0.0)
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    for number in (1, 2):
        assert delivered(await sender.send())
        for _ in range(3):
            await asyncio.sleep(0)
        sender.pool._spare_memory()
        sender.pool._spare_memory()
        assert len(spared) == number
    assert dialer.dialled == [ADDRESS]
    await sender.pool.close()


async def test_a_message_that_demands_more_than_the_session_proved_gets_one_of_its_own(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    """Opened for a host without TLSA records; meanwhile records were published that its certificate does not match."""
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    assert delivered(await sender.send())
    other = answer("_25._tcp.mx.example.org", "TLSA", "3 1 1 " + "ab" * 32, security=Security.SECURE)
    refused = await sender.send(HandDiscoverer(tlsa={"mx.example.org": other}))
    assert not delivered(refused)
    assert refused.outcomes[0].status.startswith("4.7")
    assert dialer.dialled == [ADDRESS, ADDRESS]
    proven = await sender.send(dane(credential))
    assert proven.achieved is not None
    assert proven.achieved.level is Level.AUTHENTICATED, "judged again, by what is demanded now"
    assert len(dialer.dialled) == 2
    await sender.pool.close()


async def test_rfc8689_4_2_1_a_kept_session_without_requiretls_is_not_used_for_it(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, dane(credential))
    assert delivered(await sender.send())
    assert not delivered(await sender.send(demand=TlsDemand.REQUIRETLS))
    assert delivered(await sender.send())
    await sender.pool.close()


async def test_a_session_in_clear_is_kept_only_where_starttls_is_not_offered(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    sender = Sender(dialer)
    for _ in range(2):
        assert delivered(await sender.send())
    assert dialer.dialled == [ADDRESS]
    await sender.pool.close()


async def test_a_session_in_clear_for_any_other_reason_is_not_kept(dialer: MemoryDialer) -> None:
    refusing = Server(extensions=("STARTTLS", "PIPELINING"), answers={"STARTTLS": [b"454 4.7.0 not now\r\n"]})
    dialer.handlers[ADDRESS] = refusing
    sender = Sender(dialer)
    for _ in range(2):
        assert delivered(await sender.send())
    assert dialer.dialled == [ADDRESS, ADDRESS], "the next one might get TLS"


async def test_nothing_in_clear_serves_a_message_under_a_rule_that_demands_tls(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    sender = Sender(dialer)
    assert delivered(await sender.send())
    made = await sender.send(HandDiscoverer(rule=TlsRule.REQUIRE_TLS))
    assert not delivered(made)
    await sender.pool.close()


@pytest.mark.parametrize("when", ["while idle", "at MAIL FROM"])
async def test_a_kept_session_that_ended_costs_nothing(dialer: MemoryDialer, context: ServerContext, when: str) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    if when == "at MAIL FROM":
        server.answers["MAIL"] = [b"250 2.1.0 Ok\r\n", b"421 4.4.2 idle for too long\r\n", b"250 2.1.0 Ok\r\n"]
    sender = Sender(dialer)
    assert delivered(await sender.send())
    if when == "while idle":
        dialer.tasks[0].cancel()
        await asyncio.gather(dialer.tasks[0], return_exceptions=True)
    made = await sender.send()
    assert delivered(made)
    assert len(server.messages) == 2
    assert dialer.dialled == [ADDRESS, ADDRESS]
    await sender.pool.close()


async def test_what_a_server_says_unasked_ends_its_session(dialer: MemoryDialer, context: ServerContext) -> None:
    """A stale reply would be taken for the answer to the next command."""
    server = Server(context, answers={".": [b"250 2.0.0 Ok\r\n250 2.0.0 and another\r\n", b"250 2.0.0 Ok\r\n"]})
    dialer.handlers[ADDRESS] = server
    sender = Sender(dialer)
    assert delivered(await sender.send())
    assert delivered(await sender.send())
    assert len(dialer.dialled) == 2


async def test_the_reply_to_the_message_lost_on_a_kept_session_is_in_doubt_and_not_sent_again(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, answers={".": [b"250 2.0.0 Ok\r\n", b""]})
    sender = Sender(dialer)
    assert delivered(await sender.send())
    made = await sender.send()
    assert made.outcomes[0].kind is OutcomeKind.DEFERRED
    assert made.outcomes[0].in_doubt
    assert len(server.messages) == 1
    assert dialer.dialled == [ADDRESS]


async def test_a_session_is_not_kept_for_ever(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    await sender.send()
    sender.clock.time += OPTIONS.max_session_age_seconds + 1
    assert delivered(await sender.send())
    assert len(dialer.dialled) == 2
    await sender.pool.close()


async def test_of_too_many_idle_sessions_the_one_idle_for_longest_is_ended(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, options=replace(OPTIONS, max_idle_sessions=1))
    together = await asyncio.gather(sender.send(), sender.send())
    assert all(map(delivered, together))
    assert len(dialer.dialled) == 2
    await asyncio.wait(dialer.tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.done() for task in dialer.tasks].count(True) == 1
    await sender.pool.close()


async def test_while_there_are_plenty_those_that_carried_one_message_are_ended_sooner(
    dialer: MemoryDialer, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("letterlock.deliver.pool.PLENTY", 2)
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, options=replace(OPTIONS, max_handshakes_per_host=5))
    with virtual_time() as time:
        await asyncio.gather(*(sender.send() for _ in range(5)))
        time.now += OPTIONS.idle_seconds * USED_ONCE_SHARE - 0.01
        await sender.send()
        assert len(sender.pool._order) == 5, "none was idle for long enough"
        time.now += 0.02
        await sender.send()
        assert len(sender.pool._order) == 2, "as many as are plenty are kept"
        assert len(sender.pool._used_once) == 1
        time.now += OPTIONS.idle_seconds * USED_ONCE_SHARE
        await sender.send()
        assert len(sender.pool._order) == 2
        assert len(dialer.dialled) == 5
        await sender.pool.close()
    assert not sender.pool._used_once


async def test_those_that_carried_several_messages_are_kept_for_their_time_however_many(
    dialer: MemoryDialer, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("letterlock.deliver.pool.PLENTY", 1)
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer)
    with virtual_time() as time:
        for _ in range(2):
            await asyncio.gather(*(sender.send() for _ in range(3)))
        time.now += OPTIONS.idle_seconds * 0.9
        await sender.send()
        assert len(sender.pool._order) == 3
        await sender.pool.close()
    assert len(dialer.dialled) == 3


async def test_a_host_never_has_more_sessions_than_it_may(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, options=replace(OPTIONS, max_connections_per_host=1))
    together = await asyncio.gather(sender.send(), sender.send(), return_exceptions=True)
    assert [isinstance(each, HostBusy) for each in together] == [False, True]
    assert delivered(await sender.send()), "over the session that was kept"
    assert len(dialer.dialled) == 1
    await sender.pool.close()
    assert delivered(await sender.send()), "nothing is counted that has ended"
    await sender.pool.close()


async def test_an_idle_session_that_cannot_be_used_makes_room_for_one_that_can(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    sender = Sender(dialer, options=replace(OPTIONS, max_connections_per_host=1))
    assert delivered(await sender.send())
    sender.options = replace(sender.options, ignore_ehlo=frozenset({"PIPELINING"}))
    assert delivered(await sender.send())
    assert len(dialer.dialled) == 2
    assert sender.pool.displaced == 1
    await sender.pool.close()


@pytest.mark.parametrize("by_address", [False, True])
@pytest.mark.parametrize("address", [ADDRESS, "2001:db8::25"])
async def test_room_is_made_by_the_session_that_is_idle_for_longest_there(
    dialer: MemoryDialer, context: ServerContext, address: str, by_address: bool
) -> None:
    elsewhere = "192.0.2.99"
    dialer.handlers |= {address: Server(context), elsewhere: Server(context)}
    here, there = (
        HandDiscoverer({host: (at,)}) for host, at in (("mx.a.example", address), ("mx.b.example", elsewhere))
    )
    sender = Sender(dialer)
    with virtual_time() as time:
        await sender.send(there)
        for count in (2, 1):
            await asyncio.gather(*(sender.send(here) for _ in range(count)))
            time.now += 0.1
        oldest = next(kept for kept in sender.pool._order if kept.server.address == address)
        make_room = sender.pool.handshake_slots.make_room
        assert make_room(f"[{address}]:25" if by_address else "mx.a.example")
        assert oldest not in sender.pool._order
        assert len(sender.pool._order) == 2
        for nowhere in ("mx.c.example", f"[{address}]:26", "[192.0.2.77]:25", "", "[", "[mx.b]:smtp", "mx.b]:x"):
            assert not make_room(nowhere)
        assert len(sender.pool._order) == 2
        await sender.pool.close()


async def test_a_session_that_breaks_is_counted_no_more(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context, answers={".": [b""]})
    sender = Sender(dialer, options=replace(OPTIONS, max_connections_per_host=1))
    for _ in range(3):
        assert not delivered(await sender.send())
    assert len(dialer.dialled) == 3
    await sender.pool.close()
