"""What is counted of messages, attempts and sessions, by real attempts at servers in memory."""

from dataclasses import replace

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.mail.envelope import Envelope
from letterlock.metrics.catalogue import CODES, DANE_RESULTS, LAYOUT, STS_RESULTS, VERIFIED_BY
from letterlock.metrics.counting import Counting
from letterlock.metrics.numbers import Board, Numbers
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.mtasts.sts_evidence import Known, PolicyUnavailable, StsEvidence
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Achieved, Level
from letterlock.policy.reasons import all_codes
from letterlock.queue.observing import Arrival
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import Attempt, OutcomeKind, RecipientOutcome
from letterlock.resolver.answer import Security
from letterlock.routing.destination_rule import TlsRule
from tests.certificates import Credential
from tests.deliver.world import (
    ADDRESS,
    ANN,
    BOB,
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
)

HOST = "mx.example.org"
TLSA = f"_25._tcp.{HOST}"


class Counted:
    """The numbers, by name."""

    def __init__(self) -> None:
        self.numbers = Numbers(LAYOUT, Board(LAYOUT.size))
        self.observer = Counting(self.numbers)

    def of(self, name: str) -> dict[str, int]:
        """What was counted of one family, without what was not."""
        places = LAYOUT.families[f"letterlock_{name}"].places
        return {
            " ".join(labels): int(self.numbers.values[at]) for labels, at in places.items() if self.numbers.values[at]
        }


@pytest.fixture(name="counted")
def counted_fixture() -> Counted:
    return Counted()


async def attempted(counted: Counted, dialer: MemoryDialer, world: HandDiscoverer) -> Attempt:
    task = make_task(ANN, BOB)
    made = await attempt(task, BODY, ports=make_ports(dialer, world), options=OPTIONS)
    counted.observer.attempted(task, made)
    return made


def test_messages_that_come_in(counted: Counted) -> None:
    envelope = Envelope(id="1", reverse_path=ANN, recipients=(ANN, BOB), size=100, accepted_at=0, expires_at=1)
    for more in ({}, {}, {"local_uid": 1000}, {"about": "0"}):
        counted.observer.received(envelope, replace(Arrival(client="x[192.0.2.1]", protocol="ESMTP"), **more))
    assert counted.of("messages_received_total") == {"client": 2, "local": 1, "notification": 1}
    assert counted.of("received_bytes_total") == {"": 400}
    assert counted.of("recipients_received_total") == {"": 8}


