"""What sessions came to, in the words of TLS reports: projections of real attempts (RFC 8460 section 4.3)."""

from dataclasses import replace
from typing import Any

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.mail.envelope import TlsDemand
from letterlock.mtasts.fetching import FetchFailure
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.mtasts.sts_evidence import Absent, Known, PolicyUnavailable, StsEvidence
from letterlock.net.tls import ServerContext
from letterlock.policy.evidence import DestinationEvidence
from letterlock.queue.tasks import Attempt, DeliveryTask
from letterlock.report.session_results import SessionResults
from letterlock.resolver.answer import Answer, Security
from letterlock.routing.destination_rule import TlsRule
from letterlock.routing.routes import NextHop, RelayHost
from letterlock.tlsrpt.datagram import SessionResult
from letterlock.tlsrpt.report import PolicyType
from tests.certificates import Credential
from tests.deliver.world import (
    ADDRESS,
    BODY,
    OPTIONS,
    HandDiscoverer,
    MemoryDialer,
    Server,
    answer,
    dane_ee,
    lookup_failure,
    make_ports,
    make_task,
    raw,
)

NO_POLICY = Absent()
HOST = "mx.example.org"
TLSA = f"_25._tcp.{HOST}"


def signed(record: str) -> Answer:
    """A TLSA answer that was proven."""
    return answer(TLSA, "TLSA", record, security=Security.SECURE)


class Announcing(HandDiscoverer):
    """Also finds an MTA-STS policy."""

    sts: StsEvidence | None = Absent()
    relay: RelayHost | None = None

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        return replace(await super().destination(next_hop, sender), sts=self.sts, relay=self.relay)


def sts(mode: Mode, *mx: str) -> Known:
    policy = StsPolicy(mode=mode, max_age_seconds=86_400, mx=mx or (HOST,))
    return Known(policy=policy, id="1", fetched_at=0, expires_at=2e9, from_cache=False)


async def results(
    dialer: MemoryDialer, found: StsEvidence | None = NO_POLICY, task: DeliveryTask | None = None, **world: Any
) -> list[SessionResult]:
    discoverer = Announcing(**world)
    discoverer.sts = found
    return [*SessionResults().of(task or make_task(), await _tried(dialer, discoverer, task))]


async def _tried(dialer: MemoryDialer, world: HandDiscoverer, task: DeliveryTask | None) -> Attempt:
    return await attempt(task or make_task(), BODY, ports=make_ports(dialer, world), options=OPTIONS)


def brief(found: list[SessionResult]) -> list[list[tuple[str, str, bool, list[str]]]]:
    """Policy, its domain, success, result types."""
    return [
        [
            (each.policy.type, each.policy.domain, each.succeeded, [one.result_type for one in each.failures])
            for each in result.outcomes
        ]
        for result in found
    ]


async def test_tls_without_a_policy_is_a_success(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer)
    assert brief(found) == [[(PolicyType.NONE, "example.org", True, [])]]
    assert found[0].domain == "example.org"


