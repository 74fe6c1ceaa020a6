"""A record of the log as text: in Postfix's form, for its log tools (fail2ban, pflogsumm, logwatch); or JSON."""

import functools
import logging
import time

from letterlock.app.output import json_text
from letterlock.events import LogEvent
from letterlock.mail.printable import printable

# Postfix's program for a room's lines, for tools that go by it; the longest name that fits counts. The rest is ours.
_PROGRAMS = {
    "letterlock.receive": "postfix/smtpd",
    "letterlock.receive.cleanup": "postfix/cleanup",
    "letterlock.receive.qmgr": "postfix/qmgr",
    "letterlock.drop": "postfix/pickup",
    "letterlock.deliver": "postfix/smtp",
    "letterlock.deliver.local": "postfix/local",
    "letterlock.deliver.local.lmtp": "postfix/lmtp",
    "letterlock.report": "postfix/bounce",
}


@functools.lru_cache(maxsize=4)  # seconds: records come in their order, but for those of a thread
def _stamp(seconds: int) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(seconds))


@functools.cache  # one per logger, and there are some dozens
def program_of(logger: str) -> str:
    """Under which program's name a logger's lines stand."""
    while logger and logger not in _PROGRAMS:
        logger = logger.rpartition(".")[0]
    return _PROGRAMS.get(logger, "letterlock")


class Begins(dict[str, str]):
    """How the lines of each logger begin in one second, made when asked for."""

    def __init__(self, seconds: int, hostname: str, process: int | None) -> None:
        super().__init__()
        self._stamp = f"{_stamp(seconds)} {hostname} "
        self._process = f"[{process}]: "

    def __missing__(self, logger: str) -> str:
        begin = self[logger] = f"{self._stamp}{program_of(logger)}{self._process}"
        return begin


_begins = functools.lru_cache(maxsize=4)(Begins)  # of the last seconds; more only where processes are forked


class PostfixFormatter(logging.Formatter):
    """`Nov 23 15:04:05 host postfix/smtp[812]: ...`, time in the system's zone as syslog has it."""

    def __init__(self, hostname: str) -> None:
        super().__init__()
        self._hostname = hostname.partition(".")[0]

    def begins(self, seconds: int, process: int | None) -> dict[str, str]:
        """How the lines of each logger begin that tell of a second (since 1970)."""
        return _begins(seconds, self._hostname, process)

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback, if there is one, follows it."""
        return self.begins(int(record.created), record.process)[record.name] + words_of(record)


def words_of(record: logging.LogRecord) -> str:
    """The text of a record, without time, host and program; the lines of a traceback follow."""
    line = record.getMessage()
    if record.levelno > logging.INFO:
        line = f"{_POSTFIX_LEVELS.get(record.levelno, 'warning')}: {line}"
    if not line.isprintable():
        line = printable(line)
    return f"{line}\n{_traceback(record)}" if record.exc_info else line


_POSTFIX_LEVELS = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "fatal"}


def _traceback(record: logging.LogRecord) -> str:
    """Its lines are set in, so that no text of an exception can pass for a line of the log."""
    lines = logging.Formatter().formatException(record.exc_info).split("\n") if record.exc_info else []
    return "\n".join(f"  {printable(line)}" for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object per event: time (seconds since 1970), level, program, process, event, its values, message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        entry: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "program": program_of(record.name),
            "process": record.process,
            "event": "message",
        }
        if isinstance(record.msg, LogEvent):
            entry |= {"event": record.msg.name, **record.msg.fields()}
        entry["message"] = record.getMessage()
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json_text(entry)
