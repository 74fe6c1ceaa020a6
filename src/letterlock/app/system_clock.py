"""The machine's clock, and which boot its monotonic half belongs to."""

import logging
import secrets
import time
from pathlib import Path

log = logging.getLogger("letterlock.app.server")


class SystemClock:
    """The machine's time, as ports.Clock.

    `now` and `monotonic` are the system's functions themselves: the clock is read some fifteen times per message.
    """

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def boot_id() -> str:
    """The origin of the monotonic clock, which survives restarts of the server, but not of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no Linux, or a sandbox without /proc: then this process is all that is known
        return secrets.token_hex(16)
