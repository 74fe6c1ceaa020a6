"""Flushes without a thread of ours: how they end, and that a thread flushes wherever they are not allowed."""

import asyncio
import errno
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from letterlock.queue.store import StoreFailed
from letterlock.store.segments import kernel_flush
from letterlock.store.segments.kernel_flush import Flushed, KernelFlush
from letterlock.store.segments.records import RecordKind, SegmentRecord, read_segment
from letterlock.store.segments.segment_log import MAX_OCTETS_HERE, SLOW_SPELL_SECONDS, SLOW_WRITE_SECONDS, SegmentLog

EIO, ENOSPC = OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left on device")


class Flushes(KernelFlush):
    """Flushes that end as the test wants; `begun` counts them."""

    def __init__(self) -> None:
        self.begun = 0
        self.result: OSError | None = None
        self.refusal: OSError | None = None

    def start(self, _descriptor: int, flushed: Flushed) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.begun += 1
        asyncio.get_running_loop().call_soon(flushed, self.result)

    def close(self) -> None:
        pass


def no_thread(_descriptor: int) -> None:
    raise AssertionError("a thread was to flush")


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    found = Flushes()
    monkeypatch.setattr(KernelFlush, "if_allowed", lambda: found)
    return found


async def opened(directory: Path, relief: Callable[[], bool] = lambda: False) -> SegmentLog:
    """A log whose first segment is there, with one record."""
    log = SegmentLog(directory, last_number=0, relief=relief)
    await log.append(RecordKind.ACCEPTED, b"first")
    return log


def notes(directory: Path) -> list[list[bytes]]:
    """What a restart would find in each segment."""
    return [
        [each.note for each in read_segment(path) if isinstance(each, SegmentRecord)]
        for path in sorted(directory.glob("*.segment"))
    ]


async def test_a_flush_ends_in_the_event_loop(tmp_path: Path) -> None:
    flush, ended = KernelFlush(), asyncio.get_running_loop().create_future()
    with (tmp_path / "file").open("wb") as file:
        for _ in range(3):
            flush.start(file.fileno(), ended.set_result)
            with pytest.raises(OSError, match="under way"):
                flush.start(file.fileno(), ended.set_result)
            assert await asyncio.wait_for(ended, 10) is None
            ended = asyncio.get_running_loop().create_future()
    flush.close()


async def test_what_cannot_be_flushed_is_said_at_once() -> None:
    flush, (reading, writing) = KernelFlush(), os.pipe()
    with pytest.raises(OSError, match="Invalid argument"):
        flush.start(writing, lambda _: None)
    for descriptor in (reading, writing):
        os.close(descriptor)
    flush.close()


async def test_a_flush_that_failed_tells_its_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Event:
        def unpack_from(self, _events: object) -> tuple[int, int, int, int]:
            return 0, 0, -errno.EIO, 0

    flush, ended = KernelFlush(), asyncio.get_running_loop().create_future()
    monkeypatch.setattr(kernel_flush, "_EVENT", Event())
    with (tmp_path / "file").open("wb") as file:
        flush.start(file.fileno(), ended.set_result)
        assert (await asyncio.wait_for(ended, 10)).errno == errno.EIO
    flush.close()


@pytest.mark.parametrize("machine", ["sparc64", ""])
async def test_where_the_calls_are_not_known_there_is_none(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert KernelFlush.if_allowed() is None


async def test_where_a_filter_forbids_the_calls_the_thread_does_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(kernel_flush._NUMBERS, platform.machine(), (99_999,) * 4)  # no such call
    assert KernelFlush.if_allowed() is None
    log = await opened(tmp_path)
    await log.append(RecordKind.ACCEPTED, b"second")
    assert notes(tmp_path) == [[b"first", b"second"]]
    await log.close()


async def test_a_usual_record_needs_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = await opened(tmp_path)
    monkeypatch.setattr("os.fdatasync", no_thread)
    await log.append(RecordKind.ACCEPTED, b"second", b"content")
    assert notes(tmp_path) == [[b"first", b"second"]]
    await log.close()


async def test_large_records_and_finished_segments_are_the_threads_task(tmp_path: Path, flushes: Flushes) -> None:
    log = await opened(tmp_path)
    await log.append(RecordKind.ACCEPTED, b"large", bytes(MAX_OCTETS_HERE + 1))
    assert flushes.begun == 0
    await log.append(RecordKind.ACCEPTED, b"small")
    assert flushes.begun == 1
    await log.close()


async def test_a_failed_flush_fails_its_records_and_nothing_more_goes_behind_them(
    tmp_path: Path, flushes: Flushes
) -> None:
    """The kernel may have dropped their pages; and what was refused must not be there after a restart."""
    log = await opened(tmp_path)
    flushes.result = EIO
    with pytest.raises(StoreFailed, match="Input/output error"):
        await log.append(RecordKind.ACCEPTED, b"refused")
    flushes.result = None
    await log.append(RecordKind.ACCEPTED, b"next")
    assert notes(tmp_path) == [[b"first"], [b"next"]]
    await log.close()


async def test_on_a_full_disk_a_record_is_written_again_when_there_is_room(tmp_path: Path, flushes: Flushes) -> None:
    asked: list[bool] = []

    def relief() -> bool:
        asked.append(True)
        return True

    log = await opened(tmp_path, relief)
    flushes.result = ENOSPC
    await log.append(RecordKind.ACCEPTED, b"second")
    assert asked == [True]
    assert notes(tmp_path) == [[b"first"], [b"second"]]
    await log.close()


async def test_a_flush_that_the_kernel_does_not_take_is_the_threads(tmp_path: Path, flushes: Flushes) -> None:
    log = await opened(tmp_path)
    flushes.refusal = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    await log.append(RecordKind.ACCEPTED, b"second")
    assert notes(tmp_path) == [[b"first", b"second"]]
    await log.close()


async def test_a_write_that_fails_is_tried_again_elsewhere(
    tmp_path: Path, flushes: Flushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, real, errors = await opened(tmp_path), os.pwritev, [EIO]

    def pwritev(descriptor: int, pieces: list[bytes], at: int) -> int:
        if errors:
            real(descriptor, [pieces[0][:5]], at)
            raise errors.pop()
        return real(descriptor, pieces, at)

    monkeypatch.setattr(os, "pwritev", pwritev)
    await log.append(RecordKind.ACCEPTED, b"second")
    assert notes(tmp_path) == [[b"first"], [b"second"]]
    assert flushes.begun == 0
    await log.close()


async def test_after_a_slow_write_the_thread_writes_for_a_while(
    tmp_path: Path, flushes: Flushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all sessions would stand still whenever the kernel makes a writer wait."""
    log, now, real = await opened(tmp_path), [1000.0], os.pwritev

    def pwritev(descriptor: int, pieces: list[bytes], at: int) -> int:
        now[0] += 2 * SLOW_WRITE_SECONDS
        return real(descriptor, pieces, at)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    with monkeypatch.context() as slow:
        slow.setattr(os, "pwritev", pwritev)
        await log.append(RecordKind.ACCEPTED, b"second")
    await log.append(RecordKind.ACCEPTED, b"third")
    assert flushes.begun == 1
    now[0] += SLOW_SPELL_SECONDS
    await log.append(RecordKind.ACCEPTED, b"fourth")
    assert flushes.begun == 2
    assert notes(tmp_path) == [[b"first", b"second", b"third", b"fourth"]]
    await log.close()
