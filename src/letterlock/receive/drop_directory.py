"""The drop directory on disk: where local programs leave mail while the server takes none.

Everybody may put files there (mode 3733). The sticky bit keeps all but their owners and the server from renaming or
removing them, the missing `r` from listing them, their own mode (0640, with the directory's group by its set-group-ID
bit) from reading them. The server moves a file into `taken`, which is its own, under the id that its message will have,
and only then opens it: what a name leads to can no longer be changed. `refused` has what is no message, for the
operator to look at.

Nothing that lies there is trusted: links are not followed, pipes do not block, and a file counts only if it is regular,
has one name, the directory's group, nobody else who may write to it, and a bounded size. Its owner is the sender.
"""

import errno
import itertools
import os
import re
import stat
from collections.abc import Generator
from contextlib import ExitStack, suppress
from pathlib import Path

MODE = 0o3733  # everybody may leave a file, nobody may list or take those of others, as in /tmp
CLOSED_MODE = 0o700  # nobody but the server
MAX_LISTED = 10_000  # names looked at in one go; the next look goes on there, so nobody can hide others' mail
MAX_REFUSED = 100  # kept for the operator; what is more is removed
MAX_REFUSED_OCTETS = 1 << 20  # of each: as much as shows what it is
UNFINISHED_SECONDS = 600  # `sendmail` writes what it holds in memory, which takes seconds
_READY = re.compile(r"new-[0-9a-f]{32}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.ENXIO)  # open(2) of a symbolic link, and of a socket
_TAKEN, _REFUSED = "taken", "refused"


class DropUnusable(Exception):
    """There is no drop directory that could be trusted. `str()` says why."""


class Unfit(Exception):
    """What was left there is no message. `str()` says why, for the log."""


class Dropped:
    """What somebody left: a file, which the caller closes, and its owner."""

    def __init__(self, descriptor: int, uid: int, max_octets: int) -> None:
        self.uid = uid
        self._descriptor = descriptor
        self._max_octets = max_octets
        self._octets = 0

    def read(self, octets: int) -> bytes:
        """The next octets of a file that may change meanwhile; b"" at its end. Raises Unfit, OSError."""
        block = os.read(self._descriptor, octets)
        self._octets += len(block)
        if self._octets > self._max_octets:
            raise Unfit(f"it has more than {self._max_octets} bytes")
        return block

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def close_drop_directory(path: Path) -> None:
    """Let nobody leave anything there any more, if there is such a directory of ours."""
    with ExitStack() as opened, suppress(OSError):  # there is none, or it is not ours to change
        directory = _opened(path, None, opened)
        if os.fstat(directory).st_uid == os.geteuid():
            os.fchmod(directory, CLOSED_MODE)


def _opened(path: Path | str, parent: int | None, stack: ExitStack) -> int:
    directory = os.open(path, _DIRECTORY, dir_fd=parent)
    stack.callback(os.close, directory)
    return directory


class DropDirectory:
    """An open drop directory that is ours. Its methods read and write the disk: they are for a thread."""

    def __init__(self, path: Path) -> None:
        """Open it, made if it is not there, and let everybody in. Raises DropUnusable."""
        self.path = path
        self._opened = ExitStack()
        self._listing: Generator[os.DirEntry[str], None, None] | None = None
        try:
            path.mkdir(mode=CLOSED_MODE, parents=True, exist_ok=True)
            self._directory = _opened(path, None, self._opened)
            self._taken = self._own(_TAKEN)
            self._refused = self._own(_REFUSED)
            self._group = os.fstat(self._directory).st_gid
            self._require_owner()
            self.open_to_all()
        except (OSError, DropUnusable) as error:
            self._opened.close()
            why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise DropUnusable(f"drop directory {path}: {why}") from None

    def _own(self, name: str) -> int:
        with suppress(FileExistsError):  # the usual case
            os.mkdir(name, CLOSED_MODE, dir_fd=self._directory)
        return _opened(name, self._directory, self._opened)

    def _require_owner(self) -> None:
        ours = (self._directory, self._taken, self._refused)
        if any(os.fstat(directory).st_uid != os.geteuid() for directory in ours):
            raise DropUnusable("it or a directory in it belongs to somebody else")

    def close(self) -> None:
        """Close it; what is left there may still be added to."""
        if self._listing is not None:
            self._listing.close()
        self._opened.close()

    @property
    def is_open(self) -> bool:
        """Whether everybody can leave files now."""
        return stat.S_IMODE(os.fstat(self._directory).st_mode) == MODE

    def open_to_all(self) -> None:
        """Let everybody leave files. Raises DropUnusable."""
        os.fchmod(self._directory, MODE)
        if not self.is_open:
            raise DropUnusable("the set-group-ID bit cannot be set: its group must be one of the server's")

    def close_to_all(self) -> None:
        """Let nobody leave anything: there is no room for it."""
        os.fchmod(self._directory, CLOSED_MODE)

    def ready(self, limit: int, now: float) -> list[str]:
        """Names of files that are whole, at most `limit`; what nobody will finish is removed on the way.

        `now`: seconds since 1970, by the clock that files have their times from.
        """
        found: list[str] = []
        self._listing = self._listing or self._entries()
        for _ in range(MAX_LISTED):
            entry = next(self._listing, None)
            if entry is None:
                self._listing = None
                break
            if _READY.fullmatch(entry.name):
                found.append(entry.name)
            elif entry.name not in (_TAKEN, _REFUSED):
                self._remove_if_old(entry, now)
            if len(found) == limit:
                break
        return found

    def _entries(self) -> "Generator[os.DirEntry[str], None, None]":
        with os.scandir(self._directory) as entries:
            yield from entries

    def _remove_if_old(self, entry: "os.DirEntry[str]", now: float) -> None:
        """By its last change, which nobody can set."""
        with suppress(FileNotFoundError):  # its sender finished, or removed it
            if now - entry.stat(follow_symlinks=False).st_ctime > UNFINISHED_SECONDS:
                self._remove(entry.name)

    def taken(self, limit: int) -> list[str]:
        """Ids of the messages that were taken and not finished, at most `limit`."""
        with os.scandir(self._taken) as entries:
            return sorted(entry.name for entry in itertools.islice(entries, limit))

    def take(self, name: str, message_id: str) -> bool:
        """Make a file ours, under the id that its message will have; False if it is no file, and so was removed."""
        try:
            if stat.S_ISREG(os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode):
                os.rename(name, message_id, src_dir_fd=self._directory, dst_dir_fd=self._taken)
                os.fsync(self._taken)
                return True
            self._remove(name)
        except FileNotFoundError:  # its owner thought better of it
            pass
        return False

    def open(self, message_id: str, max_octets: int) -> Dropped:
        """What was taken under an id. Raises Unfit, OSError."""
        try:
            file = os.open(message_id, _FILE, dir_fd=self._taken)
        except PermissionError:
            raise Unfit("the server may not read it") from None
        except OSError as error:
            if error.errno in _NO_FILE:  # its owner put that under the name between our look and our move
                raise Unfit("it is no regular file") from None
            raise
        found = os.fstat(file)
        if why := self._fault(found, max_octets):
            os.close(file)
            raise Unfit(why)
        return Dropped(file, found.st_uid, max_octets)

    def _fault(self, found: os.stat_result, max_octets: int) -> str | None:
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file"
        if found.st_nlink != 1:
            return "it has another name"
        if found.st_gid != self._group or found.st_mode & 0o022:
            return f"others could have written it (mode {stat.S_IMODE(found.st_mode):04o}, group {found.st_gid})"
        return f"it has more than {max_octets} bytes" if found.st_size > max_octets else None

    def finish(self, message_id: str) -> None:
        """Remove what was taken, durably. Raises OSError."""
        with suppress(FileNotFoundError):  # after a crash it may be gone already
            _unlink(message_id, self._taken)
        os.fsync(self._taken)

    def set_aside(self, message_id: str) -> bool:
        """Keep what is no message for the operator, if it is small and there is room; whether it was kept."""
        found = os.stat(message_id, dir_fd=self._taken, follow_symlinks=False)
        with os.scandir(self._refused) as entries:
            many = sum(1 for _ in itertools.islice(entries, MAX_REFUSED)) >= MAX_REFUSED
        if many or not stat.S_ISREG(found.st_mode) or found.st_size > MAX_REFUSED_OCTETS or found.st_nlink != 1:
            try:
                self.finish(message_id)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:  # such a directory is moved away, however many are there already
                    raise
            else:
                return False
        os.rename(message_id, message_id, src_dir_fd=self._taken, dst_dir_fd=self._refused)
        return True

    def _remove(self, name: str) -> None:
        """Remove whatever it is; a directory that somebody keeps full stays, and does no harm."""
        try:
            _unlink(name, self._directory)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise


def _unlink(name: str, directory: int) -> None:
    """Remove a file, or a directory that is empty. Raises OSError."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=directory)
