"""Several processes that remember MTA-STS policies in one place: what one has seen holds for all."""

import asyncio
from pathlib import Path

from letterlock.discover.sts_finder import StsFinder
from letterlock.mtasts import Absent, Known
from letterlock.resolver.answer import FailureKind
from letterlock.state.policies import PolicyStore
from tests.discover.test_sts_finder import BLOCKED, DOMAIN, World
from tests.policy.evidence import failure


def another(world: World, store: PolicyStore) -> StsFinder:
    """A finder in another process: its own memory, the same file."""
    return StsFinder(world, world.fetch, store, world.clock, lambda: 0.0)


async def test_rfc8461_10_2_first_contact_of_one_worker_is_that_of_all(tmp_path: Path) -> None:
    ours, theirs = PolicyStore.open(tmp_path), PolicyStore.open(tmp_path)
    world = World(ours)
    first, second = another(world, ours), another(world, theirs)
    world.withhold()
    assert isinstance(await second.find(DOMAIN), Absent), "asked before there was a policy"
    world.publish("1")
    assert isinstance(await first.find(DOMAIN), Known)
    world.put(failure(f"_mta-sts.{DOMAIN}", "TXT", FailureKind.SERVFAIL))
    world.outcome = BLOCKED
    held = await second.find(DOMAIN)
    assert isinstance(held, Known), "the attacker came too late for both"
    assert held.suspicious
    await ours.close()
    await theirs.close()


async def test_two_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    ours, theirs = PolicyStore.open(tmp_path), PolicyStore.open(tmp_path)
    world = World(ours)
    for number in range(20):
        world.publish("1", f"{number}.example")
    finders = another(world, ours), another(world, theirs)
    await asyncio.gather(*(finders[number % 2].find(f"{number}.example") for number in range(20)))
    assert len(await ours.load_all()) == 20
    await ours.close()
    await theirs.close()
