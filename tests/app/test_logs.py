"""The log: whole lines, none lost, few writes."""

import asyncio
import io
import logging
import threading
from collections.abc import Iterator

import pytest

from letterlock.app import logs
from letterlock.app.log_text import PostfixFormatter
from letterlock.app.logs import GatheringHandler


class Watched(io.StringIO):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def stream() -> Watched:
    return Watched()


@pytest.fixture
def log(stream: Watched) -> Iterator[logging.Logger]:
    """A logger with a handler of its own."""
    logger = logging.getLogger("letterlock.receive.tests")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = GatheringHandler(stream)
    handler.setFormatter(PostfixFormatter("mx.example.org"))
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def said(stream: Watched) -> list[str]:
    return [line.partition("]: ")[2] for line in stream.getvalue().splitlines()]


async def test_lines_of_one_moment_are_written_together_and_in_order(log: logging.Logger, stream: Watched) -> None:
    for number in range(100):
        log.info("line %d", number)
    assert stream.writes == 0
    while not stream.writes:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0)
    assert stream.writes == 1
    assert said(stream) == [f"line {number}" for number in range(100)]


async def test_an_error_is_written_at_once_behind_what_waits(log: logging.Logger, stream: Watched) -> None:
    log.info("before")
    log.error("the disk is full")
    assert said(stream) == ["before", "error: the disk is full"]


def test_outside_of_the_event_loop_each_line_is_written_at_once(log: logging.Logger, stream: Watched) -> None:
    log.info("starting")
    assert said(stream) == ["starting"]


def test_what_waits_at_the_end_is_written(
    log: logging.Logger, stream: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WAIT_SECONDS", 3600.0)  # the end of a loop may take a while on a busy machine

    async def end() -> None:
        log.info("stopping")

    asyncio.run(end())
    assert said(stream) == []
    log.handlers[0].flush()
    assert said(stream) == ["stopping"]


async def test_no_line_is_lost_between_two_threads(log: logging.Logger, stream: Watched) -> None:
    def speak() -> None:
        for number in range(500):
            log.info("thread %d", number)

    thread = threading.Thread(target=speak)
    thread.start()
    for number in range(500):
        log.info("loop %d", number)
    await asyncio.to_thread(thread.join)
    log.handlers[0].flush()
    lines = said(stream)
    assert sorted(lines) == sorted([f"{who} {number}" for who in ("thread", "loop") for number in range(500)])


def test_a_line_begins_as_syslog_has_it(log: logging.Logger, stream: Watched) -> None:
    log.warning("careful")
    assert "mx postfix/smtpd[" in stream.getvalue()
    assert stream.getvalue().endswith("]: warning: careful\n")
