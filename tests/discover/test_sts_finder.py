"""Finding a domain's policy: what is asked, fetched, kept and told (RFC 8461 sections 3, 5.1, 10.2)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import dns.rdatatype
import pytest

from letterlock.discover.sts_finder import MAX_REFRESHES, StsFinder
from letterlock.mtasts import (
    Absent,
    Fetched,
    FetchFailed,
    FetchFailure,
    Known,
    KnownPolicy,
    Mode,
    PolicyTrouble,
    PolicyUnavailable,
    StsEvidence,
)
from letterlock.ports import PolicyMemory
from letterlock.queue.store import StoreFailed
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Security
from letterlock.state.policies import PolicyStore
from tests.policy.evidence import answer, failure

DOMAIN, HOST, NOW, DAY = "example.org", "mta-sts.example.org", 1_800_000_000.0, 86_400.0
ADDRESSES = ("2001:db8::1", "192.0.2.1")
BLOCKED = FetchFailed(FetchFailure.FETCH, "no answer")


def text(mode: str = "enforce", max_age: int = 604_800) -> Fetched:
    return Fetched(f"version: STSv1\nmode: {mode}\nmx: mx.example.org\nmax_age: {max_age}\n".encode())


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class World:
    """DNS, HTTPS and disk, as a test sets them, and what was asked of them."""

    def __init__(self, policies: PolicyMemory) -> None:
        self.clock = Clock()
        self.policies = policies
        self.records: dict[str, Answer | LookupFailure] = {}
        self.outcome: Fetched | FetchFailed = text()
        self.asked: list[str] = []
        self.fetches: list[tuple[str, tuple[str, ...]]] = []
        self.fetching, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.at_once = self.most_at_once = 0
        self.finder = self.restarted()
        for name in (DOMAIN, *(f"{number}.example" for number in range(20))):
            self.put(answer(f"mta-sts.{name}", "A", "192.0.2.1"), answer(f"mta-sts.{name}", "AAAA", "2001:db8::1"))
        self.publish("1")

    def restarted(self) -> StsFinder:
        self.finder = StsFinder(self, self.fetch, self.policies, self.clock, lambda: 0.0)
        return self.finder

    def put(self, *lookups: Answer | LookupFailure) -> None:
        for one in lookups:
            self.records[str(one.question)] = one

    def publish(self, policy_id: str, domain: str = DOMAIN) -> None:
        self.put(answer(f"_mta-sts.{domain}", "TXT", f'"v=STSv1; " "id={policy_id};"', security=Security.INSECURE))

    def withhold(self, *records: str) -> None:
        self.put(answer(f"_mta-sts.{DOMAIN}", "TXT", *records))

    async def resolve(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer | LookupFailure:
        asked = f"{name} {dns.rdatatype.to_text(rdtype)}"
        self.asked.append(asked)
        return self.records.get(asked.replace(" ", ". ")) or answer(name, dns.rdatatype.to_text(rdtype))

    async def fetch(self, host: str, addresses: Sequence[str]) -> Fetched | FetchFailed:
        self.fetches.append((host, tuple(addresses)))
        self.fetching.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        await self.gate.wait()
        self.at_once -= 1
        return self.outcome

    async def known(self, domain: str = DOMAIN) -> Known:
        found = await self.finder.find(domain)
        assert isinstance(found, Known), found
        return found


class BrokenPolicies:
    """A disk that takes and gives nothing."""

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        raise StoreFailed("cannot read")

    async def due(self, now: float, limit: int) -> Sequence[KnownPolicy]:
        raise StoreFailed("cannot read")

    async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
        raise StoreFailed("cannot write")


class FullDisk(BrokenPolicies):
    """A disk that is read only: what it holds can be read."""

    def __init__(self, stored: KnownPolicy | None) -> None:
        self.stored = stored

    async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
        return self.stored


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = PolicyStore.open(tmp_path)
    yield World(store)
    await store.close()


async def test_rfc8461_3_3_txt_then_addresses_then_the_policy(world: World) -> None:
    found = await world.known()
    assert world.asked[0] == f"_mta-sts.{DOMAIN} TXT"
    assert sorted(world.asked[1:]) == [f"{HOST} A", f"{HOST} AAAA"]
    assert world.fetches == [(HOST, ADDRESSES)]
    assert (found.id, found.policy.mode, found.from_cache, found.fetched_at) == ("1", Mode.ENFORCE, False, NOW)
    assert await world.policies.load(DOMAIN) is not None


async def test_rfc8461_3_1_without_a_record_nothing_is_fetched(world: World) -> None:
    world.withhold('"v=spf1 -all"')
    assert await world.finder.find(DOMAIN) == Absent()
    world.withhold('"v=STSv1; id=1;"', '"v=STSv1; id=2;"')
    found = await world.finder.find(DOMAIN)
    assert isinstance(found, Absent)
    assert found.detail
    assert world.fetches == []


async def test_input_24_a_record_that_is_nearly_one_is_no_policy_and_says_why(world: World) -> None:
    world.withhold('"v=STSV1; id=1;"')
    found = await world.finder.find(DOMAIN)
    assert isinstance(found, Absent)
    assert "upper and lower case matter" in (found.detail or "")
    world.publish("1")
    await world.known()
    world.withhold('"v=STSV1; id=1;"')
    assert "upper and lower case matter" in ((await world.known()).trouble or "")


@pytest.mark.parametrize("kind", list(FailureKind))
async def test_rfc8461_3_1_a_failed_txt_lookup_is_not_an_absence(kind: FailureKind, world: World) -> None:
    world.put(failure(f"_mta-sts.{DOMAIN}", "TXT", kind))
    found = await world.finder.find(DOMAIN)
    assert isinstance(found, PolicyUnavailable)
    assert found.kind is None
    assert kind.value in found.detail


async def test_rfc8461_3_4_a_subdomain_does_not_inherit_the_policy(world: World) -> None:
    assert await world.finder.find("sub.example.org") == Absent()
    assert world.asked == ["_mta-sts.sub.example.org TXT"]


async def test_rfc8461_3_4_the_policy_host_is_that_of_the_policy_domain_whatever_the_alias(world: World) -> None:
    alias = ("_mta-sts.provider.example.", Security.SECURE)
    world.put(answer(f"_mta-sts.{DOMAIN}", "TXT", '"v=STSv1; id=1;"', aliases=[alias]))
    await world.known()
    assert world.fetches == [(HOST, ADDRESSES)]


@pytest.mark.parametrize("domain", ["[192.0.2.1]", "[IPv6:2001:db8::1]", ".".join(["a" * 49] * 5)])
async def test_what_cannot_have_a_policy_is_not_asked_for(domain: str, world: World) -> None:
    assert await world.finder.find(domain) == Absent()
    assert world.asked == []


async def test_rfc8461_3_3_no_address_is_a_failed_fetch(world: World) -> None:
    world.put(answer(HOST, "A"), answer(HOST, "AAAA"))
    assert await world.finder.find(DOMAIN) == PolicyUnavailable(f"{HOST} has no address", FetchFailure.FETCH)
    assert world.fetches == []


async def test_bogus_addresses_of_the_policy_host_are_not_used(world: World) -> None:
    world.put(failure(HOST, "A", FailureKind.BOGUS), failure(HOST, "AAAA", FailureKind.BOGUS))
    found = await world.finder.find(DOMAIN)
    assert isinstance(found, PolicyUnavailable)
    assert found.kind is FetchFailure.FETCH
    assert "bogus" in found.detail
    world.clock.time += 300
    world.put(answer(HOST, "AAAA", "2001:db8::1", security=Security.INSECURE))
    await world.known()
    assert world.fetches == [(HOST, ("2001:db8::1",))]


async def test_rfc8461_3_3_a_failed_fetch_is_not_tried_again_within_five_minutes(world: World) -> None:
    world.outcome = BLOCKED
    for _ in range(3):
        assert await world.finder.find(DOMAIN) == PolicyUnavailable("no answer", FetchFailure.FETCH)
    world.clock.time += 299
    await world.finder.find(DOMAIN)
    assert len(world.fetches) == 1
    world.clock.time += 1
    world.outcome = text()
    await world.known()
    assert len(world.fetches) == 2


async def test_rfc8461_3_3_a_body_that_is_no_policy_waits_too(world: World) -> None:
    world.outcome = Fetched(b"<html>")
    for _ in range(2):
        found = await world.finder.find(DOMAIN)
        assert isinstance(found, PolicyUnavailable)
        assert found.kind is FetchFailure.INVALID
    assert len(world.fetches) == 1


async def test_rfc8461_3_3_a_policy_is_fetched_once_and_survives_a_restart(world: World) -> None:
    await world.known()
    assert (await world.known()).from_cache
    world.restarted()
    assert (await world.known()).from_cache
    assert len(world.fetches) == 1


async def test_rfc8461_5_1_a_new_id_is_fetched(world: World) -> None:
    await world.known()
    world.publish("2")
    world.outcome = text("testing")
    found = await world.known()
    assert (found.id, found.policy.mode, found.from_cache) == ("2", Mode.TESTING, False)


async def test_rfc8461_10_2_a_removed_txt_record_does_not_shake_off_the_policy(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.known()
    world.withhold()
    for _ in range(3):
        found = await world.known()
        assert (found.policy.mode, found.sign, found.suspicious) == (Mode.ENFORCE, PolicyTrouble.TXT_MISSING, True)
    assert caplog.text.count("an attacker may be blocking it") == 1  # told when it begins, and not with each mail
    world.restarted()
    assert (await world.known()).since == NOW


async def test_rfc8461_10_2_a_blocked_fetch_does_not_shake_off_the_policy(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.known()
    world.clock.time += DAY
    world.outcome = BLOCKED
    for _ in range(3):
        found = await world.known()
        assert (found.policy.mode, found.sign, found.suspicious) == (Mode.ENFORCE, PolicyTrouble.REFRESH_FAILED, True)
    assert len(world.fetches) == 2
    assert caplog.text.count("an attacker may be blocking it") == 1


async def test_rfc8461_10_2_blocking_everything_works_only_after_the_policy_expired(world: World) -> None:
    await world.known()
    world.put(failure(f"_mta-sts.{DOMAIN}", "TXT", FailureKind.TIMEOUT))
    world.outcome = BLOCKED
    for _ in range(7 * 24 - 1):
        world.clock.time += 3_600
        assert (await world.known()).suspicious
    world.clock.time += 3_600
    assert isinstance(await world.finder.find(DOMAIN), PolicyUnavailable)


async def test_rfc8461_8_3_a_withdrawn_policy_is_forgotten_without_alarm(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.known()
    world.publish("2")
    world.outcome = text("none")
    assert (await world.known()).policy.mode is Mode.NONE
    world.withhold()
    assert await world.finder.find(DOMAIN) == Absent()
    assert await world.policies.load(DOMAIN) is None
    assert "attacker" not in caplog.text


async def test_changes_of_a_policy_are_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await world.known()
    world.publish("2")
    await world.known()
    await world.known()
    told = [record.getMessage() for record in caplog.records if record.name == "letterlock.mtasts"]
    assert told == [
        "MTA-STS policy of example.org: mode enforce, id 1",
        "MTA-STS policy of example.org: mode enforce, id 2",
    ]


async def test_who_asks_at_the_same_time_shares_the_work(world: World) -> None:
    world.gate.clear()
    asking = [asyncio.ensure_future(world.finder.find(DOMAIN)) for _ in range(10)]
    await world.fetching.wait()
    asking[0].cancel()  # one gives up
    world.gate.set()
    found: list[StsEvidence | BaseException] = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, Known) for one in found[1:])
    assert len(world.fetches) == 1
    assert world.asked.count(f"_mta-sts.{DOMAIN} TXT") == 1


async def test_rfc8461_5_1_a_recheck_looks_after_it_was_asked_for(world: World) -> None:
    world.gate.clear()
    first = asyncio.ensure_future(world.finder.find(DOMAIN))
    await world.fetching.wait()
    world.publish("2")
    second = asyncio.create_task(world.finder.recheck(DOMAIN))
    await asyncio.sleep(0)
    world.gate.set()
    ids = [found.id for found in await asyncio.gather(first, second) if isinstance(found, Known)]
    assert ids == ["1", "2"]
    assert await world.finder.recheck(DOMAIN) == await world.known()


async def test_rfc8461_10_2_due_policies_are_refreshed_a_few_at_a_time(world: World) -> None:
    domains = [f"{number}.example" for number in range(20)]
    for domain in domains:
        world.publish("1", domain)
        await world.known(domain)
    world.fetches.clear()
    world.most_at_once = 0
    assert await world.finder.refresh_due(world.clock.time) == 0
    world.clock.time += DAY
    assert await world.finder.refresh_due(world.clock.time) == 20
    assert sorted(host for host, _ in world.fetches) == sorted(f"mta-sts.{domain}" for domain in domains)
    assert 1 < world.most_at_once <= MAX_REFRESHES
    assert await world.finder.refresh_due(world.clock.time) == 0


async def test_rfc8461_10_2_a_refresh_needs_no_txt_record(world: World) -> None:
    await world.known()
    world.withhold()
    world.clock.time += DAY
    assert await world.finder.refresh_due(world.clock.time) == 1
    entry = await world.policies.load(DOMAIN)
    assert entry is not None
    assert entry.fetched_at == world.clock.time


async def test_a_broken_disk_is_no_absence_and_policies_hold_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    world = World(BrokenPolicies())
    world.withhold()
    found = await world.finder.find(DOMAIN)
    assert isinstance(found, PolicyUnavailable)
    assert "cannot read" in found.detail
    world.publish("1")
    await world.known()
    world.withhold()
    assert (await world.known()).suspicious
    assert len(world.fetches) == 1
    assert "is kept in memory only: cannot write" in caplog.text
    assert await world.finder.refresh_due(NOW + DAY) == 0


async def test_what_a_full_disk_did_not_take_holds_until_something_newer_is_stored(world: World) -> None:
    await world.known()
    stored = await world.policies.load(DOMAIN)
    assert stored is not None
    world.policies = disk = FullDisk(None)
    world.restarted()
    world.clock.time += 60
    world.publish("2")
    await world.known()
    world.withhold()
    world.outcome = BLOCKED
    assert (await world.known()).id == "2"
    disk.stored = stored
    assert (await world.known()).id == "2", "an older row, from another process"
    disk.stored = replace(stored, id="3", fetched_at=world.clock.time + 1)
    assert (await world.known()).id == "3"


async def test_closing_ends_what_is_under_way(world: World) -> None:
    world.gate.clear()
    asking = asyncio.ensure_future(world.finder.find(DOMAIN))
    await world.fetching.wait()
    await world.finder.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await world.finder.close()
