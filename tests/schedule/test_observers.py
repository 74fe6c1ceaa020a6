"""The deliverer and its observers: they see what is settled, and nothing of theirs touches it."""

from dataclasses import dataclass, field

from letterlock.queue.observing import Watcher
from letterlock.queue.tasks import Attempt, DeliveryTask
from tests.deliver.world import ADDRESS, HandClock, MemoryDialer, Server
from tests.schedule.hand_store import HandStore
from tests.schedule.test_deliverer import task_for, until, working


class Failing(Watcher):
    """An observer that fails for every attempt."""

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        raise OSError(28, "No space left on device")


@dataclass
class Keeping(Watcher):
    """An observer that keeps what it is shown."""

    shown: list[tuple[DeliveryTask, Attempt]] = field(default_factory=list)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        self.shown.append((task, attempt))


async def test_an_observer_that_fails_touches_no_delivery_and_no_other_observer(
    dialer: MemoryDialer,
) -> None:
    store = HandStore(HandClock())
    dialer.handlers[ADDRESS] = Server()
    keeping = Keeping()
    store.put(task_for("example.org", 1), task_for("example.org", 2))
    async with working(store, dialer, observers=(Failing(), keeping)):
        await until(lambda: len(store.settled) == 2)
    assert [len(settlement.delivered) for settlement, _ in store.settled] == [1, 1]
    assert [attempt for _, attempt in keeping.shown] == [made for _, made in store.settled]
    assert all(attempt.sessions for _, attempt in keeping.shown)
