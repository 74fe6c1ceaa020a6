"""Observers see everything in order, cost nothing when there are none, and their failures are theirs alone."""

from dataclasses import dataclass, field

import pytest

from letterlock.queue.observing import LOSS_REPORT_SECONDS, NOBODY, Observers, Watcher
from letterlock.queue.tasks import Attempt, DeliveryTask
from tests.deliver.world import make_task

TASK = make_task()
ATTEMPT = Attempt(message_id="4F2A1", next_hop="example.org", started_at=1.0, ended_at=2.0, outcomes=())


@dataclass
class Recording(Watcher):
    """Keeps what it is shown."""

    shown: list[str] = field(default_factory=list)

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        assert task.lease.message_id == attempt.message_id
        self.shown.append(attempt.message_id)


class Broken(Watcher):
    """Fails for everything."""

    def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
        raise KeyError(attempt.message_id)


@dataclass
class Reports:
    """Reports of losses, and a clock."""

    now: float = 0.0
    lost: list[int] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def report(self, error: Exception, lost: int) -> None:
        assert isinstance(error, KeyError)
        self.lost.append(lost)


def test_what_one_observer_fails_to_take_reaches_the_others_and_never_the_caller() -> None:
    recording = Recording()
    observers = Observers((Broken(), recording))
    observers.attempted(TASK, ATTEMPT)
    assert recording.shown == ["4F2A1"]
    assert observers.lost == 1


def test_losses_are_reported_at_once_and_then_now_and_then() -> None:
    reports = Reports()
    observers = Observers((Broken(),), monotonic=reports.monotonic, report=reports.report)
    for _ in range(100):
        observers.attempted(TASK, ATTEMPT)
    assert reports.lost == [1]
    reports.now = LOSS_REPORT_SECONDS
    observers.attempted(TASK, ATTEMPT)
    assert reports.lost == [1, 100]
    assert observers.lost == 101


def test_the_end_of_the_process_is_no_loss() -> None:
    class Ending(Watcher):
        def attempted(self, task: DeliveryTask, attempt: Attempt) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observers((Ending(),)).attempted(TASK, ATTEMPT)


def test_without_observers_there_is_nobody() -> None:
    NOBODY.attempted(TASK, ATTEMPT)
    assert not NOBODY
    assert Observers((Watcher(),))
