"""Where the log is: files of syslog, rotated and compressed ones too, standard input, or the journal."""

import gzip
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from letterlock.cli.log.log_lines import bounded

LOG_DIRECTORY = Path("/var/log")
_MAIL_LOG = re.compile(r"(?:mail\.log|maillog)(?:[.-]\d+)?(?:\.gz)?")  # Debian's and Red Hat's names
SPOOLED_OCTETS = 1 << 24  # chosen: a longer standard input waits for the second reading in a temporary file
STANDARD_INPUT = "-"


class LogUnreadable(Exception):
    """A log cannot be read, or not to its end."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """One log that can be read several times. `lines` raises LogUnreadable."""

    name: str
    lines: Callable[[], Iterator[bytes]]


def mail_logs(directory: Path = LOG_DIRECTORY, *, since: float = 0.0) -> list[Path]:
    """The mail logs of a machine, the oldest first, without those that ended before a moment."""
    try:
        named = [each for each in directory.iterdir() if _MAIL_LOG.fullmatch(each.name)]
    except OSError:  # so the journal is asked
        return []
    changed = {each: _changed_at(each) for each in named}
    return sorted((each for each in named if changed[each] >= since), key=lambda each: changed[each])


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # it was rotated away just now
        return -math.inf
    except OSError:  # reading it says why not
        return math.inf


def file_source(path: Path) -> LogSource:
    """A log in a file, compressed or not."""
    return LogSource(str(path), lambda: _file_lines(path))


def _file_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"  # RFC 1952 section 2.3.1
        with gzip.GzipFile(path) if packed else path.open("rb") as opened:
            yield from _lines(opened)
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged or cut short"
        raise LogUnreadable(f"{path}: {why}") from None


def _lines(file: BinaryIO | gzip.GzipFile | IO[bytes]) -> Iterator[bytes]:
    while (line := bounded(file.readline)) is not None:
        yield line


@contextmanager
def standard_input() -> Iterator[LogSource]:
    """What comes on standard input, kept for the second reading."""
    with tempfile.SpooledTemporaryFile(SPOOLED_OCTETS) as kept, os.fdopen(os.dup(sys.stdin.fileno()), "rb") as given:
        shutil.copyfileobj(given, kept)

        def lines() -> Iterator[bytes]:
            kept.seek(0)
            yield from _lines(kept)

        yield LogSource("standard input", lines)


def journal_source(unit: str, since: float) -> LogSource:
    """The journal of a unit."""
    command = ["journalctl", "--output=json", "--no-pager", "--quiet", f"--unit={unit}", f"--since=@{int(since)}"]
    return LogSource(f"the journal of {unit}", lambda: _journal_lines(command))


def _journal_lines(command: Sequence[str]) -> Iterator[bytes]:
    try:
        process = subprocess.Popen(  # noqa: S603  # our own words; --unit=NAME cannot be taken for another option
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise LogUnreadable(f"journalctl: {error.strerror}") from None
    with process:
        if process.stdout is not None:
            yield from _lines(process.stdout)
    if process.returncode:
        raise LogUnreadable(f"journalctl ended with status {process.returncode}")
