"""Whether files have changed since they were read."""

from pathlib import Path

FileState = tuple[int, int, int, int] | None
"""Attributes that change when a file is written or replaced (device, inode, time, size); None when it is not there."""


def file_states(*paths: Path) -> tuple[FileState, ...]:
    """The states of files, to find out later whether they have changed."""
    return tuple(_file_state(path) for path in paths)


def _file_state(path: Path) -> FileState:
    try:
        found = path.stat()
    except OSError:  # a file that is gone is another state, too
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
