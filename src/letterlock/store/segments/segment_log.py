"""Segments on disk: records are appended in groups, each with one write and one flush for all who wait.

The event loop gathers records and writes them, and the kernel tells it when they are flushed (`kernel_flush.py`). A
thread does whatever may take longer: large groups, segments that begin or end, what has failed; and all of it where the
kernel allows no such flush. Behind the last record a segment has zeros: to write over octets that are there already
changes nothing but these, and a flush need not write what the file system says of the file; it takes half the time. A
segment that holds nothing but finished messages is removed, the oldest first: a younger one may have the word that a
message of an older one is done.
"""

import asyncio
import contextlib
import logging
import os
import queue
import secrets
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.frozen import frozen_dataclass
from letterlock.queue.store import StoreFailed, StoreFull
from letterlock.sqlite.disk import NO_ROOM, nobody_helps
from letterlock.store.segments.kernel_flush import KernelFlush
from letterlock.store.segments.records import (
    OPENING_OCTETS,
    SALT_OCTETS,
    RecordKind,
    encode_opening,
    encode_record,
    read_content,
)

log = logging.getLogger("letterlock.store")
SUFFIX = ".segment"
MAX_SEGMENT_OCTETS = 1 << 26  # chosen: 64 MiB; a segment stays on the disk until its last message is finished or moved
MAX_FINISHED_OCTETS = 1 << 22  # a segment with nothing but finished messages is emptied when it is as long as this
MAX_GROUP = 200  # chosen: messages that share one fsync; more would gain little and delay the first
MAX_GROUP_OCTETS = 1 << 24  # chosen: 16 MiB, so that large messages do not keep a small one waiting for long
MAX_OCTETS_HERE = 1 << 18  # chosen: 256 KiB, which the kernel copies in 0.1 ms; more is a thread's task
SLOW_WRITE_SECONDS = 0.02  # chosen: the event loop must not wait for a disk, as the kernel makes writers at times
SLOW_SPELL_SECONDS = 60.0  # chosen: so long it lets the thread write after that
_ACCEPTED = RecordKind.ACCEPTED  # until Python 3.12, to look it up in its class costs more than a call
_MAX_PIECES = 1000  # of one pwritev; the kernel takes 1,024
_ZEROS = bytes(1 << 18)  # that are written ahead, unless a group has as many octets itself


@dataclass(slots=True, eq=False)
class Segment:
    """An open segment of `size` octets; `live` messages in it are not done yet."""

    path: Path
    descriptor: int
    salt: bytes
    size: int
    prepared: int = 0  # up to where it can be written over
    live: int = 0
    bad: bool = False  # a write or a flush failed: the kernel may have dropped pages, and nothing more goes there


@frozen_dataclass(frozen=True, slots=True)
class ContentLocation:
    """Where the content of a message is, and how long the note before it."""

    segment: Segment
    at: int
    octets: int
    note_octets: int


@dataclass(slots=True, eq=False)
class _Piece:
    """A record on its way, and who waits for it."""

    kind: RecordKind
    note: bytes
    content: tuple[bytes, ...]
    octets: int
    future: asyncio.Future[ContentLocation]


@dataclass(slots=True, eq=False)
class _Group:
    """Records that are written and flushed together."""

    pieces: Sequence[_Piece]
    places: list[ContentLocation] = field(default_factory=list)
    error: StoreFailed | None = None


