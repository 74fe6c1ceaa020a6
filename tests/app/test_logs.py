"""The log: whole lines, none lost, few writes."""

import asyncio
import io
import json
import logging
import logging.handlers
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest

from letterlock.app import logs
from letterlock.app.log_text import JsonFormatter, PostfixFormatter
from letterlock.app.logs import GatheringHandler, LeanRecord
from letterlock.events import LineEvent, MessageLines, log_lines


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


async def test_a_write_that_comes_early_leaves_no_other_to_come(
    log: logging.Logger, stream: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, due = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    call_later = loop.call_later

    def noted(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        due.append(call_later(delay, callback))
        return due[-1]

    monkeypatch.setattr(loop, "call_later", noted)
    for _ in range(10):
        log.info("one of many")
        log.error("the disk is full")
    log.info("the last one")
    assert stream.writes == 10
    assert sum(not each.cancelled() for each in due) == 1  # else a busy server would write for each error ever after


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


def test_what_another_thread_adds_while_lines_are_written_is_written_too(log: logging.Logger) -> None:
    class Interrupted(Watched):
        def write(self, text: str, /) -> int:
            written = super().write(text)
            if self.writes == 1:
                threads.append(threading.Thread(target=log.info, args=("of another thread",)))
                threads[0].start()
                threads[0].join(0.01)  # it waits for its turn
            return written

    threads: list[threading.Thread] = []
    stream = log.handlers[0].stream = Interrupted()  # type: ignore[attr-defined]
    log.info("first")
    threads[0].join()
    assert said(stream) == ["first", "of another thread"]


def test_a_line_begins_as_syslog_has_it(log: logging.Logger, stream: Watched) -> None:
    log.warning("careful")
    assert "mx postfix/smtpd[" in stream.getvalue()
    assert stream.getvalue().endswith("]: warning: careful\n")


@pytest.fixture
def rooms(stream: Watched) -> Iterator[GatheringHandler]:
    """The server's own handler, as the only one of all rooms."""
    rooms = logging.getLogger("letterlock")
    before = rooms.handlers, rooms.level, rooms.propagate
    handler = GatheringHandler(stream)
    handler.setFormatter(PostfixFormatter("mx.example.org"))
    rooms.handlers, rooms.propagate = [handler], False
    rooms.setLevel(logging.INFO)
    yield handler
    rooms.handlers, rooms.propagate = before[0], before[2]
    rooms.setLevel(before[1])


def _values(size: int) -> dict[str, object]:
    return {"size": size}


def alone(rooms: GatheringHandler) -> None:
    """Take away what pytest adds for each test."""
    logging.getLogger("letterlock").handlers = [rooms]


def lines_by(make: Callable[[str, LineEvent], tuple[str, LineEvent]]) -> MessageLines:
    """A line of a logger and an event, which `make` makes of them."""

    def text(begins: Mapping[str, str], first: str, second: LineEvent) -> str:
        logger, event = make(first, second)
        return begins[logger] + str(event)

    return MessageLines(lambda first, second: [make(first, second)], text)


def unchanged(logger: str, event: LineEvent) -> tuple[str, LineEvent]:
    return logger, event


ONE_LINE = lines_by(unchanged)


async def test_a_line_without_a_record_stands_as_others_do(rooms: GatheringHandler, stream: Watched) -> None:
    event = LineEvent("queued", "4F2A1: size=7", _values, 7)
    logging.getLogger("letterlock.receive.qmgr").info(event)
    alone(rooms)
    log_lines(ONE_LINE, "letterlock.receive.qmgr", event)
    assert stream.writes == 0
    rooms.flush()
    first, second = stream.getvalue().splitlines()
    assert first == second
    assert "mx postfix/qmgr[" in first


def test_a_line_without_a_record_is_written_at_once_outside_of_the_event_loop(
    rooms: GatheringHandler, stream: Watched
) -> None:
    alone(rooms)
    log_lines(ONE_LINE, "letterlock.receive", LineEvent("queued", "4F2A1: size=7", _values, 7))
    assert said(stream) == ["4F2A1: size=7"]


async def test_what_happened_is_shown_when_lines_are_written_and_its_lines_stand_where_it_happened(
    rooms: GatheringHandler, stream: Watched
) -> None:
    alone(rooms)
    shown = []

    def show(first: str, second: None) -> None:
        shown.append(first)
        log_lines(ONE_LINE, "letterlock.receive", LineEvent("queued", first, _values, 1))
        logging.getLogger("letterlock.receive").info("about %s", first)

    rooms.later(show, "line 1", None)
    logging.getLogger("letterlock.receive").info("between")
    rooms.later(show, "line 2", None)
    assert shown == []
    logging.getLogger("letterlock.receive").error("at once")
    assert said(stream) == ["line 1", "about line 1", "between", "line 2", "about line 2", "error: at once"]
    assert stream.writes == 1


async def test_lines_have_the_time_of_what_happened_and_not_of_when_it_is_shown(
    rooms: GatheringHandler, stream: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(rooms)
    rooms.setFormatter(JsonFormatter())

    def show(logger: str, event: LineEvent) -> None:
        log_lines(ONE_LINE, logger, event)
        logging.getLogger("letterlock.receive").info("beside it")

    monkeypatch.setattr(logging, "_logRecordFactory", LeanRecord)
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.25)
    rooms.later(show, "letterlock.receive.qmgr", LineEvent("queued", "4F2A1: size=7", _values, 7))
    monkeypatch.setattr("time.time", lambda: 1_800_000_003.5)
    rooms.flush()
    assert [json.loads(line)["time"] for line in stream.getvalue().splitlines()] == [1_800_000_000.25] * 2


async def test_a_bug_in_showing_what_happened_loses_that_alone(rooms: GatheringHandler, stream: Watched) -> None:
    alone(rooms)

    def show(first: str, second: object) -> None:
        if second is None:
            raise ZeroDivisionError
        log_lines(ONE_LINE, first, second)

    rooms.later(show, "letterlock.receive", LineEvent("queued", "before", _values, 7))
    rooms.later(show, "letterlock.receive", None)
    rooms.later(show, "letterlock.receive", LineEvent("queued", "after", _values, 7))
    rooms.flush()
    lines = said(stream)
    assert lines[0] == "before"
    assert lines[1] == "error: internal error while showing what happened"
    assert "ZeroDivisionError" in stream.getvalue()
    assert lines[-1] == "after"


async def test_what_was_shown_before_a_process_ends_in_the_middle_is_written(
    rooms: GatheringHandler, stream: Watched
) -> None:
    alone(rooms)

    def end(_first: object, _second: object) -> None:
        raise KeyboardInterrupt

    rooms.later(partial(log_lines, ONE_LINE), "letterlock.receive", LineEvent("queued", "before", _values, 7))
    rooms.later(end, None, None)
    with pytest.raises(KeyboardInterrupt):
        rooms.flush()
    logging.getLogger("letterlock.receive").error("the end")
    assert said(stream) == ["before", "error: the end"]


async def test_a_line_of_another_thread_shows_nothing_there(rooms: GatheringHandler, stream: Watched) -> None:
    alone(rooms)
    threads: list[int] = []
    rooms.later(lambda *_: threads.append(threading.get_ident()), None, None)
    await asyncio.to_thread(logging.getLogger("letterlock.store").error, "the disk is full")
    assert said(stream) == ["error: the disk is full"]
    rooms.flush()
    assert threads == [threading.get_ident()]


def test_where_json_is_written_a_line_has_its_values(rooms: GatheringHandler, stream: Watched) -> None:
    alone(rooms)
    rooms.setFormatter(JsonFormatter())
    log_lines(ONE_LINE, "letterlock.receive.qmgr", LineEvent("queued", "4F2A1: size=7", _values, 7))
    shown = json.loads(stream.getvalue())
    assert (shown["event"], shown["size"], shown["message"]) == ("queued", 7, "4F2A1: size=7")
    assert (shown["program"], shown["process"]) == ("postfix/qmgr", os.getpid())


def test_another_handler_gets_a_record(rooms: GatheringHandler, stream: Watched) -> None:
    other = logging.handlers.BufferingHandler(10)
    logging.getLogger("letterlock").addHandler(other)
    log_lines(ONE_LINE, "letterlock.receive.qmgr", LineEvent("queued", "4F2A1: size=7", _values, 7))
    assert [record.getMessage() for record in other.buffer] == ["4F2A1: size=7"]
    assert said(stream) == ["4F2A1: size=7"]
    assert rooms.formatter is not None


def test_a_forked_process_writes_its_own_number(rooms: GatheringHandler) -> None:
    assert rooms.formatter is not None
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        number = LeanRecord("letterlock", logging.INFO, "", 0, "x", (), None).process
        os.write(writing, b"%d %d" % (os.getpid(), number or 0))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == f"{child} {child}"
