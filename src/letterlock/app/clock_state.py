"""Whether the system keeps its clock right, by its own account: adjtimex(2), or systemd-timedated.

The unit's sandbox (ProtectClock=) forbids adjtimex(2), also to those who only read. timedated is outside, and answers
everybody.
"""

import ctypes
import subprocess

_TIME_ERROR = 5  # of adjtimex(2): the clock is not synchronised
_TIMEX_OCTETS = 512  # more than struct timex has on any machine
_ASK = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
_ASK_SECONDS = 5.0  # timedated is started for the question, which takes a fraction of that
_ANSWERS = {"yes": True, "no": False}


def clock_is_synchronised() -> bool | None:
    """Whether the clock is synchronised; None where the system does not report it. May take seconds."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_OCTETS))
    except (OSError, AttributeError):
        state = -1
    return _asked() if state < 0 else state != _TIME_ERROR


def _asked() -> bool | None:
    try:
        done = subprocess.run(  # noqa: S603  # a constant
            _ASK, capture_output=True, check=True, text=True, timeout=_ASK_SECONDS
        )
    except (OSError, subprocess.SubprocessError):  # no systemd, or no D-Bus: not known
        return None
    return _ANSWERS.get(done.stdout.strip())
