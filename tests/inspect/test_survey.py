"""A look at a destination: every host and every address, few sessions at a time, and what it comes to."""

import json
from dataclasses import replace
from typing import Any, cast

import dns.rdataclass
import dns.rdatatype
import pytest
from dns.rdata import GenericRdata

from letterlock.cli.check.text import draw_survey
from letterlock.cli.check.values import survey_values
from letterlock.cli.style import Style
from letterlock.deliver.options import DeliverOptions
from letterlock.identity.handshake import Completed, HandshakeFailed
from letterlock.inspect.outlook import Protection
from letterlock.inspect.shared_sessions import SharedSessions
from letterlock.inspect.survey import Met, Survey, survey
from letterlock.mtasts import Absent
from letterlock.net.tls import ServerContext, accept_tls
from letterlock.policy.decision import Level, Refuse
from letterlock.policy.evidence import DestinationEvidence
from letterlock.ports import Stream
from letterlock.resolver.answer import Answer, Security
from letterlock.routing.routes import NextHop, RelayHost
from letterlock.tlsrpt import NoTLSRPTRecord
from tests.certificates import Credential
from tests.deliver.world import (
    ADDRESS,
    HandDiscoverer,
    MemoryDialer,
    MemoryStream,
    Server,
    answer,
    dane_ee,
    make_ports,
)

WIDE = DeliverOptions(hostname="client.example", max_hosts=20, max_addresses=20)
ADDRESSES = {f"mx{host}.example.org": tuple(f"192.0.2.{10 * host + number}" for number in range(8)) for host in (1, 2)}


class NoReports:
    """DNS without any TXT record."""

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer:
        return answer(name, rdtype.name, security=Security.SECURE)


async def look(dialer: MemoryDialer, discoverer: HandDiscoverer, slots: int = 100) -> Survey:
    ports = make_ports(dialer, discoverer)
    return await survey(
        "example.org", ports=ports, options=WIDE, resolver=NoReports(), sessions=SharedSessions(max_sessions=slots)
    )


async def test_every_address_of_every_host_is_looked_at_and_nothing_is_sent(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    servers = {address: Server(context) for each in ADDRESSES.values() for address in each}
    dialer.handlers.update(servers)
    found = await look(dialer, HandDiscoverer(hosts=ADDRESSES))
    shown = {contact.address for host in found.hosts for contact in host.contacts}
    assert shown == set(servers)
    assert sorted(dialer.dialled) == sorted(servers)
    assert not any(line.startswith("MAIL") for server in servers.values() for line in server.clear + server.secret)
    assert found.reporting == NoTLSRPTRecord()


async def test_only_so_many_sessions_at_a_time(dialer: MemoryDialer) -> None:
    running = most = 0

    async def count(stream: MemoryStream) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await Server()(stream)
        finally:
            running -= 1

    dialer.handlers.update({address: count for each in ADDRESSES.values() for address in each})
    await look(dialer, HandDiscoverer(hosts=ADDRESSES), slots=3)
    assert most == 3


@pytest.mark.parametrize(("shown", "verdict"), [("as published", Protection.PROTECTED), ("another", Protection.HELD)])
async def test_what_dns_promises_is_held_against_what_the_server_shows(
    dialer: MemoryDialer, context: ServerContext, credential: Credential, shown: str, verdict: Protection
) -> None:
    dialer.handlers["192.0.2.1"] = Server(context)
    record = dane_ee(credential) if shown == "as published" else "3 1 1 " + "ab" * 32
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", record, security=Security.SECURE)
    found = await look(dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}))
    assert found.summary.protection is verdict
    assert [each.kind for each in found.advice if each.kind == "fix-tlsa"] == (
        [] if verdict is Protection.PROTECTED else ["fix-tlsa"]
    )


async def test_a_server_that_cannot_be_reached_is_not_called_protected(
    dialer: MemoryDialer, credential: Credential
) -> None:
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    found = await look(dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}))
    assert found.summary.protection is Protection.UNKNOWN
    assert "could not be reached" in found.summary.sentence


async def test_where_no_host_was_reached_nothing_is_called_found_out(dialer: MemoryDialer) -> None:
    found = await look(dialer, HandDiscoverer())
    assert found.summary.protection is Protection.UNKNOWN
    assert found.summary.sentence == (
        "the server could not be reached (cannot connect: Connection refused); going by DNS alone, an attacker on the "
        "path can remove STARTTLS and read everything"
    )


