"""Attempts for messages with a demand of their own, and to domains with an MTA-STS policy (RFC 8689, RFC 8461)."""

from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.identity.trust import TrustRoots
from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts import Known, Mode, StsPolicy
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Level
from letterlock.queue.tasks import Attempt, OutcomeKind
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Authority, Credential
from tests.deliver.test_attempt import TWO_HOSTS, dane, kinds
from tests.deliver.world import ADDRESS, BODY, OPTIONS, HandDiscoverer, MemoryDialer, Server, make_ports, make_task

OFFERING = ("PIPELINING", "SIZE 1000000", "8BITMIME", "REQUIRETLS")
REQUIRETLS, NO = TlsDemand.REQUIRETLS, TlsDemand.TLS_REQUIRED_NO


async def make(dialer: MemoryDialer, discoverer: HandDiscoverer, demand: TlsDemand = TlsDemand.NONE) -> Attempt:
    """One attempt for a message with this demand."""
    task = make_task()
    task = replace(task, envelope=replace(task.envelope, tls_demand=demand))
    return await attempt(task, BODY, ports=make_ports(dialer, discoverer), options=OPTIONS)


def policy(mx: str, mode: Mode = Mode.ENFORCE) -> Known:
    made = StsPolicy(mode=mode, max_age_seconds=604_800, mx=(mx,))
    return Known(policy=made, id="1", fetched_at=0, expires_at=2e9, from_cache=True)


async def test_rfc8689_4_2_1_the_parameter_is_sent_to_a_proven_server_that_offers_it(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, extensions=OFFERING)
    made = await make(dialer, dane(credential), REQUIRETLS)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert any(line.startswith("MAIL FROM:") and line.endswith(" REQUIRETLS") for line in server.secret)


async def test_a_message_without_the_demand_is_sent_without_the_parameter(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context, extensions=OFFERING)
    await make(dialer, dane(credential))
    assert not any("REQUIRETLS" in line for line in server.secret)


async def test_rfc8689_4_2_1_when_no_host_supports_it_the_message_is_returned_with_5_7_30(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context)
    made = await make(dialer, dane(credential), REQUIRETLS)
    [outcome] = made.outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.FAILED, "5.7.30")
    assert not any(line.startswith("MAIL") for line in (*server.clear, *server.secret))


async def test_rfc8689_4_2_1_while_another_host_may_support_it_the_message_waits(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    discoverer = dane(credential)
    hosts = HandDiscoverer(hosts=TWO_HOSTS, tlsa={"mx1.example.org": discoverer.tlsa["mx.example.org"]})
    dialer.handlers["192.0.2.1"] = Server(context)
    made = await make(dialer, hosts, REQUIRETLS)
    assert kinds(made) == [OutcomeKind.DEFERRED]


async def test_rfc8689_4_2_1_what_an_attacker_can_cause_is_never_permanent(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    made = await make(dialer, HandDiscoverer(), REQUIRETLS)
    [outcome] = made.outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.DEFERRED, "4.7.10")
    assert server.messages == []
    assert not any(line.startswith("MAIL") for line in server.clear)


@pytest.mark.parametrize("fitting", [True, False])
async def test_rfc8689_4_2_2_with_the_header_it_goes_out_whatever_dane_says(
    dialer: MemoryDialer, context: ServerContext, credential: Credential, *, fitting: bool
) -> None:
    server = dialer.handlers[ADDRESS] = Server(context if fitting else None)
    made = await make(dialer, dane(credential), NO)
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert made.achieved is not None
    assert made.achieved.level is (Level.ENCRYPTED if fitting else Level.CLEAR)
    assert server.messages == [BODY]


@pytest.mark.parametrize("rule", [TlsRule.REQUIRE_TLS, TlsRule.VERIFY, TlsRule.DANE_ONLY])
async def test_input_11_the_header_does_not_let_a_stripped_server_have_what_a_rule_protects(
    dialer: MemoryDialer, rule: TlsRule
) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    made = await make(dialer, HandDiscoverer(rule=rule), NO)
    assert kinds(made) == [OutcomeKind.DEFERRED]
    assert not any(line.startswith("MAIL") for line in server.clear)


async def test_rfc8461_5_enforce_holds_what_a_stripped_server_would_get(dialer: MemoryDialer) -> None:
    server = dialer.handlers[ADDRESS] = Server()
    made = await make(dialer, HandDiscoverer(sts=policy("mx.example.org")))
    [outcome] = made.outcomes
    assert (outcome.kind, outcome.status) == (OutcomeKind.DEFERRED, "4.7.5")
    assert "MTA-STS" in outcome.text
    assert not any(line.startswith("MAIL") for line in server.clear)


async def test_rfc8461_5_enforce_delivers_to_a_host_that_it_names_with_a_certificate(
    dialer: MemoryDialer, context: ServerContext, issuer: Authority
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    roots = TrustRoots("test", (issuer.der,))
    made = await make(dialer, HandDiscoverer(sts=policy("*.example.org"), public_roots=roots))
    assert kinds(made) == [OutcomeKind.DELIVERED]
    assert made.achieved is not None
    assert made.achieved.by == "mta-sts"


async def test_rfc8461_5_1_a_policy_that_changed_meanwhile_is_heard_before_the_message_waits(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    stale, fresh = policy("old.example.org"), policy("mx.example.org", Mode.NONE)
    made = await make(dialer, HandDiscoverer(sts=stale, sts_later=fresh))
    assert kinds(made) == [OutcomeKind.DELIVERED]


async def test_rfc8461_5_1_a_policy_that_stays_holds_the_message(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    made = await make(dialer, HandDiscoverer(sts=policy("old.example.org")))
    [outcome] = made.outcomes
    assert outcome.kind is OutcomeKind.DEFERRED
    assert dialer.dialled == []
