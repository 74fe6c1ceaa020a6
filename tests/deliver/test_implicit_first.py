"""Implicit TLS first: an announced port open, closed, filtered, silent, speaking something else, asking for a login."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from bench.implicit_tls import measure

from letterlock.deliver import implicit_first
from letterlock.deliver.attempt import attempt
from letterlock.deliver.eyeballs import HEAD_START_SECONDS
from letterlock.deliver.implicit_first import (
    IMPLICIT_SECONDS,
    NO_RELAY_SECONDS,
    USELESS_SECONDS,
    UselessPorts,
    _may_want_login,
)
from letterlock.deliver.pool import SessionPool
from letterlock.mail.envelope import TlsDemand
from letterlock.net import tls
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Level
from letterlock.policy.evidence import DestinationEvidence, MxHost, StartTls, TargetHost
from letterlock.ports import Stream
from letterlock.queue.sessions import ImplicitTry
from letterlock.queue.tasks import Attempt, OutcomeKind, RecipientOutcome
from letterlock.resolver.answer import Answer, LookupFailure, Security
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop, RelayHost
from tests.certificates import Credential
from tests.deliver.virtual_time import virtual_time
from tests.deliver.world import (
    ANN,
    BOB,
    BODY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    Handler,
    MemoryDialer,
    MemoryStream,
    Server,
    answer,
    dane_ee,
    lookup_failure,
    make_ports,
    make_task,
    mute,
    raw,
)

HOST = "mx.example.org"
ON = replace(OPTIONS, implicit_tls=True)
SRV = answer("_smtp-tls._tcp.example.org", "SRV", f"0 1 465 {HOST}.", security=Security.SECURE)


@dataclass
class PortDialer(MemoryDialer):
    """Dials handlers by address and port; a port in `filtered` never answers."""

    at: dict[int, Handler] = field(default_factory=dict)
    filtered: set[int] = field(default_factory=set)
    ports: list[int] = field(default_factory=list)

    async def dial(self, address: str, port: int) -> Stream:
        self.ports.append(port)
        if port in self.filtered:
            await asyncio.Event().wait()
        self.handlers = {address: self.at[port]} if port in self.at else {}
        return await super().dial(address, port)


@dataclass
class Announcing(HandDiscoverer):
    """TLSA by host and port, and SRV records."""

    by_port: dict[int, Answer | LookupFailure] = field(default_factory=dict)
    srv: Answer | LookupFailure | None = None
    relay: RelayHost | None = None
    asked: list[int] = field(default_factory=list)
    unsigned: bool = False

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        return replace(await super().destination(next_hop, sender), smtp_tls=self.srv, relay=self.relay)

    async def host(self, host: MxHost, port: int) -> TargetHost:
        self.asked.append(port)
        found = await super().host(host, port)
        found = replace(found, tlsa=self.by_port.get(port, found.tlsa))
        return replace(found, address_security=Security.INSECURE, tlsa=None) if self.unsigned else found


class Wrapped(Server):
    """A server that speaks TLS before anything else."""

    async def __call__(self, stream: Stream) -> None:
        assert self.context is not None
        inner, _ = await tls.accept_tls(stream, self.context)
        plain = Server(
            None, self.extensions, self.answers, secret=self.secret, messages=self.messages, clear=self.clear
        )
        await plain(inner)


async def silent_inside(stream: MemoryStream) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def dialer() -> AsyncIterator[PortDialer]:
    made = PortDialer()
    yield made
    await made.aclose()


@pytest.fixture
async def pool(clock: HandClock) -> AsyncIterator[SessionPool]:
    made = SessionPool(clock, ON)
    yield made
    await made.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def tlsa(credential: Credential, port: int = 465) -> Answer:
    return answer(f"_{port}._tcp.{HOST}", "TLSA", dane_ee(credential), security=Security.SECURE)


def wrong_tlsa(port: int = 465) -> Answer:
    return answer(f"_{port}._tcp.{HOST}", "TLSA", "3 1 1 " + "00" * 32, security=Security.SECURE)


@pytest.fixture
def announcing(credential: Credential) -> Announcing:
    return Announcing(by_port={465: tlsa(credential)})


async def tried(
    dialer: PortDialer,
    world: Announcing,
    pool: SessionPool | None = None,
    *,
    on: bool = True,
    demand: TlsDemand = TlsDemand.NONE,
) -> Attempt:
    task = make_task(ANN, BOB)
    task = replace(task, envelope=replace(task.envelope, tls_demand=demand))
    ports = make_ports(dialer, world, pool._clock if pool is not None else None)  # type: ignore[arg-type]  # HandClock
    return await attempt(task, BODY, ports=ports, options=ON if on else OPTIONS, pool=pool)


def delivered(made: Attempt) -> bool:
    return all(each.kind is OutcomeKind.DELIVERED for each in made.outcomes)


async def test_rfc8314_3_an_open_port_is_used_and_no_smtp_byte_comes_before_tls(
    dialer: PortDialer, announcing: Announcing, context: ServerContext
) -> None:
    server = Wrapped(context)
    dialer.at = {465: server, 25: Server(context)}
    made = await tried(dialer, announcing)
    assert delivered(made)
    assert dialer.ports == [465], "there was no need for the other port"
    assert (made.port, made.implicit) == (465, ImplicitTry.OPENED)
    assert made.achieved is not None
    assert (made.achieved.level, made.achieved.by) == (Level.AUTHENTICATED, "dane-ee")
    (session,) = made.sessions
    assert session.evidence is not None
    assert session.evidence.starttls is StartTls.IMPLICIT
    assert server.messages == [BODY]


async def test_a_session_there_is_kept_for_the_next_message(
    dialer: PortDialer, announcing: Announcing, context: ServerContext, pool: SessionPool
) -> None:
    dialer.at = {465: Wrapped(context)}
    first = await tried(dialer, announcing, pool)
    second = await tried(dialer, announcing, pool)
    assert delivered(first)
    assert delivered(second)
    assert second.sessions[-1].reused
    assert dialer.ports == [465]


async def test_kept_sessions_are_found_by_their_own_port_too(
    dialer: PortDialer, announcing: Announcing, context: ServerContext, pool: SessionPool
) -> None:
    dialer.at = {465: Wrapped(context)}
    await tried(dialer, announcing, pool)
    pool._clock.time += 2.0  # type: ignore[attr-defined]  # nobody remembers the way any more
    assert (await tried(dialer, announcing, pool)).sessions[-1].reused
    assert dialer.ports == [465]


@pytest.mark.parametrize(
    ("kind", "came_to", "delay"),
    [
        ("closed", ImplicitTry.UNREACHABLE, 0.0),
        ("filtered", ImplicitTry.LATE, HEAD_START_SECONDS),
        ("silent", ImplicitTry.LATE, HEAD_START_SECONDS),
        ("silent inside TLS", ImplicitTry.LATE, HEAD_START_SECONDS),
        ("something else", ImplicitTry.NO_TLS, 0.0),
        ("plain SMTP", ImplicitTry.NO_TLS, 0.0),
        ("another certificate", ImplicitTry.NOT_CLEARED, 0.0),
        ("refuses us", ImplicitTry.UNREACHABLE, 0.0),
    ],
)
async def test_rfc8305_5_one_bounded_race_per_host_and_no_more(
    dialer: PortDialer,
    announcing: Announcing,
    context: ServerContext,
    pool: SessionPool,
    kind: str,
    came_to: ImplicitTry,
    delay: float,
) -> None:
    usual = Server(context)
    others: dict[str, Handler] = {
        "silent": mute,
        "silent inside TLS": lambda stream: _inside(stream, context),
        "something else": raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "plain SMTP": raw(b"220 mx ESMTP\r\n", b"500 what?\r\n"),
        "another certificate": Wrapped(context),
        "refuses us": lambda stream: _refusing(stream, context),
    }
    dialer.at = {25: usual} | ({465: others[kind]} if kind in others else {})
    dialer.filtered = {465} if kind == "filtered" else set()
    if kind == "another certificate":
        announcing.by_port[465] = wrong_tlsa()
    with virtual_time() as time:
        began = time.now
        made = await tried(dialer, announcing, pool)
        assert time.now - began == pytest.approx(delay)
        assert delivered(made)
        assert (made.port, made.implicit) == (25, came_to)
        assert [each.port for each in made.sessions] == [25], "it proves nothing: nobody is told of it"
        assert 465 in dialer.ports
        for _ in range(3):
            dialer.ports.clear()
            pool._clock.time += 10.0  # type: ignore[attr-defined]  # kept sessions and ways are over
            began = time.now
            again = await tried(dialer, announcing, pool)
            assert time.now == began
            assert delivered(again)
            assert 465 not in dialer.ports, "the host is left alone"
            assert again.implicit is None
        pool._clock.time += USELESS_SECONDS  # type: ignore[attr-defined]
        dialer.ports.clear()
        await tried(dialer, announcing, pool)
        assert 465 in dialer.ports


async def _inside(stream: MemoryStream, context: ServerContext) -> None:
    await tls.accept_tls(stream, context)
    await asyncio.Event().wait()


async def _refusing(stream: MemoryStream, context: ServerContext) -> None:
    inner, _ = await tls.accept_tls(stream, context)
    await inner.write(b"554 5.7.1 go away\r\n")
    while await inner.read(1000):
        pass


async def test_messages_that_come_together_have_one_race(
    dialer: PortDialer, announcing: Announcing, context: ServerContext, pool: SessionPool
) -> None:
    dialer.at, dialer.filtered = {25: Server(context)}, {465}
    with virtual_time():
        made = await asyncio.gather(*(tried(dialer, announcing, pool) for _ in range(3)))
    assert all(map(delivered, made))
    assert dialer.ports.count(465) == 1


@pytest.mark.parametrize(
    "refusal",
    [b"530 5.7.0 Authentication required\r\n", b"554 5.7.1 Client host rejected\r\n", b"550 Access denied\r\n"],
)
@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
async def test_rfc4954_6_a_server_that_wants_a_login_is_remembered_and_costs_nothing_next_time(
    dialer: PortDialer,
    announcing: Announcing,
    context: ServerContext,
    pool: SessionPool,
    refusal: bytes,
    command: str,
) -> None:
    usual = Server(context)
    dialer.at = {465: Wrapped(context, answers={command: [refusal]}), 25: usual}
    made = await tried(dialer, announcing, pool)
    assert delivered(made)
    assert (made.port, made.implicit) == (25, ImplicitTry.NO_RELAY)
    for passed in (0.0, 5.0, NO_RELAY_SECONDS / 2):
        pool._clock.time += passed  # type: ignore[attr-defined]
        dialer.ports.clear()
        assert delivered(await tried(dialer, announcing, pool))
        assert 465 not in dialer.ports
    assert len(usual.messages) == 4


async def test_a_refusal_of_a_recipient_is_the_servers_answer(
    dialer: PortDialer, announcing: Announcing, context: ServerContext, pool: SessionPool
) -> None:
    dialer.at = {
        465: Wrapped(context, answers={"RCPT": [b"550 5.1.1 no such user\r\n", b"250 2.1.5 ok\r\n"]}),
        25: Server(context),
    }
    made = await tried(dialer, announcing, pool)
    assert [each.kind for each in made.outcomes] == [OutcomeKind.FAILED, OutcomeKind.DELIVERED]
    assert dialer.ports == [465]


async def test_what_was_delivered_there_is_not_delivered_again(
    dialer: PortDialer, announcing: Announcing, context: ServerContext, pool: SessionPool
) -> None:
    there = Wrapped(context, answers={"RCPT": [b"250 2.1.5 ok\r\n", b"550 5.7.1 not this one\r\n"]})
    usual = Server(context)
    dialer.at = {465: there, 25: usual}
    made = await tried(dialer, announcing, pool)
    assert delivered(made)
    assert len(there.messages) == len(usual.messages) == 1
    assert [line for line in usual.secret if line.startswith("RCPT")] == ["RCPT TO:<bob@example.org>"]


async def test_rfc7672_2_2_3_dane_at_the_usual_port_is_never_traded_for_less(
    dialer: PortDialer, credential: Credential, context: ServerContext
) -> None:
    dialer.at = {25: Server(context), 465: Wrapped(context)}
    world = Announcing(by_port={25: tlsa(credential, 25)}, srv=SRV)
    made = await tried(dialer, world)
    assert delivered(made)
    assert dialer.ports == [25], "an SRV record alone proves nothing of the server there"


async def test_rfc7672_2_2_a_closed_port_does_not_soften_dane(dialer: PortDialer, context: ServerContext) -> None:
    dialer.at = {25: Server()}
    world = Announcing(by_port={25: wrong_tlsa(25), 465: wrong_tlsa()})
    made = await tried(dialer, world)
    assert not delivered(made)
    assert made.outcomes[0].status.startswith("4.7")


async def test_a_signed_srv_record_announces_a_port(dialer: PortDialer, context: ServerContext) -> None:
    dialer.at = {465: Wrapped(context), 25: Server()}
    made = await tried(dialer, Announcing(srv=SRV))
    assert (made.port, made.implicit) == (465, ImplicitTry.OPENED)
    assert made.achieved is not None
    assert made.achieved.level is Level.ENCRYPTED


@pytest.mark.parametrize(
    "srv",
    [
        None,
        replace(SRV, security=Security.INSECURE),
        lookup_failure("_smtp-tls._tcp.example.org", "SRV"),
        answer("_smtp-tls._tcp.example.org", "SRV", "0 1 465 other.example.", security=Security.SECURE),
        answer("_smtp-tls._tcp.example.org", "SRV", "0 0 0 .", security=Security.SECURE),
        answer("_smtp-tls._tcp.example.org", "SRV", f"0 1 25 {HOST}.", security=Security.SECURE),
        answer("_smtp-tls._tcp.example.org", "SRV", f"0 1 6379 {HOST}.", security=Security.SECURE),
        answer("_smtp-tls._tcp.example.org", "SRV", security=Security.SECURE),
    ],
    ids=["none", "unsigned", "failed", "another host", "not offered", "STARTTLS", "any port", "no data"],
)
async def test_nothing_else_announces_one(
    dialer: PortDialer, context: ServerContext, srv: Answer | LookupFailure | None
) -> None:
    dialer.at = {465: Wrapped(context), 25: Server()}
    assert (await tried(dialer, Announcing(srv=srv))).port == 25
    assert dialer.ports == [25]


async def test_unsigned_or_failed_tlsa_announces_nothing_and_holds_nothing(
    dialer: PortDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.at = {465: Wrapped(context), 25: Server()}
    for found in (replace(tlsa(credential), security=Security.INSECURE), lookup_failure(f"_465._tcp.{HOST}", "TLSA")):
        made = await tried(dialer, Announcing(by_port={465: found}))
        assert delivered(made)
    assert set(dialer.ports) == {25}


async def test_where_nothing_can_be_signed_nothing_is_asked(dialer: PortDialer, announcing: Announcing) -> None:
    dialer.at = {25: Server()}
    announcing.unsigned = True
    assert delivered(await tried(dialer, announcing))
    assert announcing.asked == [25]


async def test_off_it_costs_nothing(dialer: PortDialer, announcing: Announcing, context: ServerContext) -> None:
    dialer.at = {465: Wrapped(context), 25: Server(context)}
    assert delivered(await tried(dialer, announcing, on=False))
    assert announcing.asked == dialer.ports == [25]


async def test_a_port_that_a_route_names_is_the_only_one(
    dialer: PortDialer, announcing: Announcing, context: ServerContext
) -> None:
    dialer.at = {465: Wrapped(context), 25: Server(context)}
    announcing.relay = RelayHost(domain="example.org", source="t.toml:1", port=25)
    await tried(dialer, announcing)
    assert dialer.ports == [25]


async def test_a_rule_holds_there_as_well(dialer: PortDialer, context: ServerContext) -> None:
    dialer.at = {465: Wrapped(context), 25: Server(context)}
    made = await tried(dialer, Announcing(srv=SRV, rule=TlsRule.VERIFY))
    assert not delivered(made), "no root knows the certificate"
    assert made.implicit is ImplicitTry.NOT_CLEARED


async def test_a_message_that_wants_requiretls_has_it_there_or_not_at_all(
    dialer: PortDialer, announcing: Announcing, context: ServerContext
) -> None:
    dialer.at = {465: Wrapped(context, extensions=("REQUIRETLS",)), 25: Server()}
    made = await tried(dialer, announcing, demand=TlsDemand.REQUIRETLS)
    assert delivered(made)
    assert made.port == 465


async def test_where_starttls_fails_implicit_tls_has_all_its_time(
    dialer: PortDialer, announcing: Announcing, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implicit_first, "HEAD_START_SECONDS", 0.0)
    dialer.at = {465: Wrapped(context)}
    made = await tried(dialer, announcing)
    assert delivered(made)
    assert made.port == 465
    dialer.at, dialer.filtered = {}, {465}
    with virtual_time() as time:
        began = time.now
        assert not delivered(await tried(dialer, announcing))
        assert time.now - began == pytest.approx(IMPLICIT_SECONDS)


async def test_rfc8314_3_a_route_with_implicit_tls_never_speaks_in_clear(
    dialer: PortDialer, context: ServerContext
) -> None:
    there = Wrapped(context)
    dialer.at = {25: there}
    world = Announcing(relay=RelayHost(domain="example.org", source="t.toml:1", implicit_tls=True))
    made = await attempt(make_task(ANN), BODY, ports=make_ports(dialer, world), options=ON)
    assert delivered(made)
    assert made.achieved is not None
    assert made.achieved.level is Level.ENCRYPTED
    dialer.at = {25: Server()}
    made = await attempt(make_task(ANN), BODY, ports=make_ports(dialer, world), options=ON)
    assert not delivered(made)
    assert all(not bytes(client.written).startswith(b"EHLO") for client in dialer.clients)


async def test_a_route_takes_refusals_as_they_are(dialer: PortDialer, context: ServerContext) -> None:
    dialer.at = {25: Wrapped(context, answers={"MAIL": [b"530 5.7.0 Authentication required\r\n"]})}
    world = Announcing(relay=RelayHost(domain="example.org", source="t.toml:1", implicit_tls=True))
    made = await attempt(make_task(ANN), BODY, ports=make_ports(dialer, world), options=ON)
    assert made.outcomes[0].kind is OutcomeKind.FAILED
    assert made.implicit is None


def test_hosts_that_are_left_alone_are_bounded_and_a_clock_that_jumps_back_forgives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(implicit_first, "MAX_USELESS", 2)
    ports = UselessPorts()
    for host in ("a", "b", "c"):
        ports.leave_alone(host, 9_000.0, 1_000.0)
    assert [ports.has(host, 9_000.0) for host in ("a", "b", "c")] == [False, True, True]
    assert not ports.has("b", 10_000.0)
    assert not ports.has("b", 8_999.0)
    ports.forgive("b")
    assert not ports.has("b", 9_000.0)


@pytest.mark.parametrize(
    ("status", "reply", "expected"),
    [
        ("5.7.0", "530 5.7.0 login", True),
        ("5.0.0", "530 login", True),
        ("4.7.1", "450 4.7.1 later", True),
        ("5.0.0", "550 no", True),
        ("5.1.1", "550 5.1.1 nobody", False),
        ("4.2.2", "452 4.2.2 full", False),
        ("4.4.1", None, False),
    ],
)
def test_what_can_be_for_want_of_a_login(status: str, reply: str | None, expected: bool) -> None:
    outcome = RecipientOutcome(recipient=ANN, kind=OutcomeKind.FAILED, status=status, text="x", remote_reply=reply)
    assert _may_want_login(outcome) is expected
    assert not _may_want_login(replace(outcome, kind=OutcomeKind.DELIVERED))


@pytest.mark.parametrize(
    ("case", "came_to"),
    [("open", ImplicitTry.OPENED), ("closed", ImplicitTry.UNREACHABLE), ("filtered", ImplicitTry.LATE)],
)
async def test_on_real_sockets(case: str, came_to: ImplicitTry, context: ServerContext) -> None:
    first, _, found = await measure(case, context)
    assert found is came_to
    assert first >= (HEAD_START_SECONDS if case == "filtered" else 0.0), "bench.implicit_tls measures how much more"