async def test_a_host_that_was_not_reached_counts_by_what_is_promised_when_another_was(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers["192.0.2.1"] = Server(context)
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    hosts = {"mx.example.org": ("192.0.2.1",), "backup.example.org": ("192.0.2.2",)}
    found = await look(dialer, HandDiscoverer(hosts=hosts, tlsa={"mx.example.org": tlsa}))
    assert [host.summary.protection for host in found.hosts] == [Protection.PROTECTED, Protection.UNKNOWN]
    assert found.summary.protection is Protection.UNPROTECTED


@pytest.mark.parametrize(
    ("records", "hosts"),
    [
        (("0 .",), {}),
        (("10 mx.example.org.",), {"mx.example.org": ()}),
        ((), {"example.org": ()}),
    ],
    ids=["null MX", "MX without address", "neither MX nor address"],
)
async def test_rfc7505_3_a_domain_that_takes_no_mail(
    dialer: MemoryDialer, records: tuple[str, ...], hosts: dict[str, tuple[str, ...]]
) -> None:
    mx = answer("example.org", "MX", *records, security=Security.SECURE)
    found = await look(dialer, HandDiscoverer(hosts=hosts, mx=mx))
    assert found.summary.protection is Protection.NO_MAIL
    assert isinstance(found.routed, Refuse)


async def test_a_relay_host_without_an_address_is_the_operators_and_no_lack_of_mail(dialer: MemoryDialer) -> None:
    class Relayed(HandDiscoverer):
        async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
            found = await super().destination(next_hop, sender)
            relay = RelayHost(domain="relay.test", source="route")
            return replace(found, relay=relay, recipient_domain=next_hop.domain)

    found = await look(dialer, Relayed(hosts={"relay.test": ()}))
    assert found.summary.protection is not Protection.NO_MAIL


async def test_rfc7672_3_1_records_that_nobody_can_use_are_shown_as_such(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    """One that is cut to two octets, and one whose digest is, beside a right one."""
    dialer.handlers["192.0.2.1"] = Server(context)
    host = "mx.example.org"
    right = dane_ee(credential)
    tlsa = answer(f"_25._tcp.{host}", "TLSA", right, security=Security.SECURE)
    odd = [GenericRdata(dns.rdataclass.IN, dns.rdatatype.TLSA, octets) for octets in (b"\3\1", b"\3\1\1\xab")]
    discoverer = HandDiscoverer(hosts={host: ("192.0.2.1",)}, tlsa={host: replace(tlsa, records=(*tlsa.records, *odd))})
    found = await look(dialer, discoverer)
    text = [line.strip() for line in draw_survey(found, Style(colour=False))]
    values = json.loads(json.dumps(survey_values(found)))
    assert right in text
    assert r"\# 2 0301   not usable for mail [RFC 7672 section 3.1]" in text
    assert "3 1 1 ab   not usable for mail [RFC 7672 section 3.1]" in text
    assert values["hosts"][0]["tlsa"]["records"] == [right, r"\# 2 0301", "3 1 1 ab"]
    assert values["hosts"][0]["tlsa"]["unusable"] == [r"\# 2 0301", "3 1 1 ab"]
    assert found.summary.protection is Protection.PROTECTED


class WithoutForwardSecrecy(MemoryDialer):
    """A client that sees RSA key transport, whatever was agreed on."""

    async def start_tls(
        self, stream: Stream, sni: str | None, *, compatible: bool = False
    ) -> tuple[Stream, Completed | HandshakeFailed]:
        stream, done = await super().start_tls(stream, sni, compatible=compatible)
        assert isinstance(done, Completed)
        return stream, replace(done, version="TLSv1.2", cipher="AES128-GCM-SHA256")


async def test_what_is_protected_and_weak_says_both(context: ServerContext, credential: Credential) -> None:
    dialer = WithoutForwardSecrecy({"192.0.2.1": Server(context)})
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    found = await look(dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}))
    await dialer.aclose()
    assert found.summary.protection is Protection.PROTECTED
    assert found.summary.sentence.startswith(
        "an attacker on the path can delay the mail but not read it. But no forward"
    )
    assert "offer-forward-secrecy" in [each.kind for each in found.advice]
    [session] = cast("list[Any]", survey_values(found)["hosts"])[0]["sessions"]
    assert (session["tls"]["forward_secret"], session["tls"]["weaknesses"]) == (False, ["no-forward-secrecy"])
    assert any("weak: no forward secrecy" in line for line in draw_survey(found, Style(colour=False)))


async def test_a_host_whose_tls_does_not_work_is_advised_on_that_and_on_no_policy(
    dialer: MemoryDialer, credential: Credential
) -> None:
    dialer.handlers["192.0.2.1"] = Server(extensions=("STARTTLS",))
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", dane_ee(credential), security=Security.SECURE)
    found = await look(dialer, HandDiscoverer(tlsa={"mx.example.org": tlsa}, sts=Absent()))
    assert found.summary.protection is Protection.HELD
    assert [each.kind for each in found.advice] == ["fix-tls", "ask-for-reports"]


class TlsFirst(Server):
    """A server that speaks TLS before anything else."""

    async def __call__(self, stream: Stream) -> None:
        assert self.context is not None
        inner, _ = await accept_tls(stream, self.context)
        await Server(None)(inner)


class Routed(HandDiscoverer):
    """A route that says that TLS comes first."""

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        relay = RelayHost(domain="example.org", source="t.toml:1", implicit_tls=True)
        return replace(await super().destination(next_hop, sender), relay=relay)


async def test_a_route_with_implicit_tls_is_looked_at_as_delivery_would_use_it(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = TlsFirst(context)
    found = await look(dialer, Routed())
    ((contact,),) = [host.contacts for host in found.hosts]
    assert isinstance(contact.result, Met)
    assert contact.result.cleared.achieved.level is Level.ENCRYPTED
    assert all(not bytes(client.written).startswith(b"EHLO") for client in dialer.clients)
