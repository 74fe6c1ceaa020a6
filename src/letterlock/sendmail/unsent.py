"""Messages that the server did not take and that could not be left in its drop directory: files of the user's own.

Each is a batch of SMTP commands, the envelope before the message: `letterlock-sendmail -bs < FILE` sends it. Nothing
sends them by itself, for the caller was told 75 (EX_TEMPFAIL) and may try again.
"""

import os
import time

from letterlock.sendmail.settings import state_home

MAX_KEPT = 1000


def keep(batch: bytes) -> str:
    """Write a message, durably, for its owner only; the path. Raises OSError."""
    home = state_home()
    if home is None:
        raise OSError("this user has no home")
    folder = os.path.join(home, "letterlock-unsent")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if len(os.listdir(folder)) >= MAX_KEPT:
        raise OSError(f"there are {MAX_KEPT} messages in {folder} already")
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{os.urandom(2).hex()}.smtp"
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
