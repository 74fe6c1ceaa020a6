"""Deliveries that take long are called slow once, and stuck once."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from letterlock.queue.tasks import Lease
from letterlock.schedule.slow_watch import (
    ASIDE_SECONDS,
    OWN_TURNS,
    SLOW_REPLY_SECONDS,
    STUCK_SECONDS,
    SlowAnswers,
    SlowWatch,
)


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[..., None], *values: Any) -> Timer:
        self.timers.append(Timer(when, lambda: call(*values)))
        return self.timers[-1]

    def call_soon(self, call: Callable[..., None], *values: Any) -> None:
        self.soon.append(lambda: call(*values))

    def turn(self, seconds: float) -> None:
        """What is to be called soon, after a turn that took so long."""
        self.now += seconds
        soon, self.soon = self.soon, []
        for call in soon:
            call()

    def pass_until(self, now: float) -> None:
        while due := [each for each in self.timers if not each.cancelled and each.when <= now]:
            first = min(due, key=lambda each: each.when)
            self.timers.remove(first)
            self.now = first.when
            first.call()
        self.now = now


def watched() -> tuple[Loop, SlowWatch, list[tuple[str, str, float]]]:
    loop, heard = Loop(), list[tuple[str, str, float]]()
    watch = SlowWatch(
        cast("asyncio.AbstractEventLoop", loop),
        lambda lease: heard.append(("slow", lease.token, loop.now)),
        lambda lease: heard.append(("stuck", lease.token, loop.now)),
    )
    return loop, watch, heard


def lease(token: str) -> Lease:
    return Lease(token, "message", "example.org", 1e9)


def test_each_is_called_in_its_time_and_once() -> None:
    loop, watch, heard = watched()
    watch.begin(lease("a"))
    loop.pass_until(1.0)
    watch.begin(lease("b"))
    loop.pass_until(100.0)
    assert heard == [
        ("slow", "a", ASIDE_SECONDS),
        ("slow", "b", 1.0 + ASIDE_SECONDS),
        ("stuck", "a", STUCK_SECONDS),
        ("stuck", "b", 1.0 + STUCK_SECONDS),
    ]


def test_what_has_ended_is_neither() -> None:
    loop, watch, heard = watched()
    for token in ("quick", "slow"):
        watch.begin(lease(token))
    watch.end("quick")
    loop.pass_until(ASIDE_SECONDS)
    watch.end("slow")
    loop.pass_until(100.0)
    assert heard == [("slow", "slow", ASIDE_SECONDS)]


def test_after_the_stop_nobody_is_called() -> None:
    loop, watch, heard = watched()
    watch.begin(lease("a"))
    loop.pass_until(ASIDE_SECONDS)
    watch.begin(lease("b"))
    watch.stop()
    loop.pass_until(100.0)
    assert heard == [("slow", "a", ASIDE_SECONDS)]


@pytest.mark.parametrize(
    ("reply", "turn", "slow"),
    [
        (SLOW_REPLY_SECONDS - 0.01, 0.0, False),
        (SLOW_REPLY_SECONDS, 0.0, True),
        (SLOW_REPLY_SECONDS + OWN_TURNS * 0.1 + 0.01, 0.1, True),
        (SLOW_REPLY_SECONDS + OWN_TURNS * 0.1 - 0.01, 0.1, False),
    ],
)
def test_of_an_answer_that_came_late_the_own_share_does_not_count(reply: float, turn: float, slow: bool) -> None:
    loop, heard = Loop(), list[tuple[str, float, float]]()
    answers = SlowAnswers(
        cast("asyncio.AbstractEventLoop", loop), lambda hop, elapsed, late: heard.append((hop, elapsed, late))
    )
    answers.answered("example.org", 2.0, reply)
    assert not heard
    loop.turn(turn)
    assert heard == ([("example.org", 2.0, reply)] if slow else [])
