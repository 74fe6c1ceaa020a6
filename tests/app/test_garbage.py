"""The cycle collector runs while there is time, and not while mail waits."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from letterlock import spare_time
from letterlock.app import garbage
from letterlock.app.garbage import OLDER, OLDEST, YOUNG_OBJECTS, collect_in_spare_time, generation_due, spare_collector


class Knot:
    """What only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """A collector that does nothing by itself, and is left as it was."""
    thresholds = gc.get_threshold()
    gc.disable()
    yield
    gc.set_threshold(*thresholds)
    gc.enable()


@pytest.mark.parametrize(
    ("counts", "generation"),
    [
        ((YOUNG_OBJECTS, 0, 0), 0),
        ((YOUNG_OBJECTS - 1, OLDER, OLDEST), None),
        ((20 * YOUNG_OBJECTS, OLDER, 0), 1),
        ((YOUNG_OBJECTS, OLDER, OLDEST), 2),
    ],
    ids=["much is new", "little is new", "several were collected", "very many were collected"],
)
def test_what_is_new_is_looked_through_when_there_is_time(counts: tuple[int, int, int], generation: int | None) -> None:
    assert generation_due(counts) == generation


async def test_garbage_goes_while_the_process_idles(undisturbed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(spare_time, "IDLE_SHARE", 1000.0)
    monkeypatch.setattr(garbage, "YOUNG_OBJECTS", 0)
    gone = asyncio.Event()
    weakref.finalize(Knot(), gone.set)
    collecting = asyncio.create_task(collect_in_spare_time())
    await gone.wait()
    collecting.cancel()


def test_a_busy_process_is_not_left_with_garbage_for_ever(undisturbed: None) -> None:
    """Beyond so many new objects the collector runs whatever else is to be done."""
    spare_collector()
    assert gc.get_threshold() == (garbage.MOST_YOUNG_OBJECTS, OLDER, OLDEST)
    gc.unfreeze()
