"""What was found out is believed for some seconds, and what could not be found out for no time."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from letterlock.discover.recent_discoverer import MAX_RECENT, RecentDiscoverer
from letterlock.mtasts.sts_evidence import PolicyUnavailable
from letterlock.policy.evidence import DestinationEvidence, MemoryUnreadable, MxHost, TargetHost
from letterlock.recent import EVIDENCE_SECONDS, RECENT_SECONDS
from letterlock.resolver.answer import Answer, LookupFailure
from letterlock.routing.destination_rule import RuleException
from letterlock.routing.routes import NextHop
from tests.policy.evidence import NOW, destination, failure, rule, target

HOP = NextHop("example.org", 25)


@dataclass
class Counting:
    """A discoverer that counts what it is asked, and a clock."""

    mx: LookupFailure | None = None
    found: DestinationEvidence = field(default_factory=lambda: found_at(NOW, ttl=60))
    host_found: TargetHost = field(default_factory=target)
    changed: bool = True
    now: float = 0.0
    asked: list[object] = field(default_factory=list)

    def destination_key(self, domain: str) -> str:
        return f"{domain} by route"

    async def destination(self, next_hop: NextHop, sender: str | None = None) -> DestinationEvidence:
        self.asked.append((next_hop, sender))
        return replace(self.found) if self.mx is None else replace(self.found, mx=self.mx)

    async def reconsider(self, evidence: DestinationEvidence) -> bool:
        return self.changed

    async def host(self, host: MxHost, port: int) -> TargetHost:
        self.asked.append((host, port))
        return self.host_found

    def monotonic(self) -> float:
        return self.now


def both(**settings: object) -> tuple[Counting, RecentDiscoverer]:
    counting = Counting(**settings)  # type: ignore[arg-type]  # a test's settings
    return counting, RecentDiscoverer(counting, counting.monotonic)


async def test_a_destination_is_looked_at_once_in_five_seconds() -> None:
    counting, recent = both()
    first = await recent.destination(HOP)
    assert await recent.destination(HOP) is first
    counting.now = EVIDENCE_SECONDS - 0.001
    assert await recent.destination(HOP) is first
    counting.now = EVIDENCE_SECONDS
    assert await recent.destination(HOP) is not first
    assert len(counting.asked) == 2


async def test_senders_and_ports_have_answers_of_their_own() -> None:
    counting, recent = both()
    for sender in (None, "a.example", "b.example", None):
        await recent.destination(HOP, sender)
    await recent.destination(NextHop("example.org", 26))
    assert len(counting.asked) == 4


async def test_what_could_not_be_found_out_is_asked_for_again() -> None:
    counting, recent = both(mx=failure("example.org", "MX"))
    for _ in range(2):
        await recent.destination(HOP)
    assert len(counting.asked) == 2
    broken = target(answered=failure("_25._tcp.mx.example.net", "TLSA"))
    counting, recent = both(host_found=broken)
    for _ in range(2):
        await recent.host(broken.host, 25)
    assert len(counting.asked) == 2


async def test_a_host_is_looked_at_once_in_five_seconds() -> None:
    counting, recent = both()
    host = counting.host_found.host
    assert await recent.host(host, 25) is await recent.host(host, 25)
    counting.now = EVIDENCE_SECONDS
    await recent.host(host, 25)
    assert len(counting.asked) == 2


async def test_another_policy_ends_what_was_remembered() -> None:
    counting, recent = both()
    first = await recent.destination(HOP)
    assert await recent.reconsider(first)
    assert await recent.destination(HOP) is not first
    counting.changed = False
    second = await recent.destination(HOP)
    assert not await recent.reconsider(second)
    assert await recent.destination(HOP) is second


async def test_only_so_much_is_remembered() -> None:
    counting, recent = both()
    for number in range(MAX_RECENT + 1):
        await recent.destination(NextHop(f"d{number}.example", 25))
    await recent.destination(NextHop("d0.example", 25))
    assert len(counting.asked) == MAX_RECENT + 2


def test_routes_are_told_as_they_are() -> None:
    assert both()[1].destination_key("example.org") == "example.org by route"


async def test_what_ends_sooner_is_asked_for_again_then() -> None:
    """A negative trust anchor or an exception that ends, or a TTL that runs out."""
    ending = target()
    assert isinstance(ending.tlsa, Answer)
    ending = replace(ending, at=NOW, tlsa=replace(ending.tlsa, expires_at=NOW + 0.25))
    counting, recent = both(host_found=ending)
    await recent.host(ending.host, 25)
    counting.now = 0.24
    await recent.host(ending.host, 25)
    assert len(counting.asked) == 1
    counting.now = 0.25
    await recent.host(ending.host, 25)
    assert len(counting.asked) == 2


def found_at(now: float, *, ttl: float) -> DestinationEvidence:
    found = destination("10 mx.example.net.")
    assert isinstance(found.mx, Answer)
    return replace(found, at=now, mx=replace(found.mx, expires_at=now + ttl))


def test_evidence_ends_with_its_exception() -> None:
    mild = RuleException(allow_clear=True, why="they move", until=NOW + 0.5)
    assert replace(found_at(NOW, ttl=60), rule=replace(rule(), exception=mild)).ends_at == NOW + 0.5


def test_rfc1035_3_2_1_a_ttl_of_zero_serves_the_work_at_hand() -> None:
    assert found_at(NOW, ttl=0).ends_at == NOW + RECENT_SECONDS
    host = target()
    assert isinstance(host.tlsa, Answer)
    assert replace(host, at=NOW, tlsa=replace(host.tlsa, expires_at=NOW)).ends_at == NOW + RECENT_SECONDS


async def test_no_answer_is_used_beyond_its_ttl() -> None:
    counting, recent = both(found=found_at(NOW, ttl=3))
    for now, asked in ((0.0, 1), (2.9, 1), (3.0, 2)):
        counting.now = now
        await recent.destination(HOP)
        assert len(counting.asked) == asked


@pytest.mark.parametrize(
    "unknown",
    [
        {"sts": PolicyUnavailable("the lookup failed")},
        {"memory": MemoryUnreadable("damaged")},
        {"smtp_tls": failure("_smtp-tls._tcp.example.org", "SRV")},
    ],
    ids=["policy", "memory", "announced port"],
)
async def test_what_could_not_be_found_out_beside_it_is_asked_for_after_a_second(unknown: dict[str, Any]) -> None:
    counting, recent = both(found=replace(found_at(NOW, ttl=60), **unknown))
    for now, asked in ((0.0, 1), (RECENT_SECONDS - 0.01, 1), (RECENT_SECONDS, 2)):
        counting.now = now
        await recent.destination(HOP)
        assert len(counting.asked) == asked
