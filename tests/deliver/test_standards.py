"""Rules of the standards about a whole attempt: who is asked for, who gets nothing, who is next."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from OpenSSL import SSL

from letterlock.deliver.attempt import attempt
from letterlock.identity.trust import TrustRoots
from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts import Mode
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Level
from letterlock.policy.evidence import DestinationEvidence, MxHost, TargetHost
from letterlock.queue.tasks import OutcomeKind
from letterlock.resolver.answer import Answer, LookupFailure, Security
from letterlock.routing.destination_rule import DestinationRule, RuleException, TlsRule
from letterlock.routing.routes import NextHop
from letterlock.store.sqlite.sqlite_store import SqliteStore
from tests.certificates import Authority, Credential
from tests.deliver.test_attempt import TWO_HOSTS, dane, kinds
from tests.deliver.test_attempt import make as send
from tests.deliver.test_demands import OFFERING, policy
from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    dane_ee,
    make_ports,
    make_task,
)

BAD = "3 1 1 " + "00" * 32
ONLY_DANE = DestinationRule(domain="example.org", tls=TlsRule.DANE_ONLY, source="letterlock.toml:7")


@dataclass
class Ruled(HandDiscoverer):
    """Evidence by hand, with a whole rule of the operator's."""

    whole_rule: DestinationRule = ONLY_DANE

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        """The same, under the rule."""
        found = await super().destination(next_hop, sender)
        return replace(found, rule=self.whole_rule, at=1_800_000_000.0)


class Aliased(HandDiscoverer):
    """mx.example.org is a signed alias of real.example.net, where its TLSA records are."""

    async def host(self, host: MxHost, port: int) -> TargetHost:
        """The same host, with another TLSA base domain."""
        found = await super().host(host, port)
        return replace(found, canonical_name="real.example.net", tlsa_base="real.example.net")


def mails(*servers: Server) -> list[bool]:
    """Which servers heard MAIL FROM."""
    return [any(line.startswith("MAIL") for line in (*one.clear, *one.secret)) for one in servers]


