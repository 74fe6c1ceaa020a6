"""The contract of trust points that workers share (RFC 5011): no older copy wins, and a revocation always does."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.ports import TrustPointMemory
from letterlock.resolver.rollover import KeyState, TrustPoint, from_json, to_json
from letterlock.state.shared_state import STATE_ENGINES, open_state
from letterlock.state.trust_points import TrustPointFile
from tests.contract.interleaving import Chooser, in_every_order, race
from tests.contract.shared_anchors import DEEDS, NEW, OLD, Deed, OneMemory, Race, prior
from tests.discover.test_anchor_keeper import anchor
from tests.resolver.test_rollover import ROOT, states


@pytest.fixture(params=["one", "memory", *STATE_ENGINES])
def memories(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TrustPointMemory, TrustPointMemory]]:
    """One trust point as two workers see it."""
    if request.param == "one":
        memory = OneMemory(prior(trusted=True))
        yield memory, memory
        return
    state = open_state(request.param, None if request.param == "memory" else tmp_path)
    other = state if request.param == "memory" else open_state(request.param, tmp_path)
    ours, theirs = (each.trust_point(ROOT, [anchor(OLD)]) for each in (state, other))
    ours.change(lambda _: prior(trusted=True))
    yield ours, theirs


def test_what_one_stores_the_other_reads_and_changes_follow_from_it(
    memories: tuple[TrustPointMemory, TrustPointMemory],
) -> None:
    ours, theirs = memories
    assert theirs.load() == prior(trusted=True)
    seen: list[float] = []

    def later(point: TrustPoint) -> TrustPoint:
        seen.append(point.check_at)
        return replace(point, check_at=point.check_at + 1)

    for memory in (ours, theirs, ours):
        memory.change(later)
    first = prior(trusted=True).check_at
    assert seen == [first, first + 1, first + 2]
    assert ours.load().check_at == theirs.load().check_at == first + 3


@pytest.mark.parametrize("revokes", [True, False], ids=["one is revoked", "one is new"])
@pytest.mark.parametrize(
    ("ours", "theirs"), list(itertools.combinations_with_replacement(DEEDS, 2)), ids=lambda one: one.__name__
)
async def test_rfc5011_2_every_worker_drops_a_revoked_key_and_learns_a_new_one_whatever_the_order(
    ours: Deed, theirs: Deed, *, revokes: bool
) -> None:
    async def once(chooser: Chooser) -> None:
        made = Race(OneMemory(prior(trusted=revokes)), revokes=revokes)
        first, second = made.workers
        await race(
            chooser,
            [(first.door, ours(made, first)), (second.door, theirs(made, second)), (made.roll_door, made.roll())],
        )
        await made.check()

    assert await in_every_order(once) >= 6


async def test_the_same_over_one_file(tmp_path: Path) -> None:
    async def once(chooser: Chooser) -> None:
        file = TrustPointFile(tmp_path, ROOT, [anchor(OLD)])
        file.change(lambda _: prior(trusted=True))
        made = Race(file)
        first, second = made.workers
        await race(
            chooser,
            [(first.door, made.look(first)), (second.door, made.restart(second)), (made.roll_door, made.roll())],
        )
        await made.check()

    assert await in_every_order(once) > 10


def test_a_file_that_an_older_version_wrote_is_read() -> None:
    values = json.loads(to_json(prior(trusted=True)))
    del values["seen_at"]
    point = from_json(json.dumps(values))
    assert point.seen_at == 0
    assert states(point) == {OLD.record().key: KeyState.VALID, NEW.record().key: KeyState.VALID}
