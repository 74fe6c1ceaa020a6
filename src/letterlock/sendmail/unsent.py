"""Messages that the server did not take and that could not be left in its drop directory: files of the user's own.

Each is a batch of SMTP commands, the envelope before the message. Nothing sends them by itself, for the caller got
status 75 (EX_TEMPFAIL) and may try again; `letterlock-sendmail -q` moves them into the drop directory, once it exists.
"""

import os
import time

from letterlock.sendmail.settings import state_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = "letterlock-unsent"
MAX_KEPT = 1000  # chosen: a server that is down for long must not let cron jobs fill the home directory
SUFFIX = ".smtp"


def keep(batch: bytes) -> str:
    """Write a message, durably, for its owner only; the path. Raises OSError."""
    home = state_home()
    if home is None:
        raise OSError("this user has no home")
    folder = os.path.join(home, FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if len(os.listdir(folder)) >= MAX_KEPT:
        raise OSError(f"there are {MAX_KEPT} messages in {folder} already")
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{os.urandom(2).hex()}{SUFFIX}"
    path = os.path.join(folder, name)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(batch)
            opened.flush()
            os.fsync(file)
    except OSError:
        os.unlink(path)
        raise
    return path


def move_to(directories: list[str]) -> int:
    """Move what is kept into the first drop directory that takes it; how many. Raises OSError.

    The file is removed after it was left there: a kill in between sends it twice, and never not at all.
    """
    from letterlock.sendmail.drop_file import leave  # noqa: PLC0415  # seldom needed

    home = state_home()
    folder = os.path.join(home or "", FOLDER)
    if home is None or not os.path.isdir(folder):
        return 0
    moved = 0
    for name in sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX)):
        with open(os.path.join(folder, name), "rb") as file:
            _leave_in_one(directories, file.read(), leave)
        os.unlink(os.path.join(folder, name))
        moved += 1
    return moved


def _leave_in_one(directories: list[str], batch: bytes, leave: "Callable[[str, list[bytes]], None]") -> None:
    trouble = OSError("the server has no drop directory")
    for directory in directories:
        try:
            leave(directory, [batch])
        except OSError as error:
            trouble = OSError(f"{directory}: {error.strerror or error}")
        else:
            return
    raise trouble
