"""Many domains at few hosts: one session for each address and way, few at once, and patience with crowded servers."""

import asyncio
from collections import Counter

import dns.rdatatype
import pytest

from letterlock.deliver.options import DeliverOptions
from letterlock.identity.trust import TrustRoots
from letterlock.inspect import shared_sessions
from letterlock.inspect.outlook import Protection
from letterlock.inspect.shared_sessions import MAX_SESSIONS_PER_ADDRESS, PAUSES_SECONDS, SharedSessions
from letterlock.inspect.survey import Met, Survey, survey
from letterlock.net.tls import ServerContext
from letterlock.resolver.answer import Answer, Security
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Authority, Credential
from tests.deliver.world import HandDiscoverer, Handler, MemoryDialer, MemoryStream, Server, answer, dane_ee, make_ports

OPTIONS = DeliverOptions(hostname="client.example", max_hosts=20, max_addresses=20)


class NoReports:
    """DNS without any TXT record."""

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer:
        return answer(name, rdtype.name, security=Security.SECURE)


class Patience:
    """Pauses that take no time, and are counted."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        for _ in range(50):  # whoever is inside may leave meanwhile
            await asyncio.sleep(0)


class Crowded:
    """A server that takes so many sessions at once, or in all, and says 421 to others."""

    def __init__(self, server: Server, *, at_once: int = 10**6, in_all: int = 10**6) -> None:
        self.server, self.at_once, self.in_all = server, at_once, in_all
        self.inside = self.most = self.served = self.refused = 0

    async def __call__(self, stream: MemoryStream) -> None:
        if self.inside >= self.at_once or self.served >= self.in_all:
            self.refused += 1
            self.in_all += 1  # somebody has gone meanwhile
            await stream.write(b"421 4.7.0 too many connections\r\n")
            return
        self.served += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.server(stream)
        finally:
            self.inside -= 1


async def look_at_all(
    domains: list[str], dialer: MemoryDialer, discoverer: HandDiscoverer, sessions: SharedSessions
) -> list[Survey]:
    ports = make_ports(dialer, discoverer)
    return await asyncio.gather(
        *(survey(each, ports=ports, options=OPTIONS, resolver=NoReports(), sessions=sessions) for each in domains)
    )


class OwnHosts(HandDiscoverer):
    """Each domain has an MX host of its own, all of them at one address."""

    async def destination(self, next_hop, sender=None):  # type: ignore[no-untyped-def]
        """The MX answer."""
        name = f"mx.{next_hop.domain}"
        self.hosts = {**self.hosts, name: ("192.0.2.1",)}
        self.mx = answer(next_hop.domain, "MX", f"10 {name}.", security=Security.SECURE)
        return await super().destination(next_hop, sender)


async def test_750_domains_at_one_host_are_one_session(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers["192.0.2.1"] = Server(context)
    found = await look_at_all([f"d{number}.test" for number in range(750)], dialer, HandDiscoverer(), SharedSessions())
    assert len(dialer.dialled) == 1
    assert Counter(each.summary.protection for each in found) == {Protection.UNPROTECTED: 750}


async def test_a_session_is_judged_by_what_each_domain_requires(
    dialer: MemoryDialer, context: ServerContext, credential: Credential, issuer: Authority
) -> None:
    """One and the same certificate: right for one domain's records, wrong for those of another."""
    dialer.handlers["192.0.2.1"] = Server(context)
    sessions, verdicts = SharedSessions(), []
    for record in (dane_ee(credential), "3 1 1 " + "ab" * 32, dane_ee(credential)):
        tlsa = answer("_25._tcp.mx.example.org", "TLSA", record, security=Security.SECURE)
        [found] = await look_at_all(["a.test"], dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}), sessions)
        verdicts.append(found.summary.protection)
    assert verdicts == [Protection.PROTECTED, Protection.HELD, Protection.PROTECTED]
    assert len(dialer.dialled) == 1


async def test_what_was_opened_with_other_demands_is_not_shared(
    dialer: MemoryDialer, context: ServerContext, issuer: Authority
) -> None:
    """Who demands TLS never speaks HELO, and sends SNI: such a session is another one than one without demands."""
    dialer.handlers["192.0.2.1"] = Server(context)
    sessions, roots = SharedSessions(), TrustRoots("test", (issuer.der,))
    for rule in (None, TlsRule.REQUIRE_TLS, None, TlsRule.REQUIRE_TLS):
        await look_at_all(["a.test"], dialer, HandDiscoverer(rule=rule, public_roots=roots), sessions)
    assert len(dialer.dialled) == 2