async def test_rfc7672_8_1_the_handshake_names_the_tlsa_base_domain(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    made = await send(dialer, Aliased(tlsa=dane(credential).tlsa))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert [sni for sni, _ in dialer.handshakes] == ["real.example.net"]


async def test_rfc8461_7_1_the_handshake_names_the_mx_host(
    dialer: MemoryDialer, context: ServerContext, issuer: Authority
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    roots = TrustRoots("test", (issuer.der,))
    made = await send(dialer, HandDiscoverer(sts=policy("mx.example.org"), public_roots=roots))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert [sni for sni, _ in dialer.handshakes] == ["mx.example.org"]


def anonymous() -> ServerContext:
    """A server that has no certificate, and offers anonymous ciphers alone."""
    openssl = SSL.Context(SSL.TLS_SERVER_METHOD)
    openssl.set_max_proto_version(SSL.TLS1_2_VERSION)
    openssl.set_cipher_list(b"aNULL:@SECLEVEL=0")
    certificate, key = Path("none.pem"), Path("none.key")
    return ServerContext(
        certificate_path=certificate, key_path=key, not_before=0, not_after=2e9, files=(), openssl=openssl
    )


async def test_rfc7672_8_2_a_server_with_anonymous_ciphers_alone_gets_nothing_under_dane(
    dialer: MemoryDialer, credential: Credential
) -> None:
    server = dialer.handlers[ADDRESS] = Server(anonymous())
    made = await send(dialer, dane(credential))
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert made.outcomes[0].status.startswith("4.7.")
    assert made.handshake is None
    assert mails(server) == [False]


async def test_rfc7672_3_2_what_the_first_host_does_not_prove_goes_to_the_next(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    first = dialer.handlers["192.0.2.1"] = Server(context)
    second = dialer.handlers["192.0.2.2"] = Server(context)
    tlsa: dict[str, Answer | LookupFailure] = {
        host: answer(f"_25._tcp.{host}", "TLSA", text, security=Security.SECURE)
        for host, text in (("mx1.example.org", BAD), ("mx2.example.org", dane_ee(credential)))
    }
    made = await send(dialer, HandDiscoverer(hosts=TWO_HOSTS, tlsa=tlsa))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert mails(first, second) == [False, True]
    assert made.achieved is not None
    assert made.achieved.level is Level.AUTHENTICATED


async def test_rfc7672_6_without_records_the_mail_waits(dialer: MemoryDialer, context: ServerContext) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    made = await send(dialer, Ruled())
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert mails(server) == [False]


@pytest.mark.parametrize("tls", [True, False])
async def test_rfc7672_9_1_in_audit_the_mail_goes_and_the_reasons_tell_what_would_have_held_it(
    dialer: MemoryDialer, context: ServerContext, *, tls: bool
) -> None:
    dialer.handlers[ADDRESS] = Server(context if tls else None)
    made = await send(dialer, Ruled(whole_rule=replace(ONLY_DANE, audit=True)))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert "rule-audit-would-hold" in [reason.code for reason in made.reasons]


@pytest.mark.parametrize("clear", [True, False])
async def test_rfc7672_9_1_one_site_is_let_through_with_the_reason_and_until_the_end_that_it_has(
    dialer: MemoryDialer, *, clear: bool
) -> None:
    """Its server has no TLS any more, though its TLSA record stands."""
    server = dialer.handlers[ADDRESS] = Server()
    exception = RuleException(allow_clear=clear, why="their server is being mended", until=1_800_000_001.0)
    tlsa = answer("_25._tcp.mx.example.org", "TLSA", BAD, security=Security.SECURE)
    rule = replace(ONLY_DANE, tls=TlsRule.MAY, exception=exception)
    made = await send(dialer, Ruled(tlsa={"mx.example.org": tlsa}, whole_rule=rule))
    assert kinds(made) == [OutcomeKind.DELIVERED if clear else OutcomeKind.DEFERRED]
    assert mails(server) == [clear]


async def test_rfc8461_5_1_hosts_that_the_policy_does_not_name_are_passed_over_in_mx_order(
    dialer: MemoryDialer, context: ServerContext, issuer: Authority, tmp_path: Path
) -> None:
    first = dialer.handlers["192.0.2.1"] = Server(context)
    second = dialer.handlers["192.0.2.2"] = Server(ServerContext.load(*issuer.leaf("mx2.example.org").write(tmp_path)))
    roots = TrustRoots("test", (issuer.der,))
    hosts = HandDiscoverer(hosts=TWO_HOSTS, sts=policy("mx2.example.org"), public_roots=roots)
    made = await send(dialer, hosts)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert dialer.dialled == ["192.0.2.2"]
    assert mails(first, second) == [False, True]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("fault", ["other name", "no root", "no tls"])
async def test_rfc8461_5_what_each_mode_makes_of_a_failure(
    dialer: MemoryDialer, context: ServerContext, issuer: Authority, mode: Mode, fault: str
) -> None:
    dialer.handlers[ADDRESS] = Server(None if fault == "no tls" else context)
    sts = policy("other.example.org" if fault == "other name" else "mx.example.org", mode)
    roots = None if fault == "no root" else TrustRoots("test", (issuer.der,))
    made = await send(dialer, HandDiscoverer(sts=sts, public_roots=roots))
    assert kinds(made) == [OutcomeKind.DEFERRED if mode is Mode.ENFORCE else OutcomeKind.DELIVERED]
    codes = [reason.code for reason in made.reasons]
    assert ("rfc8461-5-would-hold" in codes) is (mode is Mode.TESTING)


@pytest.mark.parametrize("offering", [True, False])
async def test_rfc8689_4_1_the_demand_goes_through_a_restart_to_the_next_server(
    dialer: MemoryDialer, context: ServerContext, credential: Credential, tmp_path: Path, *, offering: bool
) -> None:
    before = await SqliteStore.open(tmp_path)
    envelope = replace(make_task().envelope, tls_demand=TlsDemand.REQUIRETLS)
    await before.accept(envelope, BODY, next_attempt_at=0)
    await before.close()
    after = await SqliteStore.open(tmp_path)
    [task] = await after.lease(0, limit=10, lease_seconds=60)
    body = await after.body(envelope.id)
    await after.close()
    server = dialer.handlers[ADDRESS] = Server(context, extensions=OFFERING if offering else ("PIPELINING",))
    made = await attempt(task, body, ports=make_ports(dialer, dane(credential)), options=OPTIONS)
    assert kinds(made) == [OutcomeKind.DELIVERED if offering else OutcomeKind.FAILED]
    assert [line for line in server.secret if line.endswith(" REQUIRETLS")] == [
        line for line in server.secret if line.startswith("MAIL FROM:")
    ]
    assert mails(server) == [offering]
