"""Lines of Letterlock's log in every form in which they are kept: syslog's two, JSON, and the journal's. Pure.

All become the same: a time, a program, and the text of the line in Postfix's form.
"""

import functools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_LINE_OCTETS = 1 << 16  # chosen: of a longer line, which Letterlock does not write, the rest is left out
_TRADITIONAL = r"(?P<old>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)"  # RFC 3164 section 4.1.2
_ISO = r"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"  # RFC 3339, as rsyslog writes today
_SYSLOG = re.compile(rf"(?:{_TRADITIONAL}|{_ISO}) \S+ (?P<program>[^\s\[\]:]+)(?:\[\d+\])?: (?P<text>.*)", re.DOTALL)
_END = 253_402_300_800  # the year 10000, which `datetime` cannot show
_MICROSECONDS = re.compile(r"[0-9]{1,17}")  # below _END
_AHEAD_SECONDS = 86_400.0  # a line without a year that would be further ahead is of last year


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. `at` is in seconds since 1970; `text` begins with a message's id, if it is about one."""

    at: float
    program: str
    text: str


def parse_line(line: str, now: float) -> LogLine | None:
    """A line of a file or of `journalctl -o json`; None when it is none of Letterlock's. `now` gives the year."""
    if line.startswith("{"):
        return _parse_json(line)
    found = _SYSLOG.match(line)
    if found is None:
        return None
    text = found["text"].rstrip("\r\n")
    if text.startswith("{") and (logged := _parse_json(text)) is not None:
        return logged  # `--log json` through syslog
    at = _old_time(found["old"], int(now)) if found["old"] else _iso_time(found["iso"])
    return None if at is None else LogLine(at, found["program"], text)


def _parse_json(line: str) -> LogLine | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):  # not a line of ours, or cut off: it is shown as it is
        return None
    match values:
        case {"time": float() | int() as at, "program": str(program), "message": str(text)} if 0 <= at < _END:
            return LogLine(float(at), program, text)
        case {"__REALTIME_TIMESTAMP": str(stamp), "MESSAGE": message} if _MICROSECONDS.fullmatch(stamp):
            return _from_journal(int(stamp) / 1e6, message, values)
    return None


def _from_journal(at: float, message: object, values: dict[str, Any]) -> LogLine | None:
    """The journal has text that is not UTF-8 as a list of numbers."""
    if isinstance(message, list):
        message = bytes(each & 255 for each in message if isinstance(each, int)).decode("utf-8", "backslashreplace")
    if not isinstance(message, str):
        return None
    if message.startswith("{") and (logged := _parse_json(message)) is not None:
        return logged
    return LogLine(at, str(values.get("SYSLOG_IDENTIFIER", "letterlock")), message)


@functools.lru_cache(maxsize=16)  # lines of one second stand together
def _iso_time(stamp: str) -> float | None:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):  # as above
        return None


@functools.lru_cache(maxsize=16)  # lines of one second stand together
def _old_time(stamp: str, now: int) -> float | None:
    """The last such moment that is not in the future."""
    year = time.localtime(now).tm_year
    for each in (year + 1, year, year - 1):
        try:
            at = datetime.strptime(f"{each} {stamp}", "%Y %b %d %H:%M:%S").astimezone().timestamp()
        except ValueError:  # 29 February
            continue
        if at <= now + _AHEAD_SECONDS:
            return at
    return None


def bounded(read: Callable[[int], bytes]) -> bytes | None:
    """The next line by a `readline`, cut if it is too long; None at the end."""
    line = read(MAX_LINE_OCTETS)
    if not line:
        return None
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = read(MAX_LINE_OCTETS)
    return line
