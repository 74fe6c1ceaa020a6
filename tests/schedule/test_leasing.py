"""What comes from the store into the waiting room, and what stays there."""

from dataclasses import replace

import pytest

from letterlock.deliver.options import DeliverOptions
from letterlock.deliver.outcomes import deferred
from letterlock.queue.tasks import DeliveryTask
from letterlock.schedule import leasing
from letterlock.schedule.backoff import MAX_SECONDS, PATIENCE, Backoff
from letterlock.schedule.lease_keeper import LeaseKeeper
from letterlock.schedule.leasing import GIVEN_BACK_SECONDS, LEASE_BATCH, LOOK_AT_ALL_SECONDS, LOOK_SECONDS, Leasing
from letterlock.schedule.slots import Slots
from tests.deliver.world import ANN, OPTIONS, HandClock
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import task_for


class World:
    """An intake between a store and slots, by hand."""

    def __init__(self, options: DeliverOptions = OPTIONS, each: int = 2) -> None:
        self.clock = HandClock()
        self.store = HandStore(self.clock)
        self.slots = Slots(total=50, each=each, max_waiting=options.max_waiting)
        self.backoff = Backoff()
        leases = LeaseKeeper(self.store, self.clock, options.lease_seconds)
        self.leasing = Leasing(
            self.store, self.clock, options, self.slots, self.backoff, lambda next_hop: next_hop, leases
        )

    def put(self, domain: str, count: int, start: int = 0) -> None:
        self.store.put(*(task_for(domain, number) for number in range(start, start + count)))

    async def look(self) -> None:
        while await self.leasing.look():
            pass

    def serve(self, domain: str, count: int) -> list[DeliveryTask]:
        """Let so many be tried and leave."""
        served: list[DeliveryTask] = []
        while len(served) < count and (task := self.slots.take()) is not None:
            self.slots.leave(domain, well=True)
            served.append(task)
        return served

    def bring_down(self, place: str) -> None:
        """Fail until its rests are long."""
        for _ in range(PATIENCE + 4):
            self.backoff.failed(place, self.clock.now(), deferred(ANN, "4.4.1", "cannot connect"))
            if (rest := self.backoff.of(place, self.clock.now())) is not None and not rest.down:
                self.clock.time = rest.until


async def test_of_a_place_only_what_will_soon_be_wanted_is_leased() -> None:
    world = World()
    world.put("slow.example", 1000)
    await world.look()
    assert world.slots.queued("slow.example") == LEASE_BATCH
    assert len(world.store.due) == 1000 - LEASE_BATCH


async def test_when_half_of_it_has_gone_the_rest_is_fetched() -> None:
    world = World()
    world.put("slow.example", 1000)
    await world.look()
    world.serve("slow.example", LEASE_BATCH // 2)
    before = world.leasing.wants("slow.example")
    world.serve("slow.example", 1)
    assert (before, world.leasing.wants("slow.example")) == (False, True)
    await world.look()
    assert world.slots.queued("slow.example") >= LEASE_BATCH // 2


async def test_everything_is_fetched_in_the_end_and_then_nobody_is_crowded() -> None:
    world, served = World(), 0
    world.put("slow.example", 450)
    while not served or world.slots.queued("slow.example"):
        await world.look()
        served += len(world.serve("slow.example", 60))
    assert served == 450
    assert not world.store.due


async def test_others_are_found_behind_a_crowded_next_hop_within_a_second() -> None:
    world = World()
    world.put("slow.example", 1000)
    world.put("quick.example", 1)
    await world.look()
    assert world.slots.queued("quick.example") == 1
    world.clock.time += 0.5
    world.put("quick.example", 1, start=1)
    assert 0 < await world.leasing.pause() <= LOOK_SECONDS
    world.clock.time += LOOK_SECONDS
    await world.look()
    assert world.slots.queued("quick.example") == 2


async def test_what_became_due_in_the_past_is_found_when_all_is_looked_at() -> None:
    world = World()
    world.put("slow.example", 1000)
    await world.look()
    world.store.due.append((world.clock.now() - 1000, task_for("quick.example", 1)))
    world.clock.time += LOOK_SECONDS
    await world.look()
    assert not world.slots.queued("quick.example"), "a clock that was set back"
    world.clock.time += LOOK_AT_ALL_SECONDS
    await world.look()
    assert world.slots.queued("quick.example") == 1


async def test_when_too_many_are_crowded_the_others_go_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "MAX_CROWDED", 1)
    world = World(replace(OPTIONS, max_waiting=2), each=1)
    for domain in ("a.example", "b.example"):
        world.put(domain, 5)
    await world.look()
    away = [until for message, until in world.store.released if message.startswith("b.example")]
    assert away
    assert set(away) == {world.clock.now() + GIVEN_BACK_SECONDS}


async def test_what_is_due_at_a_place_that_is_down_is_swept_and_nothing_else() -> None:
    world = World()
    world.put("dead.example", 300)
    world.put("slow.example", 300)
    await world.look()
    assert not await world.leasing.sweep()
    world.bring_down("dead.example")
    assert not world.leasing.room("dead.example")
    swept: list[DeliveryTask] = []
    while tasks := await world.leasing.sweep():
        swept += tasks
    assert len(swept) == 300, "those that wait in memory, and those in the store"
    assert {task.lease.next_hop for task in swept} == {"dead.example"}


async def test_when_the_rest_is_over_there_is_room_again() -> None:
    world = World()
    world.bring_down("dead.example")
    assert not world.leasing.room("dead.example")
    assert await world.leasing.pause() <= MAX_SECONDS, "then somebody looks again"
    world.clock.time += MAX_SECONDS
    assert world.leasing.room("dead.example")
    assert world.leasing.wants("dead.example")
