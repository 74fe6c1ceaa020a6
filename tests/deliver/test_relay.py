"""Delivery by a relay host: over real sockets with DANE on its own port, and in memory for what goes wrong."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from letterlock.deliver.attempt import attempt
from letterlock.deliver.log import lines
from letterlock.deliver.session import Ports
from letterlock.discover import Discoverer
from letterlock.identity.trust import TrustRoots
from letterlock.inspect.shared_sessions import SharedSessions
from letterlock.inspect.survey import survey
from letterlock.mtasts import Known, Mode, StsEvidence, StsPolicy
from letterlock.net.dial import TcpDialer
from letterlock.net.streams import TcpStream
from letterlock.net.tls import ServerContext
from letterlock.policy.codes import Code
from letterlock.policy.decision import Level
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.resolver.answer import Answer, LookupFailure, Security
from letterlock.routing.destination_rule import DestinationRule, TlsRule
from letterlock.routing.routes import RelayHost
from letterlock.routing.rules import Rules
from tests.certificates import Authority, Credential
from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandClock,
    MemoryDialer,
    Server,
    answer,
    as_they_are,
    dane_ee,
    make_task,
)
from tests.discover.test_discoverer import Book

HOST = "mx.example.org"  # whose certificate the fixtures have; here it is the relay host
RECIPIENTS = "example.com"
SECURE = Security.SECURE


class OnePolicy:
    """The MTA-STS policy of one domain; others have none."""

    def __init__(self, domain: str, mx: str) -> None:
        self.domain, self.mx = domain, mx
        self.asked: list[str] = []

    async def find(self, domain: str) -> StsEvidence:
        self.asked.append(domain)
        assert domain == self.domain
        policy = StsPolicy(mode=Mode.ENFORCE, max_age_seconds=604_800, mx=(self.mx,))
        return Known(policy=policy, id="1", fetched_at=0, expires_at=2e9, from_cache=True)

    async def recheck(self, domain: str) -> StsEvidence:
        return await self.find(domain)


def relay(
    domain: str = HOST, *, is_host: bool = True, port: int | None = None, tls: TlsRule | None = None
) -> RelayHost:
    rule = None if tls is None else DestinationRule(domain=RECIPIENTS, tls=tls, source="letterlock.toml:9")
    return RelayHost(domain=domain, source="letterlock.toml:9", is_host=is_host, port=port, rule=rule)


def discoverer(
    relay: RelayHost,
    *known: Answer | LookupFailure,
    sts: OnePolicy | None = None,
    roots: TrustRoots | None = None,
    rule: DestinationRule | None = None,
) -> Discoverer:
    rules = Rules({RECIPIENTS: rule} if rule else {}, {}, {"*": relay})
    return Discoverer(Book(known), rules, clock=HandClock(), sts=sts, public_roots=roots)


def address(name: str = HOST, at: str = ADDRESS, security: Security = SECURE) -> Answer:
    return answer(name, "A", at, security=security)


async def deliver(found: Discoverer, dialer: MemoryDialer) -> Attempt:
    """An attempt at mail for RECIPIENTS."""
    ports = Ports(discoverer=found, dialer=dialer, clock=HandClock(), shuffle=as_they_are)
    return await attempt(make_task(next_hop=RECIPIENTS), BODY, ports=ports, options=OPTIONS)


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[int]:
    """A server on a port of loopback, for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        async def serve() -> None:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            stream = TcpStream(connection)
            await server(stream)
            await stream.close()

        serving = asyncio.create_task(serve())
        try:
            yield listener.getsockname()[1]
            await serving
        finally:
            serving.cancel()


async def by_tcp(server: Server, tlsa: str, *, at_other_port: bool = False) -> Attempt:
    """An attempt over TCP at a relay host whose TLSA record stands at its own port, or at the usual one."""
    async with listening(server) as port:
        published = OPTIONS.port if at_other_port else port
        record = answer(f"_{published}._tcp.{HOST}", "TLSA", tlsa, security=SECURE)
        found = discoverer(relay(port=port), address(at="127.0.0.1"), record)
        ports = Ports(discoverer=found, dialer=TcpDialer(), clock=HandClock(), shuffle=as_they_are)
        async with asyncio.timeout(10):
            made = await attempt(make_task(next_hop=RECIPIENTS), BODY, ports=ports, options=OPTIONS)
        assert made.port == port
        return made


async def test_rfc7672_2_2_2_a_relay_host_is_authenticated_by_dane_on_its_own_port(
    context: ServerContext, credential: Credential
) -> None:
    server = Server(context)
    made = await by_tcp(server, dane_ee(credential))
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED], made
    assert made.achieved is not None
    assert (made.achieved.level, made.achieved.by) == (Level.AUTHENTICATED, "dane-ee")
    assert (made.host, made.next_hop) == (HOST, RECIPIENTS)
    assert server.messages == [BODY]
    assert server.clear == [f"EHLO {OPTIONS.hostname}", "STARTTLS"]


async def test_rfc7672_2_2_3_records_of_another_port_prove_nothing(
    context: ServerContext, credential: Credential
) -> None:
    made = await by_tcp(Server(context), dane_ee(credential), at_other_port=True)
    assert made.achieved is not None
    assert made.achieved.level is Level.ENCRYPTED


async def test_a_relay_host_with_another_certificate_gets_nothing(context: ServerContext) -> None:
    server = Server(context)
    async with listening(server) as port:
        tlsa = answer(f"_{port}._tcp.{HOST}", "TLSA", "3 1 1 " + "ab" * 32, security=SECURE)
        found = discoverer(relay(port=port), address(at="127.0.0.1"), tlsa)
        ports = Ports(discoverer=found, dialer=TcpDialer(), clock=HandClock(), shuffle=as_they_are)
        async with asyncio.timeout(10):
            made = await attempt(make_task(next_hop=RECIPIENTS), BODY, ports=ports, options=OPTIONS)
    [outcome] = made.outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.text.endswith(f"the route letterlock.toml:9 sends mail for {RECIPIENTS} to [{HOST}]:{port}")
    assert not any(line.startswith("MAIL") for line in (*server.clear, *server.secret))


