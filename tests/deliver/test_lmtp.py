"""Delivery by LMTP on this machine: every recipient has an outcome of his own, whatever the server does."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.deliver import log
from letterlock.deliver.attempt import attempt
from letterlock.deliver.local.delivery import deliver_locally
from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.pool import SessionPool
from letterlock.deliver.session import Ports
from letterlock.discover.discoverer import Discoverer
from letterlock.inspect.outlook import Protection
from letterlock.inspect.shared_sessions import SharedSessions
from letterlock.inspect.survey import survey
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import TlsDemand
from letterlock.net.dial import TcpDialer
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import DestinationEvidence
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.local_targets import FinalHop, LmtpLoopback, LmtpSocket
from letterlock.routing.routes import NextHop, RelayHost
from letterlock.routing.rules import Rules
from tests.deliver.lmtp_server import CLOSE, RESET, LmtpServer, serving, serving_on_loopback
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BOB,
    BODY,
    HASTY,
    OPTIONS,
    HandClock,
    HandDiscoverer,
    MemoryDialer,
    Server,
    as_they_are,
    make_ports,
    make_task,
)

EVE = Mailbox("eve", "example.org")
SAVED = b"250 2.1.5 saved\r\n"
FULL = b"452 4.2.2 full\r\n"
GONE = b"550 5.2.1 no\r\n"


async def deliver(
    server: LmtpServer, path: Path, *recipients: Mailbox, body: bytes = BODY, options: DeliverOptions = OPTIONS
) -> Attempt:
    """One attempt at a server."""
    socket_path = path / "lmtp"
    async with serving(server, socket_path), asyncio.timeout(10):
        target = LmtpSocket(str(socket_path))
        return await deliver_locally(
            make_task(*recipients), body, target, ports=make_ports(MemoryDialer()), options=options
        )


def short(made: Attempt) -> list[str]:
    """The outcomes in a few words, in the order of the recipients."""
    return [f"{one.kind} {one.status}{' in doubt' * one.in_doubt}" for one in made.outcomes]


def kinds(made: Attempt) -> list[OutcomeKind]:
    return [outcome.kind for outcome in made.outcomes]


async def test_a_message_for_two(tmp_path: Path) -> None:
    server = LmtpServer()
    made = await deliver(server, tmp_path, ANN, BOB)
    assert short(made) == ["delivered 2.1.5", "delivered 2.1.5"]
    assert made.host == f"lmtp:{tmp_path}/lmtp"
    assert made.achieved is None
    assert server.said[0] == "LHLO client.example"
    assert server.messages == [BODY + b".\r\n"]
    (line, _) = log.lines(made, accepted_at=made.started_at)
    assert f"relay=lmtp:{tmp_path}/lmtp, " in line
    assert "protection=none" in line


async def test_rfc2033_4_2_each_recipient_has_the_outcome_of_his_own_reply(tmp_path: Path) -> None:
    made = await deliver(LmtpServer(replies=[[SAVED, FULL, GONE]]), tmp_path, ANN, BOB, EVE)
    assert short(made) == ["delivered 2.1.5", "deferred 4.2.2", "failed 5.2.1"]


async def test_a_refused_recipient_shifts_no_reply(tmp_path: Path) -> None:
    server = LmtpServer(replies=[[SAVED, FULL]], refused={"bob@example.org": b"550 5.1.1 who?\r\n"})
    made = await deliver(server, tmp_path, ANN, BOB, EVE)
    assert short(made) == ["delivered 2.1.5", "failed 5.1.1", "deferred 4.2.2"]


@pytest.mark.parametrize(
    ("replies", "wanted"),
    [
        ((SAVED, CLOSE), ["delivered 2.1.5", "deferred 4.4.2 in doubt", "deferred 4.4.2 in doubt"]),
        ((CLOSE,), ["deferred 4.4.2 in doubt"] * 3),
        ((RESET,), ["deferred 4.4.2 in doubt"] * 3),
        ((SAVED, b"421 4.3.2 going\r\n", CLOSE), ["delivered 2.1.5", "deferred 4.3.2", "deferred 4.3.2 in doubt"]),
        ((GONE, b"nonsense\r\n"), ["failed 5.2.1", "deferred 4.5.0 in doubt", "deferred 4.5.0 in doubt"]),
        ((SAVED, b"354 more?\r\n"), ["delivered 2.1.5", "deferred 4.5.0 in doubt", "deferred 4.5.0 in doubt"]),
        ((SAVED, SAVED, b"2"), ["delivered 2.1.5", "delivered 2.1.5", "deferred 4.4.2 in doubt"]),
    ],
    ids=["two-fewer", "none", "reset", "421", "nonsense", "354", "half"],
)
async def test_who_got_no_reply_is_in_doubt_and_nobody_else(
    replies: Sequence[bytes], wanted: Sequence[str], tmp_path: Path
) -> None:
    script = replies if replies[-1] in (CLOSE, RESET) else (*replies, CLOSE)
    made = await deliver(LmtpServer(replies=[script], exact=True), tmp_path, ANN, BOB, EVE)
    assert short(made) == list(wanted)


async def test_a_server_that_never_ends_its_replies_is_left_after_a_while(tmp_path: Path) -> None:
    made = await deliver(LmtpServer(replies=[[SAVED]], exact=True), tmp_path, ANN, BOB, options=HASTY)
    assert short(made) == ["delivered 2.1.5", "deferred 4.4.2 in doubt"]


async def test_more_replies_than_recipients_change_nothing(tmp_path: Path) -> None:
    made = await deliver(LmtpServer(replies=[[SAVED, FULL, GONE, GONE]], exact=True), tmp_path, ANN, BOB)
    assert short(made) == ["delivered 2.1.5", "deferred 4.2.2"]


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        (LmtpServer(greeting=b"554 5.3.2 no\r\n"), "4.3.2"),
        (LmtpServer(greeting=b"421 4.3.2 busy\r\n"), "4.3.2"),
        (LmtpServer(hello=b"500 5.5.1 what?\r\n"), "4.3.2"),
        (LmtpServer(hello=b"250 PIPELINING\r\n250 too much\r\n"), "4.5.0"),
    ],
    ids=["554", "421", "no-lhlo", "two-answers"],
)
async def test_what_a_server_says_before_a_transaction_fails_nobody(
    server: LmtpServer, wanted: str, tmp_path: Path
) -> None:
    made = await deliver(server, tmp_path, ANN, BOB)
    assert short(made) == [f"deferred {wanted}"] * 2


async def test_data_refused_is_said_of_all(tmp_path: Path) -> None:
    made = await deliver(LmtpServer(data=b"451 4.3.0 later\r\n"), tmp_path, ANN, BOB)
    assert short(made) == ["deferred 4.3.0"] * 2


async def test_no_server_behind_the_socket(tmp_path: Path) -> None:
    target = LmtpSocket(str(tmp_path / "nobody"))
    made = await deliver_locally(make_task(ANN), BODY, target, ports=make_ports(MemoryDialer()), options=OPTIONS)
    assert short(made) == ["deferred 4.4.1"]
    assert "No such file or directory" in made.outcomes[0].text
    assert made.connected_at is None


async def test_a_server_without_room_for_a_connection_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(path)
        listener.listen(0)
        other.connect(path)
        made = await deliver_locally(
            make_task(ANN),
            BODY,
            LmtpSocket(path),
            ports=make_ports(MemoryDialer()),
            options=replace(HASTY, timeouts=replace(HASTY.timeouts, connect=0.1)),
        )
    assert short(made) == ["deferred 4.4.1"]
    assert "no connection within" in made.outcomes[0].text


async def test_8bit_content_needs_8bitmime_and_requiretls_ends_here(tmp_path: Path) -> None:
    task = make_task(ANN)
    task = replace(task, envelope=replace(task.envelope, tls_demand=TlsDemand.REQUIRETLS))
    server = LmtpServer()
    async with serving(server, tmp_path / "lmtp"):
        target = LmtpSocket(str(tmp_path / "lmtp"))
        made = await deliver_locally(
            task, "Subject: ü\r\n\r\n".encode(), target, ports=make_ports(MemoryDialer()), options=OPTIONS
        )
    assert short(made) == ["delivered 2.1.5"]
    assert "MAIL FROM:<sender@example.net> BODY=8BITMIME" in server.said
    plain = await deliver(LmtpServer(hello=b"250 mail\r\n"), tmp_path, ANN, body="ü\r\n".encode())
    assert short(plain) == ["failed 5.6.3"]


async def test_a_session_is_kept_for_the_next_message_whatever_the_server_offers(tmp_path: Path) -> None:
    server, path = LmtpServer(hello=b"250-mail\r\n250 STARTTLS\r\n"), tmp_path / "lmtp"
    pool, ports = SessionPool(HandClock(), OPTIONS), make_ports(MemoryDialer())
    async with serving(server, path), asyncio.timeout(10):
        for _ in range(3):
            made = await deliver_locally(
                make_task(ANN, BOB), BODY, LmtpSocket(str(path)), ports=ports, options=OPTIONS, pool=pool
            )
            assert kinds(made) == [OutcomeKind.DELIVERED] * 2
        await pool.close()
    assert (server.connections, len(server.messages)) == (1, 3)


async def test_a_kept_session_that_ended_costs_nobody_anything(tmp_path: Path) -> None:
    server, path = LmtpServer(closes_idle=True), tmp_path / "lmtp"
    pool, ports = SessionPool(HandClock(), OPTIONS), make_ports(MemoryDialer())
    async with serving(server, path), asyncio.timeout(10):
        for _ in range(3):
            made = await deliver_locally(
                make_task(ANN), BODY, LmtpSocket(str(path)), ports=ports, options=OPTIONS, pool=pool
            )
            assert kinds(made) == [OutcomeKind.DELIVERED]
        await pool.close()
    assert server.connections == 3


class Deaf:
    """A resolver that nobody may ask."""

    async def resolve(self, name: str, rdtype: object) -> Answer | LookupFailure:
        raise AssertionError(f"asked for {name}")


def routed(final: FinalHop) -> Ports:
    """The outside world where mail for example.org ends at a place of this machine."""
    relay = RelayHost(domain=str(final), source="letterlock.toml:3", is_host=True, final=final)
    discoverer = Discoverer(Deaf(), Rules({}, {}, {"example.org": relay}), clock=HandClock())
    return Ports(discoverer=discoverer, dialer=TcpDialer(), clock=HandClock(), shuffle=as_they_are)


async def test_an_attempt_goes_where_the_route_ends_and_asks_nobody(tmp_path: Path) -> None:
    async with serving(LmtpServer(), tmp_path / "lmtp"):
        ports = routed(LmtpSocket(str(tmp_path / "lmtp")))
        made = await attempt(make_task(ANN), BODY, ports=ports, options=OPTIONS)
    assert short(made) == ["delivered 2.1.5"]
    (reason,) = made.reasons
    assert (reason.code, dict(reason.facts)["next_hop"]) == ("rule-route", f"lmtp:{tmp_path}/lmtp")


async def test_the_loopback_by_tcp() -> None:
    server = LmtpServer()
    async with serving_on_loopback(server) as port:
        made = await attempt(make_task(ANN), BODY, ports=routed(LmtpLoopback("127.0.0.1", port)), options=OPTIONS)
    assert short(made) == ["delivered 2.1.5"]
    assert made.host == f"lmtp:[127.0.0.1]:{port}"


async def test_a_survey_says_that_mail_ends_here() -> None:
    ports = routed(LmtpSocket("/run/nobody/lmtp"))
    seen = await survey("example.org", ports=ports, options=OPTIONS, resolver=Deaf(), sessions=SharedSessions())
    assert seen.summary.protection is Protection.PROTECTED
    assert seen.summary.sentence == "mail ends on this machine: lmtp:/run/nobody/lmtp"


class Elsewhere(HandDiscoverer):
    """Mail for example.org goes by LMTP to a host that is not this machine."""

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The evidence of a route that demands TLS, as the configuration makes it."""
        evidence = await super().destination(next_hop, sender)
        relay = RelayHost(domain="mx.example.org", source="letterlock.toml:3", lmtp=True)
        return replace(evidence, relay=relay, recipient_domain=next_hop.domain)


