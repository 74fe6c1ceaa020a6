"""Leaving a message for the server while it does not take any: its drop directory, which it empties when it can.

Everybody may put files there and nobody but the server may list them (mode 3733: sticky, set-group-ID). A message is
written under a name that nobody can guess, for its owner and the server's group only, made durable, and then renamed:
what is called `new-…` is whole. The server knows the sender by the file's owner.
"""

import os
import stat

MAX_RECIPIENTS = 1000  # of one file; the server takes no more
RESERVE_OCTETS = 4 << 20  # left free on the disk, which may be the queue's own
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def leave(directory: str, batches: list[bytes]) -> None:
    """Put messages into a drop directory, durably: all of them, or none. Raises OSError."""
    folder = os.open(directory, _DIRECTORY)
    left: list[str] = []
    try:
        _check(directory, folder, sum(map(len, batches)))
        left.extend(_leave(folder, batch) for batch in batches)
    except OSError:
        _remove(folder, *left)
        raise
    finally:
        os.close(folder)


def _check(directory: str, folder: int, octets: int) -> None:
    mode = os.fstat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise OSError(f"{directory} is no drop directory: anybody may delete there what others left")
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < 2 * octets + RESERVE_OCTETS:
        raise OSError(f"the disk of {directory} is nearly full")


def _leave(folder: int, batch: bytes) -> str:
    token = os.urandom(16).hex()
    unfinished, name = f"tmp-{token}", f"new-{token}"
    file = os.open(unfinished, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        os.fchmod(file, 0o640)  # for the server's group, which the directory gives it, whatever the umask
        rest = memoryview(batch)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(file)  # its new name too: the directory itself cannot be opened to be synced
    except OSError:
        _remove(folder, unfinished, name)
        raise
    finally:
        os.close(file)
    return name


def _remove(folder: int, *names: str) -> None:
    for name in names:
        try:
            os.unlink(name, dir_fd=folder)
        except OSError:
            continue  # it never came to be, or the server has it
