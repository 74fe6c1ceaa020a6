"""Messages that the server did not take for now, kept for the user in files of his own.

Each is a batch of SMTP commands, the envelope before the message: `letterlock-sendmail -bs < FILE` sends it. Nothing
sends them by itself, for the caller was told 75 (EX_TEMPFAIL) and may try again himself.
"""

import os
import time

from letterlock.sendmail.settings import state_home
from letterlock.sendmail.transfer import Envelope

MAX_KEPT = 1000


def keep(envelope: Envelope, recipients: list[str], wire: bytes, hostname: str) -> str:
    """Write the message for these recipients, durably, for its owner only; the path. Raises OSError."""
    folder = os.path.join(state_home(), "letterlock-unsent")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if len(os.listdir(folder)) >= MAX_KEPT:
        raise OSError(f"there are {MAX_KEPT} messages in {folder} already")
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}-{os.urandom(2).hex()}.smtp"
    path = os.path.join(folder, name)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(_commands(envelope, recipients, hostname) + wire + b".\r\nQUIT\r\n")
            opened.flush()
            os.fsync(file)
    except OSError:
        os.unlink(path)
        raise
    return path


def _commands(envelope: Envelope, recipients: list[str], hostname: str) -> bytes:
    offers = {"8BITMIME": ""}
    lines = [f"EHLO {hostname}", envelope.mail(0, offers), *map(envelope.rcpt, recipients), "DATA"]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
