"""Moves the messages of former workers into one queue, when there are fewer workers than before.

The folder of a worker that no longer exists is brought up to date first (its segments go into its own database). Then
its messages move in batches: one transaction puts them into this queue, each with a record that it was taken
(`adopted`), a second one deletes them from the other queue, a third deletes the records. A kill at any point, even one
after which the messages are delivered before adoption begins again, loses none and doubles none. What cannot be taken
over stays where it is, is shown (`problems`), and is tried again.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from letterlock.queue.folders import CONTROL_SOCKET, WORKER, worker_number
from letterlock.queue.store import QueueInUse, StoreFailed
from letterlock.sqlite.disk import RESERVE_FILE, Disk, Reserve
from letterlock.store.parcels import Parcel, read_parcel
from letterlock.store.sealing import CHECK_FILE, IN_CLEAR, ContentSeal
from letterlock.store.segments.recovery import DAMAGED_SUFFIX
from letterlock.store.segments.segment_log import SUFFIX, sync_directory
from letterlock.store.segments.segment_store import SegmentStore
from letterlock.store.sqlite.opening import FILE, LOCK_FILE, open_alone, take_lock
from letterlock.store.sqlite.sqlite_store import SqliteStore
from letterlock.store.sqlite.statements import run
from letterlock.store.tails import FOLDER, Tails

log = logging.getLogger("letterlock.store")
RETRY_SECONDS = 30.0  # a worker that is still ending has its queue for some 20 seconds
BATCH = 100  # messages in one transaction: other work of this queue waits for it
BATCH_OCTETS = 1 << 24  # of contents in memory at once
_OURS = (FILE, f"{FILE}-wal", f"{FILE}-shm", CHECK_FILE, f"{CHECK_FILE}.new", CONTROL_SOCKET, RESERVE_FILE, LOCK_FILE)
"""In the order in which they are removed. The database goes before its log: without the log, what was deleted last may
be there again."""


class Adopter:
    """Takes over what former workers left in the folders of a queue directory."""

    def __init__(
        self, directory: Path, workers: int | None, kept: SqliteStore, disk: Disk, seal: ContentSeal = IN_CLEAR
    ) -> None:
        """`workers`: how many there are now; None: it is not for this one to see to others. Messages go into `kept`."""
        self._directory = directory
        self._workers = workers
        self._kept = kept
        self._disk = disk
        self._seal = seal
        self._problems: dict[str, str] = {}
        self._told: set[str] = set()
        self._stopping = asyncio.Event()

    @property
    def problems(self) -> dict[str, str]:
        """Folders with mail that could not be taken over, and why. Nothing of it is listed or delivered meanwhile."""
        return dict(self._problems)

    async def adopt(self) -> int:
        """Take over all that can be; how many messages those were. Raises nothing that the disk can cause."""
        count, problems = 0, {}
        for source in self._left_over():
            try:
                taken = await self._take_over(source)
            except (StoreFailed, QueueInUse, sqlite3.Error, OSError) as error:
                problems[source.name] = str(error)
                if self._problems.get(source.name) != str(error):
                    log.error("%s cannot be taken over, and its mail waits there: %s", source, error)  # noqa: TRY400  # no bug
                continue
            count += taken
            log.info("%d message%s taken over from %s", taken, "s" * (taken != 1), source)
        self._problems = problems
        return count

    async def keep_trying(self, taken: Callable[[], None]) -> None:
        """Try again what could not be taken over, until `stop`; `taken` is called when messages came."""
        while self._problems and not self._stopping.is_set():
            with suppress(TimeoutError):  # the usual case: nobody stops it
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._stopping.wait()
            if not self._stopping.is_set() and await self.adopt():
                taken()

    def stop(self) -> None:
        """Finish what is in hand; `keep_trying` ends then."""
        self._stopping.set()

    def _left_over(self) -> Iterator[Path]:
        """The folders of workers that there are no more. Copies are mentioned, once, and left alone."""
        if self._workers is None:
            return
        for path in filter(Path.is_dir, sorted(self._directory.glob(f"{WORKER}*"))):
            number = worker_number(path.name)
            if number is None and path.name not in self._told:
                self._told.add(path.name)
                log.warning("%s is not a worker's folder by its name: left alone, with whatever mail is in it", path)
            if number is not None and number >= self._workers:
                yield path

    async def _take_over(self, source: Path) -> int:
        """Raises StoreFailed, QueueInUse, sqlite3.Error, OSError."""
        count = 0
        if await asyncio.to_thread(_has_files, source):
            await self._bring_up_to_date(source)
            count = await self._move_all(source)
        await asyncio.to_thread(_clear_away, source, self._directory)
        await self._kept.forget_adopted(source.name, await self._kept.adopted(source.name))  # of a kill just before
        return count

    async def _bring_up_to_date(self, source: Path) -> None:
        """Its database is of the present version then, and has all that its segments had."""
        store = await SqliteStore.open(source, self._seal)
        try:
            fresh = await SegmentStore.open(source, store, self._seal)
        except StoreFailed:
            await store.close()
            raise
        await fresh.close()

    async def _move_all(self, source: Path) -> int:
        """Raises StoreFailed, QueueInUse, sqlite3.Error."""
        count, old = 0, _Source(source)
        try:
            await self._part(old, await self._kept.adopted(source.name))  # a kill came before they had left
            while parcels := await asyncio.to_thread(old.next_batch):
                self._disk.require(sum(parcel.octets for parcel in parcels))
                await asyncio.to_thread(_share_tails, parcels, source, self._directory)
                taken = await self._kept.take_over(source.name, parcels)
                await self._part(old, taken)
                old.left += [parcel.id for parcel in parcels if parcel.id not in taken]
                count += len(taken)
        finally:
            old.close()
        if old.left:
            raise StoreFailed(f"{len(old.left)} of its messages cannot be read, such as {old.left[0]}")
        return count

    async def _part(self, old: "_Source", ids: Collection[str]) -> None:
        """Remove from the other queue what this one has, for good, and forget the moves."""
        await asyncio.to_thread(old.drop, ids)
        await self._kept.forget_adopted(old.name, ids)


class _Source:
    """The database of a queue that is taken over; `left` are messages that cannot be."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreFailed, QueueInUse, sqlite3.Error."""
        self.name = directory.name
        self._folder = directory / FOLDER
        self.left: list[str] = []
        self._opened = ExitStack()
        self._db = self._opened.enter_context(open_alone(directory))
        self._after = ""

    def close(self) -> None:
        """Close it."""
        self._opened.close()

    def next_batch(self) -> list[Parcel]:
        """The next messages that can be read; none: that was all. Raises sqlite3.Error."""
        parcels: list[Parcel] = []
        while not parcels and (ids := run(self._db, "message_ids", self._after, BATCH).fetchall()):
            octets = 0
            for (message_id,) in ids:
                self._after = message_id
                try:
                    parcels.append(parcel := read_parcel(self._db, message_id))
                except sqlite3.DatabaseError as error:
                    log.critical("%s: cannot be read in the queue of %s: %s", message_id, self.name, error)
                    self.left.append(message_id)
                    continue
                if (octets := octets + parcel.octets) >= BATCH_OCTETS:
                    break
        return parcels

    def drop(self, ids: Collection[str]) -> None:
        """Delete messages, durably, and their files here. Raises sqlite3.Error, OSError."""
        names = [name for message_id, name in run(self._db, "tails") if message_id in ids]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("DELETE FROM message WHERE id = ?", [(each,) for each in ids])
        self._db.execute("COMMIT")
        for name in names:
            (self._folder / name).unlink(missing_ok=True)