class SegmentLog:
    """Appends records to segments in a directory. All callers share one event loop."""

    def __init__(
        self,
        directory: Path,
        *,
        last_number: int,
        max_segment_octets: int = MAX_SEGMENT_OCTETS,
        old: Sequence[Segment] = (),
        relief: Callable[[], bool] = nobody_helps,
        by_kernel: bool = True,
    ) -> None:
        """`old` segments of the last run have messages, and get no more; the oldest first.

        `relief` is called, in a thread, when the disk is full: True when it made room. Not `by_kernel`: the thread does
        all that it can do.
        """
        self.directory = directory
        self._relief = relief
        self._number = last_number
        self._max_segment_octets = max_segment_octets
        self._loop = asyncio.get_running_loop()
        self._segments: deque[Segment] = deque(old)
        self._pieces: deque[_Piece] = deque()
        self._busy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="letterlock-segments", daemon=True)
        self._thread.start()
        self._kernel = KernelFlush.if_allowed() if by_kernel else None
        self._here_from = 0.0  # the time of the event loop from which on it writes

    def append(self, kind: RecordKind, note: bytes, *content: bytes) -> Awaitable[ContentLocation]:
        """Write a record, its content in any number of pieces; it is on disk when that was waited for.

        Raises StoreFailed, StoreFull: it may not be there then. A message that was accepted keeps its segment until
        `finished`.
        """
        if self._closed:
            raise StoreFailed("the queue is closed")
        octets = sum(map(len, content)) if content else 0
        piece = _Piece(kind, note, content, octets, self._loop.create_future())
        self._pieces.append(piece)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._loop.call_soon(self._gather)
        return piece.future

    async def content(self, place: ContentLocation) -> bytes:
        """The content of a message that is not finished, found undamaged. Raises StoreFailed."""
        where = place.segment.descriptor, place.at, place.octets, place.note_octets
        try:
            return await asyncio.to_thread(read_content, *where)
        except OSError as error:
            raise StoreFailed(f"{place.segment.path}: {error}") from None

    def finished(self, place: ContentLocation) -> None:
        """A message is done, and that is on disk."""
        place.segment.live -= 1

    async def close(self) -> None:
        """Finish what was asked for; segments without a message that waits are removed."""
        if self._closed:
            return
        self._closed = True
        await self._idle.wait()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._kernel is not None:
            self._kernel.close()
        self._remove_finished(all_of_them=True)
        for segment in self._segments:
            os.close(segment.descriptor)

    # --- in the event loop -------------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Let the loop turn once more before a group is written.

        What has reached the sockets already is read in that turn, so that its records share the flush. Each flush costs
        CPU as well, for the thread and the event loop take the interpreter from each other several times; a turn in
        which nothing has come takes some microseconds.
        """
        self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        pieces: list[_Piece] = []
        octets = 0
        while self._pieces and len(pieces) < MAX_GROUP and octets < MAX_GROUP_OCTETS:
            pieces.append(piece := self._pieces.popleft())
            octets += piece.octets
        group = _Group(pieces)
        if self._kernel is not None and self._is_usual(octets):
            self._write_here(group, self._kernel)
        else:
            self._jobs.put(lambda: self._write_group(group, self._write_there))

    def _is_usual(self, octets: int) -> bool:
        """Whether a group of so many octets goes behind what the last segment has, and nothing is to be removed."""
        if not self._segments or self._is_done(self._segments[0]):
            return False
        last = self._segments[-1]
        is_open = not last.bad and last.size < self._max_segment_octets
        return is_open and octets <= MAX_OCTETS_HERE and self._loop.time() >= self._here_from

    def _write_here(self, group: _Group, kernel: KernelFlush) -> None:
        """Write a group without the thread, which tries again whatever fails here, and tells what fails there."""
        segment, began = self._segments[-1], self._loop.time()
        try:
            end = self._write(segment, group)
            self._start_flush(kernel, group, segment, end)
        except Exception:  # noqa: BLE001  # see above
            self._jobs.put(lambda: self._write_group(group, self._write_there))
        if (now := self._loop.time()) - began > SLOW_WRITE_SECONDS:
            self._here_from = now + SLOW_SPELL_SECONDS

    def _start_flush(self, kernel: KernelFlush, group: _Group, segment: Segment, end: int) -> None:
        try:
            kernel.start(segment.descriptor, lambda error: self._flushed(group, segment, end, error))
        except OSError:
            segment.bad = False  # no flush was begun, so none has failed
            raise

    def _flushed(self, group: _Group, segment: Segment, end: int, error: OSError | None) -> None:
        if error is None:
            segment.size, segment.bad = end, False
            self._released(group)
            return

        def undo(_group: _Group) -> None:
            _cut_back(segment)
            raise error

        self._jobs.put(lambda: self._write_group(group, undo))

    def _released(self, group: _Group) -> None:
        for piece, place in zip(group.pieces, group.places, strict=False):
            if piece.kind is _ACCEPTED:
                place.segment.live += 1
            if not piece.future.done():
                piece.future.set_result(place)
        if group.error is not None:
            for piece in group.pieces:
                if not piece.future.done():
                    piece.future.set_exception(group.error)
        if self._pieces:
            self._loop.call_soon(self._gather)
        else:
            self._busy = False
            self._idle.set()

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _write_group(self, group: _Group, write: Callable[[_Group], None]) -> None:
        """Have a group written; on a full disk again, if somebody has made room."""
        try:
            group.error = self._error_of(write, group)
            if isinstance(group.error, StoreFull) and self._relief():
                group.error = self._error_of(self._write_there, group)
        except Exception:  # without this thread, all that is written from now on would never end
            log.exception("internal error in writing to %s", self.directory)
            group.error = StoreFailed(f"cannot write in {self.directory}: internal error")
        if group.error is not None:
            group.places.clear()
        with contextlib.suppress(RuntimeError):  # the loop is closed: there are no waiters left
            self._loop.call_soon_threadsafe(self._released, group)

    def _error_of(self, write: Callable[[_Group], None], group: _Group) -> StoreFailed | None:
        try:
            write(group)
        except OSError as error:
            return _explain(error, self.directory)
        return None

    def _write_there(self, group: _Group) -> None:
        """Write and flush a group; finished segments are removed first. Raises OSError."""
        self._remove_finished()
        segment = self._current()
        end = self._write(segment, group)
        try:
            os.fdatasync(segment.descriptor)
        except OSError:
            _cut_back(segment)
            raise
        segment.size, segment.bad = end, False

    def _current(self) -> Segment:
        """The segment that is written to; a new one when there is none that can be."""
        if self._segments and not self._segments[-1].bad and self._segments[-1].size < self._max_segment_octets:
            return self._segments[-1]
        self._number += 1
        path = self.directory / f"{self._number:012d}{SUFFIX}"
        salt = secrets.token_bytes(SALT_OCTETS)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write_whole(descriptor, [encode_opening(salt)], 0)
            sync_directory(self.directory)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        self._segments.append(Segment(path, descriptor, salt, OPENING_OCTETS))
        return self._segments[-1]

    def _write(self, segment: Segment, group: _Group) -> int:
        """Write a group behind what a segment has; where it ends. The segment is bad until all is flushed."""
        at, salt, places = segment.size, segment.salt, group.places
        pieces: list[bytes] = []
        places.clear()
        for each in group.pieces:
            pieces += (record := encode_record(salt, each.kind, each.note, *each.content))
            at += len(record[0])
            places.append(ContentLocation(segment, at, each.octets, len(each.note)))
            at += each.octets
        segment.bad = True
        try:
            _write_whole(segment.descriptor, pieces, segment.size)
        except Exception:
            _cut_back(segment)
            raise
        if segment.prepared < at < segment.size + len(_ZEROS):
            segment.prepared = _prepare(segment.descriptor, at)
        return at

    def _remove_finished(self, *, all_of_them: bool = False) -> None:
        for empty in [each for each in self._segments if each.bad and each.size == OPENING_OCTETS]:
            self._remove(empty)
        while self._segments and self._is_done(self._segments[0], all_of_them=all_of_them):
            self._remove(self._segments[0])

    def _is_done(self, oldest: Segment, *, all_of_them: bool = False) -> bool:
        """Whether the oldest segment can be removed; one that is written to only when it has become long."""
        if oldest.live:
            return False
        is_last = len(self._segments) == 1 and not oldest.bad
        return all_of_them or not is_last or oldest.size >= MAX_FINISHED_OCTETS

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        os.close(segment.descriptor)
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: cannot be removed, and is read again at the next start: %s", segment.path, error.strerror)


def reopen(path: Path) -> Segment:
    """A segment of the last run, to be read. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    return Segment(path, descriptor, b"", os.fstat(descriptor).st_size, bad=True)


def _write_whole(descriptor: int, pieces: list[bytes], at: int) -> None:
    """Write all pieces from a place on, however often the kernel takes only some of them. Raises OSError."""
    while pieces:
        batch, pieces = pieces[:_MAX_PIECES], pieces[_MAX_PIECES:]
        written = os.pwritev(descriptor, batch, at)
        if written < sum(map(len, batch)):
            rest = b"".join(batch)[written:]
            pieces.insert(0, rest)
        at += written


def _cut_back(segment: Segment) -> None:
    """Take away what was written last: it was never acknowledged to a client."""
    with contextlib.suppress(OSError):  # the first error is the one that counts
        os.ftruncate(segment.descriptor, segment.size)


def _prepare(descriptor: int, at: int) -> int:
    """Put zeros behind what was written; up to where. A disk that has no room for them may have some for records."""
    try:
        return at + os.pwrite(descriptor, _ZEROS, at)
    except OSError:  # see above
        return at


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, directory: Path) -> StoreFailed:
    if error.errno in NO_ROOM:
        return StoreFull("the disk with the queue is full")
    return StoreFailed(f"cannot write in {directory}: {error.strerror or error}")