async def test_lmtp_to_another_host_goes_inside_tls_under_the_policy(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    hello = {"LHLO": [b"250-mx\r\n250 STARTTLS\r\n"], "LHLO/TLS": [b"250 mx\r\n"], ".": [SAVED]}
    server = Server(context, answers=hello)
    dialer.handlers[ADDRESS] = server
    made = await attempt(
        make_task(ANN), BODY, ports=make_ports(dialer, Elsewhere(rule=TlsRule.REQUIRE_TLS)), options=OPTIONS
    )
    assert short(made) == ["delivered 2.1.5"]
    assert server.clear == ["LHLO client.example", "STARTTLS"]
    assert server.secret[0] == "LHLO client.example"
    assert dict(made.reasons[-1].facts)["next_hop"] == "lmtp:example.org"


async def test_lmtp_to_another_host_never_goes_in_clear(dialer: MemoryDialer) -> None:
    server = Server(answers={"LHLO": [b"250 mx\r\n"]})
    dialer.handlers[ADDRESS] = server
    made = await attempt(
        make_task(ANN), BODY, ports=make_ports(dialer, Elsewhere(rule=TlsRule.REQUIRE_TLS)), options=OPTIONS
    )
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert {line.split()[0] for line in server.clear} <= {"LHLO", "QUIT"}