def _has_files(source: Path) -> bool:
    """Whether there is anything that may hold mail."""
    return (source / FILE).exists() or any(source.glob(f"*{SUFFIX}"))


def _share_tails(parcels: Collection[Parcel], source: Path, directory: Path) -> None:
    """Give the files of messages a second name, in the folder that they are to be in. Raises OSError.

    Until they are deleted in the other queue, both have them: whichever has the message after a kill has its file.
    """
    names = [str(row["name"]) for parcel in parcels for row in parcel.tail]
    if not names:
        return
    (directory / FOLDER).mkdir(mode=0o700, exist_ok=True)
    for name in names:
        with suppress(FileExistsError, FileNotFoundError):  # after a kill; or lost, which is found when it is read
            (directory / FOLDER / name).hardlink_to(source / FOLDER / name)
    sync_directory(directory / FOLDER)
    sync_directory(directory)


def _clear_away(source: Path, directory: Path) -> None:
    """Remove the folder of a queue that has no messages; what is not ours stays. Raises StoreFailed, OSError."""
    lock = take_lock(source)
    try:
        for damaged in source.glob("*" + DAMAGED_SUFFIX):
            damaged.rename(_free_path(directory / f"{source.name}-{damaged.name}"))
        for name in _OURS:
            (source / name).unlink(missing_ok=True)
        Tails(source, IN_CLEAR).clear()
    finally:
        lock.close()
    try:
        source.rmdir()
    except OSError as error:
        log.warning("%s has been taken over, but cannot be removed: %s", source, error.strerror)
    sync_directory(directory)


def _free_path(path: Path) -> Path:
    """A name that no file has: nothing that is damaged is overwritten by what else is damaged."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name.removesuffix(DAMAGED_SUFFIX)}-{number}{DAMAGED_SUFFIX}")
    return free


def _shrink(kept: SqliteStore) -> None:
    """Give room back to the disk, when there is time for it."""

    async def shrink() -> None:
        try:
            await kept.shrink()
        except StoreFailed as error:
            log.info("free space in the database cannot be returned to the disk: %s", error)

    task = asyncio.ensure_future(shrink())
    _shrinking.add(task)
    task.add_done_callback(_shrinking.discard)


_shrinking: set[asyncio.Future[None]] = set()  # the loop itself keeps no task alive


async def open_adopting(
    directory: Path, workers: int | None, seal: ContentSeal = IN_CLEAR, *, min_free_octets: int = 0
) -> tuple[SegmentStore, Adopter]:
    """A queue with all that former workers left, and who sees to the rest of that; `workers` as an Adopter has it.

    Raises StoreFailed, QueueInUse.
    """
    reserve = Reserve(directory)
    reserve.make_way()
    try:
        kept = await SqliteStore.open(directory, seal, relief=reserve.give_up)
    except (StoreFailed, QueueInUse):  # the reserve may be another server's, which is running
        reserve.hold()
        raise
    try:
        disk = Disk(directory, min_free_octets, reserve)
        store = await SegmentStore.open(directory, kept, seal, disk, reserve.give_up)
        disk.shrink = partial(_shrink, kept)
        await kept.sweep_tails(store.tails)
        adopter = Adopter(directory, workers, kept, disk, seal)
        await adopter.adopt()
    except (StoreFailed, OSError):
        await kept.close()
        reserve.hold()
        raise
    return store, adopter