async def test_a_delivery_by_dane(
    counted: Counted, dialer: MemoryDialer, context: ServerContext, credential: Credential
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    await attempted(
        counted,
        dialer,
        HandDiscoverer(tlsa={HOST: answer(TLSA, "TLSA", dane_ee(credential), security=Security.SECURE)}),
    )
    assert counted.of("attempts_total") == {"": 1}
    assert counted.of("deliveries_total") == {"delivered authenticated": 2}
    assert counted.of("deliveries_verified_total") == {"dane-ee": 2}
    assert counted.of("outbound_sessions_total") == {"cleared": 1}
    assert counted.of("outbound_tls_handshakes_total") == {"TLSv1.3": 1}
    assert counted.of("dane_results_total") == {"ok": 1}
    assert counted.of("mta_sts_results_total") == {}
    assert counted.of("last_delivery_timestamp_seconds") == {"": 1_800_000_000}
    place = LAYOUT.place("letterlock_delivery_seconds")
    assert counted.numbers.values[place] == 2, "one second after acceptance is within the first bucket"


async def test_a_delivery_in_clear_and_one_that_is_held(counted: Counted, dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    await attempted(counted, dialer, HandDiscoverer())
    await attempted(counted, dialer, HandDiscoverer(rule=TlsRule.REQUIRE_TLS))
    assert counted.of("deliveries_total") == {"delivered clear": 2, "deferred none": 2}
    assert counted.of("deferrals_total") == {"rule-starttls-required": 2}
    assert counted.of("outbound_sessions_total") == {"cleared": 1, "refused": 1}
    assert counted.of("dane_results_total") == {"not_applicable": 2}


async def test_a_server_that_defers_and_one_that_is_not_there(counted: Counted, dialer: MemoryDialer) -> None:
    await attempted(counted, dialer, HandDiscoverer())
    dialer.handlers[ADDRESS] = Server(answers={"MAIL": [b"451 4.3.0 later\r\n"]})
    await attempted(counted, dialer, HandDiscoverer())
    assert counted.of("deferrals_total") == {"4.3": 2, "4.4": 2}
    assert counted.of("outbound_sessions_total") == {"cleared": 1, "failed": 1}


@pytest.mark.parametrize(
    ("tlsa", "result"),
    [
        (answer(TLSA, "TLSA", "3 1 1 " + "00" * 32, security=Security.SECURE), "ok"),
        (answer(TLSA, "TLSA", "1 1 1 " + "00" * 32, security=Security.SECURE), "unusable"),
        (answer(TLSA, "TLSA", security=Security.SECURE), "not_applicable"),
        (answer(TLSA, "TLSA", security=Security.INSECURE), "insecure_chain"),
        (answer(TLSA, "TLSA", "3 1 1 " + "00" * 32, security=Security.INSECURE), "insecure_chain"),
        (lookup_failure(TLSA, "TLSA"), "tempfail"),
    ],
)
async def test_dane_results_are_those_of_kumomta(
    counted: Counted, dialer: MemoryDialer, context: ServerContext, tlsa: object, result: str
) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    await attempted(counted, dialer, HandDiscoverer(tlsa={HOST: tlsa}))  # type: ignore[dict-item]  # both kinds
    assert counted.of("dane_results_total") == {result: 1}


async def test_a_host_counts_once_and_a_host_that_was_skipped_counts_though_another_took_the_mail(
    counted: Counted, dialer: MemoryDialer, context: ServerContext
) -> None:
    dialer.handlers["192.0.2.3"] = Server(context)
    hosts = {"mx1.example.org": (ADDRESS,), HOST: ("192.0.2.2", "192.0.2.3")}
    world = HandDiscoverer(hosts=hosts, tlsa={"mx1.example.org": lookup_failure("_25._tcp.mx1.example.org", "TLSA")})
    made = await attempted(counted, dialer, world)
    assert made.outcomes[0].kind is OutcomeKind.DELIVERED
    assert counted.of("dane_results_total") == {"tempfail": 1, "not_applicable": 1}
    assert counted.of("outbound_sessions_total") == {"failed": 1, "cleared": 1}


def known(mode: Mode, pattern: str = HOST, trouble: str | None = None) -> Known:
    policy = StsPolicy(mode=mode, max_age_seconds=86_400, mx=(pattern,))
    return Known(policy=policy, id="1", fetched_at=0, expires_at=2e9, from_cache=True, trouble=trouble)


@pytest.mark.parametrize(
    ("sts", "result", "blocked"),
    [
        (known(Mode.ENFORCE), "enforce", {}),
        (known(Mode.TESTING, trouble="the TXT record is gone"), "testing", {"": 1}),
        (known(Mode.NONE), "none", {}),
        (known(Mode.ENFORCE, "other.example"), "mx_mismatch", {}),
        (PolicyUnavailable("time-out"), "unavailable", {}),
    ],
)
async def test_mta_sts_results(
    counted: Counted, dialer: MemoryDialer, sts: StsEvidence, result: str, blocked: dict[str, int]
) -> None:
    dialer.handlers[ADDRESS] = Server()
    await attempted(counted, dialer, HandDiscoverer(sts=sts))
    assert counted.of("mta_sts_results_total") == {result: 1}
    assert counted.of("mta_sts_blocked_total") == blocked


async def test_bounces_are_counted_when_they_are_on_disk_and_expiry_is_one(
    counted: Counted, dialer: MemoryDialer
) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [b"550 5.1.1 no such user\r\n"]})
    task = make_task()
    made = await attempt(task, BODY, ports=make_ports(dialer), options=OPTIONS)
    counted.observer.failed(task, made, settle(task, made, now=made.ended_at, schedule=RetrySchedule()))
    old = replace(task, attempts=9, age=replace(task.age, seconds=1e9))
    late = replace(made, outcomes=(replace(made.outcomes[0], kind=OutcomeKind.DEFERRED, status="4.2.2"),))
    counted.observer.failed(old, late, settle(old, late, now=made.ended_at, schedule=RetrySchedule()))
    assert counted.of("bounces_total") == {"5.1": 1, "expired": 1}


@pytest.mark.parametrize("status", ["4.9.9", "", "4", "4.", "x.y.z", "4.77.1", "2.0.0", "4.4"])
def test_any_status_of_a_server_is_one_of_a_few(counted: Counted, status: str) -> None:
    outcome = RecipientOutcome(recipient=ANN, kind=OutcomeKind.DEFERRED, status=status, text="x", remote_reply="x")
    task = make_task()
    made = Attempt(message_id="1", next_hop="example.org", started_at=1, ended_at=2, outcomes=(outcome,))
    counted.observer.attempted(task, made)
    assert counted.of("deferrals_total") == {"other": 1}


def test_the_catalogue_has_every_value_that_can_be_met() -> None:
    assert set(CODES) == set(all_codes())
    assert len(set(DANE_RESULTS)) == len(set(STS_RESULTS)) == 5
    counted = Counted()
    for level in Level:
        for by in (None, *VERIFIED_BY):
            outcome = RecipientOutcome(recipient=ANN, kind=OutcomeKind.DELIVERED, status="2.0.0", text="ok")
            achieved = Achieved(level=level, by=by)
            made = Attempt(
                message_id="1", next_hop="x", started_at=1, ended_at=2, outcomes=(outcome,), achieved=achieved
            )
            counted.observer.attempted(make_task(), made)
    assert sum(counted.of("deliveries_verified_total").values()) == len(Level) * len(VERIFIED_BY)
