"""Room on the queue's disk: how much must be free for new mail, and a reserve for everything else.

A queue that fills its disk must not lock itself in: to look at it, to remove mail, to write down what was delivered and
to start again all take some room. So new mail is refused while less than `min_free_octets` would be left, counting what
accepted messages will still need; and against whatever else fills the disk, a file holds room in reserve. It is given
up when a write fails for lack of room, and taken again when there is enough; until then no new mail is accepted. Its
last part is only for a start.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from letterlock.mail.checked_content import SPOOLED_OCTETS
from letterlock.queue.store import StoreFull

log = logging.getLogger("letterlock.store")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota, or the file may not grow
RESERVE_FILE = "reserve"
RESERVE_OCTETS = 8 << 20  # the database's log before it is written back (4 MB), and as much again
LAST_OCTETS = 128 << 10  # for a start: the log's index has 32 KB, and what is leased is written anew
STEP_OCTETS = 4 << 10  # a smaller piece of the reserve is no use: disks give room by such blocks
RESERVE_SHARE = 16  # a small disk gives no more than a sixteenth
LOOK_SECONDS = 0.1  # between two looks at the disk; what is accepted in between is counted
SHRINK_SECONDS = 5.0  # between two tries to give room back to the disk
COPIES = 3  # of a content on the disk at most: in its segment, in the database's log, in the database


def nobody_helps() -> bool:
    """There is no reserve to give up."""
    return False


def disk_octets(directory: Path) -> int:
    """The size of the file system. Raises OSError."""
    found = os.statvfs(directory)
    return found.f_blocks * found.f_frsize


def free_octets(directory: Path) -> int:
    """The room there for users other than root. Raises OSError."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


class Reserve:
    """A file that holds room. Its methods may be called from any thread, and raise nothing."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / RESERVE_FILE
        self._lock = threading.Lock()
        try:
            self._octets = max(LAST_OCTETS, min(RESERVE_OCTETS, disk_octets(directory) // RESERVE_SHARE))
        except OSError:
            self._octets = RESERVE_OCTETS

    @property
    def missing(self) -> int:
        """How many octets it has less than it should have."""
        return max(0, self._octets - self._held())

    def hold(self) -> bool:
        """Take as much as there is; whether it is whole."""
        with self._lock, contextlib.suppress(OSError):  # a full or broken disk: what is missing is seen by its size
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                step = self._octets - os.fstat(descriptor).st_size
                while step >= STEP_OCTETS and (missing := self._octets - os.fstat(descriptor).st_size) > 0:
                    if not _raise(descriptor, min(step, missing)):
                        step //= 2
            finally:
                os.close(descriptor)
        return not self.missing

    def make_way(self) -> None:
        """Before a start: give everything up if that takes more than there is."""
        with contextlib.suppress(OSError):  # its room cannot be read: a full disk shows itself soon enough
            if free_octets(self._path.parent) < 2 * LAST_OCTETS:
                self.give_up(all_of_it=True)

    def give_up(self, *, all_of_it: bool = False) -> bool:
        """Give its room back to the disk, but for the last part; whether there was any."""
        keep = 0 if all_of_it else LAST_OCTETS
        with self._lock:
            if self._held() <= keep:
                return False
            try:
                os.truncate(self._path, keep)
            except OSError as error:
                log.warning("%s: cannot be released: %s", self._path, error.strerror)
                return False
        if not all_of_it:
            log.error("the disk with the queue is full: the reserve is released, and no new mail is accepted")
        return True

    def _held(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:  # there is no reserve
            return 0


def _raise(descriptor: int, octets: int) -> bool:
    """Make the file longer by so much, or leave it as it was."""
    before = os.fstat(descriptor).st_size
    try:
        os.posix_fallocate(descriptor, before, octets)
    except OSError:
        os.ftruncate(descriptor, before)
        return False
    return True


class Disk:
    """Decides whether there is room for new mail. `pledged`: octets that accepted messages will still need."""

    def __init__(self, directory: Path, min_free_octets: int, reserve: Reserve) -> None:
        self.directory = directory
        self._min_free_octets = min_free_octets
        self._reserve = reserve
        self._look_at = 0.0
        self._free = 0
        self._shrink_at = 0.0
        self._refusing = False
        self.pledged = 0
        self.shrink: Callable[[], None] = _nothing

    def has_room(self, octets: int) -> bool:
        """Whether a message of this size may be accepted."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        copied = min(octets, SPOOLED_OCTETS)  # a larger one has a file of its own, once
        room = self._free - self.pledged - COPIES * copied - (octets - copied) >= self._min_free_octets
        if not room and now >= self._shrink_at:
            self._shrink_at = now + SHRINK_SECONDS
            self.shrink()
        return room

    def require(self, octets: int) -> None:
        """See that so much content can be written into the database. Raises StoreFull.

        The reserve is not for contents: what is half written would only be in the way of everything else.
        """
        with contextlib.suppress(OSError):  # its room cannot be read: the write itself finds out
            if free_octets(self.directory) < (COPIES - 1) * octets + LAST_OCTETS:
                raise StoreFull("the disk with the queue is full")

    def hold_reserve(self) -> None:
        """Take what the disk has for the reserve."""
        if not self._reserve.hold():
            log.warning("the disk with the queue in %s has no room for the whole reserve", self.directory)

    def accepted(self, octets: int) -> None:
        """A message is in a segment: it will need its copies, unless it is `settled` first."""
        self._free -= octets
        self.pledged += (COPIES - 1) * octets

    def settled(self, octets: int) -> None:
        """It needs no more room than it has."""
        self.pledged -= (COPIES - 1) * octets

    def _look(self, now: float) -> None:
        self._look_at = now + LOOK_SECONDS
        try:
            self._free = free_octets(self.directory)
            if (missing := self._reserve.missing) and self._free >= self._min_free_octets + missing:
                self._reserve.hold()
                self._free = free_octets(self.directory)
            self._free -= self._reserve.missing
        except OSError as error:
            log.warning("%s: its free space cannot be read: %s", self.directory, error.strerror)
        self._tell(self._free - self.pledged < self._min_free_octets)

    def _tell(self, refusing: bool) -> None:
        """When that changes."""
        if refusing and not self._refusing:
            log.error(
                "no new mail is accepted: the disk with the queue in %s has %d octets free, and min_free_octets is %d",
                self.directory, self._free, self._min_free_octets,
            )  # fmt: skip
        elif self._refusing and not refusing:
            log.info("the disk with the queue has room again: mail is accepted")
        self._refusing = refusing


def _nothing() -> None:
    """The default: nothing can make room."""
