"""How the commands end: the statuses of sysexits.h (INCOMPLETE is ours), and the exception that carries one."""

import os
import sys

# The statuses of sysexits.h without EX_, but for INCOMPLETE.
OK = 0
INCOMPLETE = 1  # of ours, as `letterlock queue list` ends: what was printed is not all
USAGE = 64
DATAERR = 65
NOINPUT = 66
NOUSER = 67
UNAVAILABLE = 69
OSERR = 71
IOERR = 74
TEMPFAIL = 75
PROTOCOL = 76
NOPERM = 77
CONFIG = 78


class Failure(Exception):
    """The end of a command: `status` for the caller, and a text for people. TEMPFAIL means: the same later may work."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def prepare_streams() -> None:
    """Make both streams show `?` for what their encoding lacks; a closed one leads nowhere."""
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def printable(text: str) -> str:
    """Text of somebody else, safe for a terminal and a log: other characters become `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
