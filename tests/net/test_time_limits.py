"""Time limits with one timer for many waits."""

import asyncio

import pytest

from letterlock.net import time_limits
from letterlock.net.time_limits import Limit


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_wait_past_its_limit_ends_with_timeout_and_the_task_goes_on() -> None:
    limit = Limit()
    for _ in range(3):
        with pytest.raises(TimeoutError), limit.until(now() + 0.001):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_wait_that_ends_in_time_leaves_no_trace_for_the_next_one() -> None:
    limit = Limit()
    with limit.until(now() + 0.001):
        await asyncio.sleep(0)
    with limit.until(now() + 60):
        await asyncio.sleep(0.003)  # the old timer fires in here, and finds nothing overdue
    limit.close()


async def test_a_limit_that_passed_already_ends_the_first_wait() -> None:
    limit = Limit()
    with pytest.raises(TimeoutError), limit.until(now() - 1):
        await asyncio.Event().wait()


async def test_a_limit_can_be_moved_while_somebody_waits() -> None:
    limit = Limit()
    asyncio.get_running_loop().call_soon(lambda: limit.move(now()))
    with pytest.raises(TimeoutError), limit.until(now() + 60):
        await asyncio.Event().wait()
    limit.close()


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    limit = Limit()

    async def wait() -> None:
        with limit.until(now() + 60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    limit.close()


async def test_an_error_inside_is_not_hidden() -> None:
    limit = Limit()
    with pytest.raises(ValueError, match="mine"), limit.until(now() + 60):
        raise ValueError("mine")
    limit.close()


async def test_a_limit_is_kept_though_the_timer_looks_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limits, "LOOK_SECONDS", 0.002)
    limit, began = Limit(), now()
    with limit.until(began + 60):
        await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError), limit.until(now() + 0.05):
        await asyncio.Event().wait()
    assert now() - began >= 0.06
