"""The log on stderr: in Postfix's form, so that its log tools (fail2ban, pflogsumm) work unchanged; or JSON."""

import asyncio
import functools
import logging
import os
import sys
import time
from contextlib import nullcontext, suppress
from typing import Any, TextIO

from letterlock.app.output import GuardedStream, json_text
from letterlock.mail.printable import printable

_PROGRAMS = {"letterlock.receive": "smtpd", "letterlock.deliver": "smtp", "letterlock.report": "bounce"}


@functools.lru_cache(maxsize=4)
def _stamp(seconds: int) -> str:
    return time.strftime("%b %e %H:%M:%S", time.localtime(seconds))


@functools.cache
def _program(logger: str) -> str:
    return next((name for room, name in _PROGRAMS.items() if logger.startswith(room)), "letterlock")


@functools.lru_cache(maxsize=16)
def _begin(seconds: int, hostname: str, logger: str, process: int | None) -> str:
    """What lines of one second begin with."""
    return f"{_stamp(seconds)} {hostname} postfix-letterlock/{_program(logger)}[{process}]: "


class LeanRecord(logging.LogRecord):
    """A record with what is shown, made thousands of times a second: nothing of where in the source, thread or task."""

    def __init__(
        self,
        name: str,
        level: int,
        pathname: str,  # noqa: ARG002
        lineno: int,  # noqa: ARG002
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,  # noqa: ARG002
        sinfo: str | None = None,  # noqa: ARG002
    ) -> None:
        self.name = name
        self.msg = msg
        self.args = args
        self.levelname = "INFO" if level == logging.INFO else logging.getLevelName(level)
        self.levelno = level
        self.exc_info = exc_info
        self.exc_text = self.stack_info = None
        self.created = time.time()
        self.process = os.getpid()


class PostfixFormatter(logging.Formatter):
    """`Nov 23 15:04:05 host postfix-letterlock/smtp[812]: ...`, time in the system's zone as syslog has it."""

    def __init__(self, hostname: str) -> None:
        super().__init__()
        self._hostname = hostname.partition(".")[0]

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback, if there is one, follows it."""
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        line = f"{_begin(int(record.created), self._hostname, record.name, record.process)}{level}{record.getMessage()}"
        if not line.isprintable():
            line = printable(line)
        return f"{line}\n{self._traceback(record)}" if record.exc_info else line

    def _traceback(self, record: logging.LogRecord) -> str:
        """Its lines are set in, so that no text of an exception can pass for a line of the log."""
        lines = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return "\n".join(f"  {printable(line)}" for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (seconds since 1970), level, program, message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        entry = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "program": _program(record.name),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json_text(entry)


WAIT_SECONDS = 0.01


class GatheringHandler(logging.StreamHandler[TextIO]):
    """Writes what was logged within WAIT_SECONDS with one system call.

    Errors, and what is logged outside of the event loop, are written at once, behind what was waiting.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record: there are no filters, and lines are added without a lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, to be written soon. A stream that cannot be written to ends nothing."""
        try:
            loop = asyncio.get_running_loop() if record.levelno < logging.ERROR else None
        except RuntimeError:
            loop = None
        if loop is not None and not self._lines:
            loop.call_later(WAIT_SECONDS, self.flush)
        self._lines.append(self.format(record))
        if loop is None:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        with self.lock or nullcontext():
            lines = self._lines[:]
            del self._lines[: len(lines)]  # whatever another thread adds meanwhile stays
            if lines:
                with suppress(OSError, ValueError):  # nobody reads the log any more
                    self.stream.write("\n".join(lines) + "\n")
                    self.stream.flush()


def start_log(hostname: str, *, as_json: bool, verbose: bool) -> None:
    """Send the log of every room to stderr."""
    # The formatters escape: what passes here thousands of times a second is not looked through twice.
    stream = sys.stderr.unguarded if isinstance(sys.stderr, GuardedStream) else sys.stderr
    handler = GatheringHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else PostfixFormatter(hostname))
    root = logging.getLogger("letterlock")
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
    # As the manual of `logging` says for what is not shown here: where in the source.
    logging._srcfile = None  # noqa: SLF001  # the manual gives this very line
    logging.setLogRecordFactory(LeanRecord)