async def test_cleartext_without_a_policy_is_starttls_not_supported(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    assert brief(await results(dialer)) == [[(PolicyType.NONE, "example.org", False, ["starttls-not-supported"])]]


async def test_nothing_is_said_of_a_policy_that_was_not_looked_for(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    assert await results(dialer, None) == []


async def test_rfc8460_4_3_2_1_dane_is_about_the_tlsa_base_domain(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    tlsa = signed(dane_ee(credential))
    (result,) = await results(dialer, tlsa={HOST: tlsa})
    (outcome,) = result.outcomes
    assert outcome.policy == (PolicyType.TLSA, HOST, (dane_ee(credential).lower(),), ())
    assert outcome.succeeded


async def test_a_mismatch_is_a_failure_with_our_reason(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    (result,) = await results(dialer, tlsa={HOST: signed("3 1 1 " + "00" * 32)})
    (failure,) = result.outcomes[0].failures
    assert failure.receiving_host == HOST
    assert failure.receiving_ip == ADDRESS
    assert failure.reason == "rfc7672-3.2-dane-mismatch"


async def test_unusable_records_are_tlsa_invalid_though_mail_goes(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, tlsa={HOST: signed("1 1 1 " + "00" * 32)})
    assert brief(found) == [[(PolicyType.TLSA, HOST, False, ["tlsa-invalid"])]]


async def test_stripped_starttls_fails_both_policies(dialer: MemoryDialer, credential: Credential) -> None:
    dialer.handlers[ADDRESS] = Server()
    found = await results(dialer, sts(Mode.ENFORCE), tlsa={HOST: signed(dane_ee(credential))})
    types = ["starttls-not-supported"]
    assert brief(found) == [[(PolicyType.TLSA, HOST, False, types), (PolicyType.STS, "example.org", False, types)]]


async def test_dane_may_hold_where_mta_sts_fails(
    dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    """No root vouches for the certificate, and the TLSA record does: one success, one failure, one session."""
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, sts(Mode.ENFORCE), tlsa={HOST: signed(dane_ee(credential))})
    assert brief(found) == [
        [(PolicyType.TLSA, HOST, True, []), (PolicyType.STS, "example.org", False, ["certificate-not-trusted"])]
    ]
    assert found[0].outcomes[1].policy.lines == ("version: STSv1", "mode: enforce", f"mx: {HOST}", "max_age: 86400")


async def test_rfc8461_5_2_a_policy_in_testing_is_reported_and_holds_nothing(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, sts(Mode.TESTING))
    assert brief(found) == [[(PolicyType.STS, "example.org", False, ["certificate-not-trusted"])]]


@pytest.mark.parametrize("mode", [Mode.TESTING, Mode.ENFORCE])
async def test_a_host_that_the_policy_does_not_name(dialer: MemoryDialer, context: ServerContext, mode: Mode) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, sts(mode, "other.example.org"))
    assert brief(found) == [[(PolicyType.STS, "example.org", False, ["validation-failure"])]]
    assert found[0].outcomes[0].failures[0].reason == "rfc8461-4.1-mx-mismatch"


@pytest.mark.parametrize("kind", list(FetchFailure))
async def test_rfc8460_4_3_2_2_a_policy_that_cannot_be_fetched(
    dialer: MemoryDialer, context: ServerContext, kind: FetchFailure
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, PolicyUnavailable("answered 404", kind))
    assert brief(found) == [[(PolicyType.STS, "example.org", False, [kind.value])]]


async def test_a_withdrawn_policy_is_none(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, sts(Mode.NONE))
    assert brief(found) == [[(PolicyType.NONE, "example.org", True, [])]]


async def test_dns_that_rules_a_host_out_is_reported(dialer: MemoryDialer) -> None:
    found = await results(dialer, tlsa={HOST: lookup_failure(TLSA, "TLSA")})
    assert brief(found) == [[(PolicyType.TLSA, HOST, False, ["dnssec-invalid"])]]


async def test_the_ladder_of_handshakes_is_one_session(dialer: MemoryDialer) -> None:
    """Two broken handshakes and the cleartext that they led to: one failure, of TLS and not of STARTTLS."""
    dialer.handlers[ADDRESS] = raw(b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n", b"no TLS at all\r\n")
    found = await results(dialer)
    assert brief(found) == [[(PolicyType.NONE, "example.org", False, ["validation-failure"])]]


async def test_what_was_never_connected_is_no_session(dialer: MemoryDialer) -> None:
    assert await results(dialer) == []


async def test_rfc8460_5_3_a_message_with_tls_required_no_is_not_counted(
    dialer: MemoryDialer, context: ServerContext
) -> None:
    """Reports of ours are such messages: there is no report about the delivery of reports."""
    dialer.handlers[ADDRESS] = Server(context)
    task = make_task()
    task = replace(task, envelope=replace(task.envelope, tls_demand=TlsDemand.TLS_REQUIRED_NO))
    assert await results(dialer, task=task) == []


async def test_hosts_that_the_operator_chose_are_not_reported(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    discoverer = Announcing()
    discoverer.relay = RelayHost(domain="example.org", source="[route]")
    made = await _tried(dialer, discoverer, None)
    assert made.sessions
    assert [*SessionResults().of(make_task(), made)] == []


async def test_the_operators_own_demands_are_not_the_domains(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await results(dialer, rule=TlsRule.VERIFY)
    assert brief(found) == [[(PolicyType.NONE, "example.org", True, [])]]
