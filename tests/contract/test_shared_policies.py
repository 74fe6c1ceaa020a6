"""The contract of remembered MTA-STS policies that several workers share: no older copy wins over a newer row."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.mtasts import KnownPolicy
from letterlock.ports import PolicyMemory
from letterlock.state.policies import PolicyStore
from letterlock.state.shared_state import STATE_ENGINES, open_state
from tests.contract.interleaving import Chooser, Gate, in_every_order, race
from tests.contract.shared_policies import DEEDS, EXPIRED, OLD, PRIORS, Deed, DictPolicies, Race
from tests.discover.test_sts_finder import DOMAIN, NOW

NEW, OTHER = replace(OLD, id="2", fetched_at=NOW), replace(OLD, id="3", fetched_at=NOW + 1)


@pytest.fixture(params=["dict", "memory", *STATE_ENGINES])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[PolicyMemory, PolicyMemory]]:
    """One place for policies as two workers see it."""
    if request.param == "dict":
        policies = DictPolicies()
        yield policies, policies
        return
    if request.param == "memory":
        state = open_state("", None)
        yield state.policies(), state.policies()
        await state.close()
        return
    ours, theirs = open_state(request.param, tmp_path), open_state(request.param, tmp_path)
    yield ours.policies(), theirs.policies()
    await ours.close()
    await theirs.close()


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("ours", [None, OLD, NEW])
@pytest.mark.parametrize("theirs", [None, OLD, NEW, OTHER])
async def test_of_two_who_read_the_same_row_one_replaces_it(
    both: tuple[PolicyMemory, PolicyMemory],
    before: KnownPolicy | None,
    ours: KnownPolicy | None,
    theirs: KnownPolicy | None,
) -> None:
    one, other = both
    assert await one.swap(DOMAIN, None, before, NOW)
    assert await other.load(DOMAIN, NOW) == before
    assert await one.swap(DOMAIN, before, ours, NOW)
    assert await other.swap(DOMAIN, before, theirs, NOW) is (ours == before)
    held = theirs if ours == before else ours
    assert [await each.load(DOMAIN) for each in both] == [held, held]
    assert list(await other.due(NOW, 10)) == ([held] if held is not None else [])


async def _lay_down(shared: PolicyMemory, prior: KnownPolicy | None) -> None:
    assert await shared.swap(DOMAIN, await shared.load(DOMAIN), prior, NOW)


@pytest.mark.parametrize("prior", PRIORS, ids=["nothing", "an old policy", "an expired policy"])
@pytest.mark.parametrize(
    ("ours", "theirs"), list(itertools.combinations_with_replacement(DEEDS, 2)), ids=lambda one: one.__name__
)
async def test_rfc8461_10_2_protection_survives_every_order_of_what_two_workers_do(
    ours: Deed, theirs: Deed, prior: KnownPolicy | None
) -> None:
    async def once(chooser: Chooser) -> None:
        shared = DictPolicies()
        await _lay_down(shared, prior)
        made = Race(shared)
        first, second = made.sides
        await race(chooser, [(first.door, ours(made, first)), (second.door, theirs(made, second))])
        await made.check()

    assert await in_every_order(once) >= 2


@pytest.mark.parametrize("prior", PRIORS, ids=["nothing", "an old policy", "an expired policy"])
async def test_the_same_over_one_file(tmp_path: Path, prior: KnownPolicy | None) -> None:
    """A write against a deletion in every order, over two connections to one database."""
    stores = [PolicyStore.open(tmp_path) for _ in range(2)]

    class Alternating(DictPolicies):
        """Each verb by the other connection."""

        async def load(self, domain: str, used_at: float | None = None) -> KnownPolicy | None:
            stores.reverse()
            return await stores[0].load(domain, used_at)

        async def swap(self, domain: str, before: KnownPolicy | None, after: KnownPolicy | None, now: float) -> bool:
            stores.reverse()
            return await stores[0].swap(domain, before, after, now)

    async def once(chooser: Chooser) -> None:
        await _lay_down(stores[0], prior)
        made = Race(Alternating())
        first, second = made.sides
        await race(chooser, [(first.door, made.write(first)), (second.door, made.delete(second))])
        await made.check()

    assert await in_every_order(once) > 10
    for store in stores:
        await store.close()


async def test_input_13_an_older_copy_in_memory_does_not_win(tmp_path: Path) -> None:
    """A remembers `testing` id 1, B stores `enforce` id 2, HTTPS is blocked: `enforce` holds in both, and later on."""
    stores = PolicyStore.open(tmp_path), PolicyStore.open(tmp_path)
    await _lay_down(stores[0], replace(OLD, refresh_at=NOW + 1))
    made = Race(stores[0])
    ours, theirs = made.sides
    for side, store in zip(made.sides, stores, strict=True):
        side.policies = store
        side.restarted()
        side.door.free = True
    await made.read(ours)
    await made.write(theirs)
    made.clock.time += 2
    await made.read(ours)
    await made.expire(ours)
    await made.check()
    for store in stores:
        await store.close()


async def test_every_order_is_run_once() -> None:
    seen: list[str] = []

    async def once(chooser: Chooser) -> None:
        order: list[str] = []
        gates = Gate(), Gate()

        async def work(gate: Gate, name: str) -> None:
            for _ in range(2):
                await gate.step()
                order.append(name)

        await race(chooser, [(gates[0], work(gates[0], "a")), (gates[1], work(gates[1], "b"))])
        seen.append("".join(order))

    assert await in_every_order(once) == 6
    assert sorted(seen) == ["aabb", "abab", "abba", "baab", "baba", "bbaa"]
    assert EXPIRED.expires_at < NOW