async def test_the_fallback_to_clear_is_shared_too(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(extensions=("STARTTLS",), starttls_answer=b"220 go\r\n")
    sessions = SharedSessions()
    found = await look_at_all(["a.test", "b.test", "c.test"], dialer, HandDiscoverer(), sessions)
    assert len(dialer.dialled) == 3  # as large a ClientHello as we like, a small one, none
    assert all(isinstance(each.hosts[0].contacts[0].result, Met) for each in found)


async def test_input_35_a_server_that_takes_ten_connections_is_found_out_for_all_its_domains(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    """400 domains, 150 of them at one address, under names of their own."""
    crowded = dialer.handlers["192.0.2.1"] = Crowded(Server(context), at_once=10)
    sessions = SharedSessions(pause=Patience())
    others = HandDiscoverer(hosts={"mx.other.test": ("192.0.2.2",)})
    dialer.handlers["192.0.2.2"] = Server(context)
    found, rest = await asyncio.gather(
        look_at_all([f"d{number}.test" for number in range(150)], dialer, OwnHosts(), sessions),
        look_at_all([f"o{number}.test" for number in range(250)], dialer, others, sessions),
    )
    assert not [each for each in (*found, *rest) if each.summary.protection is Protection.UNKNOWN]
    assert crowded.most <= MAX_SESSIONS_PER_ADDRESS
    assert crowded.refused == 0


async def test_rfc5321_3_8_a_421_is_asked_again_later_and_alone(dialer: MemoryDialer, context: ServerContext) -> None:
    crowded = dialer.handlers["192.0.2.1"] = Crowded(Server(context), in_all=3)
    patience = Patience()
    found = await look_at_all(
        [f"d{number}.test" for number in range(12)], dialer, OwnHosts(), SharedSessions(pause=patience)
    )
    assert not [each for each in found if each.summary.protection is Protection.UNKNOWN]
    assert crowded.refused >= 1
    assert set(patience.pauses) <= {0.0, *PAUSES_SECONDS}


async def test_patience_that_did_not_help_is_not_had_again_for_each_domain(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(greeting=b"421 4.7.0 go away\r\n")
    patience = Patience()
    await look_at_all([f"d{number}.test" for number in range(20)], dialer, OwnHosts(), SharedSessions(pause=patience))
    assert sum(patience.pauses) <= 2 * sum(PAUSES_SECONDS)


async def test_a_server_that_goes_on_saying_421_is_given_up(dialer: MemoryDialer) -> None:
    dialer.handlers["192.0.2.1"] = Server(greeting=b"421 4.7.0 go away\r\n")
    patience = Patience()
    [found] = await look_at_all(["a.test"], dialer, HandDiscoverer(), SharedSessions(pause=patience))
    assert found.summary.protection is Protection.UNKNOWN
    assert tuple(patience.pauses) == PAUSES_SECONDS
    assert "421" in found.summary.sentence


async def leaves(stream: MemoryStream) -> None:
    """A server that closes each connection before it says anything."""


@pytest.mark.parametrize("handler", [Server(greeting=b"554 5.7.1 go away\r\n"), leaves])
async def test_a_refusal_that_asks_for_no_patience_is_not_asked_again(dialer: MemoryDialer, handler: Handler) -> None:
    dialer.handlers["192.0.2.1"] = handler
    patience = Patience()
    await look_at_all(["a.test"], dialer, HandDiscoverer(), SharedSessions(pause=patience))
    assert (patience.pauses, len(dialer.dialled)) == ([], 1)


async def test_an_end_leaves_no_session_under_way(dialer: MemoryDialer) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def silent(stream: MemoryStream) -> None:
        begun.set()
        await stream.read(1)
        left.set()

    dialer.handlers["192.0.2.1"] = silent
    sessions = SharedSessions()
    looking = asyncio.create_task(look_at_all(["a.test"], dialer, HandDiscoverer(), sessions))
    await begun.wait()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert not left.is_set()
    await sessions.aclose()
    await left.wait()


async def test_as_many_sessions_are_remembered_as_may_be(
    dialer: MemoryDialer, context: ServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_sessions, "MAX_REMEMBERED", 4)
    for number in range(1, 6):
        dialer.handlers[f"192.0.2.{number}"] = Server(context)
    sessions = SharedSessions()

    async def look(number: int) -> None:
        hosts = HandDiscoverer(hosts={"mx.example.org": (f"192.0.2.{number}",)})
        await look_at_all([f"d{number}.test"], dialer, hosts, sessions)

    for number in (1, 2, 3, 4, 1):
        await look(number)
    assert len(dialer.dialled) == 4  # the first one was not forgotten
    await look(5)
    await look(1)
    assert len(dialer.dialled) == 5  # nor now: it was used after the second one