async def test_a_delivery_by_a_relay_host_says_so_in_its_reasons_and_in_the_log(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    made = await deliver(discoverer(relay(), address()), dialer)
    assert made.reasons[-1].code == "rule-route"
    [line] = lines(made, accepted_at=0)
    assert line.endswith("why=rfc7672-2.2-no-tlsa rule-route=letterlock.toml:9")


async def test_a_relay_host_out_of_reach_is_told_with_the_route_and_not_called_refused(dialer: MemoryDialer) -> None:
    made = await deliver(discoverer(relay(), address()), dialer)
    [outcome] = made.outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.DEFERRED, "4.4.1")
    assert f"the route letterlock.toml:9 sends mail for {RECIPIENTS} to [{HOST}]" in outcome.text
    [line] = lines(made, accepted_at=0)
    assert line.endswith("protection=none rule-route=letterlock.toml:9")


async def test_rfc7505_a_next_hop_that_takes_no_mail_is_told_with_the_route_once(dialer: MemoryDialer) -> None:
    null = answer("relay.example.net", "MX", "0 .", security=SECURE)
    made = await deliver(discoverer(relay("relay.example.net", is_host=False), null), dialer)
    [outcome] = made.outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.DEFERRED, "4.3.5")
    assert outcome.text.count("letterlock.toml:9") == 1
    assert outcome.text.startswith("relay.example.net: ")
    assert [reason.code for reason in made.reasons].count(Code.RULE_ROUTE) == 1


async def test_a_relay_host_without_an_address_is_no_fault_of_the_recipients_and_the_mail_waits(
    dialer: MemoryDialer,
) -> None:
    made = await deliver(discoverer(relay()), dialer)
    [outcome] = made.outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.status.startswith("4.")


async def test_the_mx_hosts_of_the_routes_next_hop_are_tried_in_order(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers["192.0.2.2"] = Server(context)
    mx = answer("relay.example.net", "MX", "10 a.example.net.", "20 b.example.net.", security=SECURE)
    hosts = address("a.example.net", "192.0.2.1"), address("b.example.net", "192.0.2.2")
    made = await deliver(discoverer(relay("relay.example.net", is_host=False), mx, *hosts), dialer)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert (made.host, dialer.dialled) == ("b.example.net", ["192.0.2.1", "192.0.2.2"])


async def test_a_relay_host_given_by_its_address_is_dialled_without_any_lookup(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    made = await deliver(discoverer(relay(f"[{ADDRESS}]", is_host=False)), dialer)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED]
    assert made.achieved is not None
    assert made.achieved.level is Level.ENCRYPTED


async def test_a_rule_of_the_recipients_domain_holds_for_the_relay_host(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    strict = DestinationRule(domain=RECIPIENTS, tls=TlsRule.DANE_ONLY, source="letterlock.toml:5")
    made = await deliver(discoverer(relay(tls=TlsRule.MAY), address(), rule=strict), dialer)
    [outcome] = made.outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert "letterlock.toml:5" in outcome.text
    assert (server.clear, dialer.dialled) == ([], [])


async def test_a_rule_of_the_route_is_enforced(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    made = await deliver(discoverer(relay(tls=TlsRule.REQUIRE_TLS), address()), dialer)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DEFERRED]
    assert not any(line.startswith("MAIL") for line in server.clear)


async def test_rfc8461_3_4_the_policy_of_the_relay_hosts_domain_is_enforced(
    dialer: MemoryDialer, context: ServerContext, issuer: Authority
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    mx = answer("relay.example.net", "MX", f"10 {HOST}.")
    policies, roots = OnePolicy("relay.example.net", HOST), TrustRoots("test", (issuer.der,))
    route = relay("relay.example.net", is_host=False)
    made = await deliver(discoverer(route, mx, address(), sts=policies, roots=roots), dialer)
    assert [outcome.kind for outcome in made.outcomes] == [OutcomeKind.DELIVERED], made
    assert made.achieved is not None
    assert made.achieved.by == "mta-sts"
    assert policies.asked == ["relay.example.net"]


async def test_rfc8461_3_4_a_relay_host_that_its_domains_policy_does_not_name_gets_nothing(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    policies = OnePolicy(HOST, "other.example.org")
    made = await deliver(discoverer(relay(), address(), sts=policies), dialer)
    [outcome] = made.outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.DEFERRED, "4.7.5")
    assert dialer.dialled == []


async def test_a_survey_looks_where_the_route_leads(context: ServerContext, credential: Credential) -> None:
    async with listening(Server(context)) as port:
        tlsa = answer(f"_{port}._tcp.{HOST}", "TLSA", dane_ee(credential), security=SECURE)
        book = Book([address(at="127.0.0.1"), tlsa])
        found = Discoverer(book, Rules({}, {}, {"*": relay(port=port)}), clock=HandClock())
        ports = Ports(discoverer=found, dialer=TcpDialer(), clock=HandClock(), shuffle=as_they_are)
        async with asyncio.timeout(10):
            seen = await survey(RECIPIENTS, ports=ports, options=OPTIONS, resolver=book, sessions=SharedSessions())
    assert (seen.domain, str(seen.evidence.next_hop)) == (RECIPIENTS, f"[{HOST}]:{port}")
    assert [reason.code for reason in seen.routed.reasons] == ["rule-route"]
    assert seen.summary.protection.value == "protected"
