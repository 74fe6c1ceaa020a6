"""What the control server answers, also to whoever asks what he should not."""

import json
from typing import Any, cast

import pytest

from letterlock.admin.requests import BadRequest, Hooks, answer
from letterlock.queue.orders import MAX_ORDERED
from tests.deliver.world import HandClock
from tests.memory_store import MemoryStore
from tests.queue.messages import ANN, BODY, CAT, envelope


class World:
    """A store, and whoever asks."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.woken = 0
        self.forgiven: list[str | None] = []

    def wake(self) -> None:
        """Something became due."""
        self.woken += 1

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Ask, by way of JSON."""
        hooks = Hooks(self.wake, self.forgiven.append)
        answered = await answer(json.loads(json.dumps(request)), self.store, HandClock(), hooks)
        return cast("dict[str, Any]", json.loads(json.dumps(answered)))

    async def accept(self, count: int) -> list[str]:
        """Accept so many messages; their ids."""
        names = [f"M{number:04}" for number in range(count)]
        for name in names:
            await self.store.accept(envelope(name, ANN, CAT), BODY, next_attempt_at=9e9)
        return names


@pytest.fixture
def world() -> World:
    return World()


async def test_an_order_is_carried_out_a_page_at_a_time(world: World) -> None:
    names = await world.accept(MAX_ORDERED + 1)
    first = await world.ask(verb="queue.order", order="hold", wanted={})
    assert (first["matched"], first["ids"], first["after"]) == (MAX_ORDERED, names[:-1], names[-2])
    rest = await world.ask(verb="queue.order", order="hold", wanted={}, after=first["after"])
    assert rest == {"ids": names[-1:], "matched": 1, "after": None}
    assert (await world.ask(verb="queue.count", wanted={"state": "held"}, after=names[0]))["count"] == MAX_ORDERED


async def test_whoever_delivers_is_woken_when_something_changed_and_only_then(world: World) -> None:
    await world.accept(1)
    await world.ask(verb="queue.order", order="hold", wanted={"ids": ["M0001"]})
    assert world.woken == 0
    await world.ask(verb="queue.order", order="retry", wanted={"ids": ["M0000"]})
    assert (world.woken, world.forgiven) == (1, [])


async def test_a_flush_forgives_once_and_not_with_each_page(world: World) -> None:
    names = await world.accept(MAX_ORDERED + 1)
    await world.ask(verb="queue.order", order="flush", wanted={"domain": "one.test"})
    await world.ask(verb="queue.order", order="flush", wanted={"domain": "one.test"}, after=names[-2])
    assert world.forgiven == ["one.test"]


async def test_counts_come_with_their_ages(world: World) -> None:
    await world.accept(3)
    found = await world.ask(verb="queue.stats", by="domain", after=None)
    assert [(each["key"], each["waiting"], each["ages"]) for each in found["tallies"]] == [
        ("one.test", 3, [0, 0, 0, 0, 0, 3]),
        ("two.test", 3, [0, 0, 0, 0, 0, 3]),
    ]
    assert await world.ask(verb="queue.size") == {"count": 3}


@pytest.mark.parametrize(
    "request_",
    [
        {"verb": "shutdown"},
        {"verb": "queue.order", "order": "explode", "wanted": {}},
        {"verb": "queue.order", "order": "hold", "wanted": None},
        {"verb": "queue.order", "order": "hold", "wanted": {"colour": "red"}},
        {"verb": "queue.order", "order": "hold", "wanted": {"domain": 5}},
        {"verb": "queue.order", "order": "hold", "wanted": {"ids": "M0000"}},
        {"verb": "queue.order", "order": "hold", "wanted": {"ids": ["M0000"] * (MAX_ORDERED + 1)}},
        {"verb": "queue.order", "order": "hold", "wanted": {"state": "sent"}},
        {"verb": "queue.order", "order": "hold", "wanted": {"state": []}},
        {"verb": "queue.order", "order": "hold", "wanted": {"accepted_before": "now"}},
        {"verb": "queue.order", "order": "hold", "wanted": {"sender": "\ud800"}},
        {"verb": "queue.order", "order": "hold", "wanted": {"reason": "x" * 1_001}},
        {"verb": "queue.order", "order": "hold", "wanted": {}, "reason": "two\nlines"},
        {"verb": "queue.order", "order": "hold", "wanted": {}, "reason": ["a list"]},
        {"verb": "queue.order", "order": "release", "wanted": {}, "only": "nothing"},
        {"verb": "queue.order", "order": "release", "wanted": {}, "only": {}},
        {"verb": "queue.order", "order": "hold", "wanted": {}, "after": 7},
        {"verb": "queue.stats", "by": "colour", "after": None},
        {"verb": "queue.list", "after": 5},
        [],
        None,
        "queue.list",
    ],
)
async def test_what_is_no_request_is_refused_and_changes_nothing(world: World, request_: Any) -> None:
    [name] = await world.accept(1)
    before = await world.store.message(name)
    with pytest.raises(BadRequest):
        await answer(request_, world.store, HandClock(), Hooks(world.wake))
    assert await world.store.message(name) == before
    assert world.woken == 0


async def test_what_cannot_be_an_id_is_no_message(world: World) -> None:
    await world.accept(1)
    strange = ["\x1b[2J", "\x00", "M0000\n", "\ud800", "é", "", 7, None, {}]
    assert await world.ask(verb="queue.order", order="remove", wanted={"ids": strange}) == {
        "ids": [],
        "matched": 0,
        "after": None,
    }
    for each in ("\ud800", "M0000 ", "x" * 65):
        assert await world.ask(verb="queue.show", id=each) == {"message": None}
