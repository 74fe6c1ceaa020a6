"""What an attempt counts as, by real attempts at servers in memory."""

import pytest

from letterlock.deliver.attempt import attempt
from letterlock.mtasts.policy import Mode, StsPolicy
from letterlock.mtasts.sts_evidence import Known
from letterlock.net.tls import ServerContext
from letterlock.policy.decision import Demander
from letterlock.policy.evidence import StartTls
from letterlock.queue.tasks import Attempt, OutcomeKind, RecipientOutcome
from letterlock.resolver.answer import Answer, LookupFailure, Security
from letterlock.routing.destination_rule import TlsRule
from letterlock.state.statistics_rows import DeliveryShape
from letterlock.statistics.delivery_facts import DeliveredFacts, facts_of, shape_of
from letterlock.statistics.summary import is_post_quantum, measures_of
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
    make_ports,
    make_task,
)

HOST = "mx.example.org"
TLSA = f"_25._tcp.{HOST}"
TlsaByHost = dict[str, Answer | LookupFailure]


async def shape(dialer: MemoryDialer, world: HandDiscoverer) -> DeliveryShape:
    made = await attempt(make_task(ANN, BOB), BODY, ports=make_ports(dialer, world), options=OPTIONS)
    return shape_of(facts_of(made))


def held(reason: str) -> DeliveryShape:
    return DeliveryShape("held", reason)


async def test_in_clear(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    assert await shape(dialer, HandDiscoverer()) == DeliveryShape("delivered", protection="clear")


async def test_encrypted_without_any_demand(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    found = await shape(dialer, HandDiscoverer())
    assert found[:6] == ("delivered", "", "encrypted", "", "", "starttls")
    assert found.tls_version == "TLSv1.3"
    assert found.cipher
    assert found.key_exchange


async def test_proven_by_dane(dialer: MemoryDialer, context: ServerContext, credential: Credential) -> None:
    dialer.handlers[ADDRESS] = Server(context)
    records: TlsaByHost = {HOST: answer(TLSA, "TLSA", dane_ee(credential), security=Security.SECURE)}
    found = await shape(dialer, HandDiscoverer(tlsa=records))
    assert found[:6] == ("delivered", "", "authenticated", "dane-ee", "dane", "starttls")


async def test_held_by_a_rule_and_by_dane(dialer: MemoryDialer, context: ServerContext) -> None:
    dialer.handlers[ADDRESS] = Server()
    assert await shape(dialer, HandDiscoverer(rule=TlsRule.REQUIRE_TLS)) == (
        "held",
        "rule-starttls-required",
        *[""] * 8,
    )
    records: TlsaByHost = {HOST: answer(TLSA, "TLSA", "3 1 1 " + "00" * 32, security=Security.SECURE)}
    dialer.handlers[ADDRESS] = Server(context)
    assert await shape(dialer, HandDiscoverer(tlsa=records)) == held("rfc7672-3.2-dane-mismatch")


async def test_deferred_by_the_network_and_failed_by_the_server(dialer: MemoryDialer) -> None:
    assert await shape(dialer, HandDiscoverer()) == DeliveryShape("deferred", "4.4")
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [b"550 5.1.1 no such user\r\n"]})
    assert await shape(dialer, HandDiscoverer()) == DeliveryShape("failed", "5.1")


async def test_delivered_if_any_recipient_has_it(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server(answers={"RCPT": [b"550 5.1.1 no such user\r\n", b"250 ok\r\n"]})
    assert (await shape(dialer, HandDiscoverer())).result == "delivered"


async def test_a_policy_in_testing_that_would_have_held_it(dialer: MemoryDialer) -> None:
    dialer.handlers[ADDRESS] = Server()
    policy = StsPolicy(mode=Mode.TESTING, max_age_seconds=86_400, mx=(HOST,))
    sts = Known(policy=policy, id="1", fetched_at=0, expires_at=2e9, from_cache=True)
    found = await shape(dialer, HandDiscoverer(sts=sts))
    assert (found.result, found.protection, found.would_fail) == ("delivered", "clear", "mta-sts")


async def test_a_bug_is_no_policy(dialer: MemoryDialer) -> None:
    class Broken(HandDiscoverer):
        async def host(self, *_: object) -> object:  # type: ignore[override]  # it never returns
            raise RuntimeError("a bug")

    assert await shape(dialer, Broken()) == DeliveryShape("deferred", "internal-error")


def test_what_ends_on_this_machine_is_local() -> None:
    outcome = RecipientOutcome(recipient=ANN, kind=OutcomeKind.DELIVERED, status="2.0.0", text="ok")
    made = Attempt(
        message_id="1", next_hop="example.org", started_at=1, ended_at=2, outcomes=(outcome,), host="maildir:/x"
    )
    found = shape_of(facts_of(made))
    assert found == DeliveryShape("delivered", protection="local")
    assert list(measures_of(found)) == [("result", "delivered"), ("protection", "local")]


def test_implicit_tls_is_told_from_starttls_and_demanders_are_in_their_order() -> None:
    both = frozenset({Demander.RULE, Demander.DANE})
    facts = DeliveredFacts("authenticated", "dane-ee", both, StartTls.IMPLICIT, "TLSv1.3", "AES", None)
    found = shape_of(facts)
    assert (found.begun_by, found.demanded_by, found.key_exchange) == ("implicit", "dane+rule", "none")
    assert ("demanded_by", "rule") in measures_of(found)
    assert shape_of(facts._replace(starttls=StartTls.OFFERED)).begun_by == "starttls"


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("X25519MLKEM768", True),
        ("SecP256r1MLKEM768", True),
        ("x25519_kyber768", True),
        ("X25519", False),
        ("none", False),
    ],
)
def test_post_quantum_groups(group: str, expected: bool) -> None:
    assert is_post_quantum(group) is expected


def test_coarse_shapes_lose_only_what_a_peer_can_vary() -> None:
    clear = DeliveryShape("delivered", protection="clear")
    assert clear.coarse is clear
    tls = clear._replace(protection="encrypted", tls_version="TLSv1.2", cipher="X", key_exchange="Y")
    assert tls.coarse == tls._replace(tls_version="other", cipher="other", key_exchange="other")
