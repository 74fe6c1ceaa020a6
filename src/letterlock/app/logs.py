"""The log on stderr or in the journal: records are made lean, gathered, and written with few system calls."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import Any, TextIO

from letterlock.app.journald import JournalHandler, leads_to_journal, open_journal
from letterlock.app.log_text import JsonFormatter, PostfixFormatter
from letterlock.app.output import GuardedStream
from letterlock.events import LineHandler, LogEvent, Waiting


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
        self.process = _own_process.number

    def made_at(self, at: float) -> "LeanRecord":
        """The same, of another moment (seconds since 1970)."""
        self.created = at
        return self


class _OwnProcess:
    """The number of this process, without a system call for each record."""

    def __init__(self) -> None:
        self.look()
        os.register_at_fork(after_in_child=self.look)

    def look(self) -> None:
        """Ask the system: at the start, and in each process that was forked from this one."""
        self.number = os.getpid()


_own_process = _OwnProcess()


WAIT_SECONDS = 0.05  # chosen: too short to notice, and a hundred messages at once take half the time per line of ten


class GatheringHandler(logging.StreamHandler[TextIO], LineHandler):
    """Writes what was logged within WAIT_SECONDS with one system call.

    Errors, and what is logged outside of the event loop, are written at once, behind what was waiting.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.waiting = []

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
        self.waiting.append(self.format(record))
        if loop is None:
            self.flush()
        elif len(self.waiting) == 1:  # else a flush is due
            loop.call_later(WAIT_SECONDS, self.flush)

    def write_soon(self) -> None:
        """Write what waits after WAIT_SECONDS; at once where no event loop is running."""
        try:
            asyncio.get_running_loop().call_later(WAIT_SECONDS, self.flush)
        except RuntimeError:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        with self.lock or nullcontext():
            while waiting := self.waiting[:]:  # again for what another thread added meanwhile: it counts on this flush
                del self.waiting[: len(waiting)]
                with suppress(OSError, ValueError):  # the reader of the log has gone
                    self.stream.write("\n".join(self._lines(waiting)) + "\n")
                    self.stream.flush()

    def _lines(self, waiting: Iterable[Waiting]) -> list[str]:
        postfix = self.formatter if isinstance(self.formatter, PostfixFormatter) else None
        lines, begins, since, until = list[str](), dict[str, str](), 0, 0
        for each in waiting:
            if isinstance(each, str):
                lines.append(each)
                continue
            at, make, first, second = each
            try:
                if postfix is None:
                    lines += self._formatted(at, make.events(first, second))
                    continue
                if not since <= at < until:
                    since, until, begins = int(at), int(at) + 1, postfix.begins(int(at), _own_process.number)
                lines.append(make.text(begins, first, second))
            except Exception as bug:  # noqa: BLE001  # as for every observer: the event is lost, and nothing else
                lines.append(self._complaint(bug))
        return lines

    def _formatted(self, at: float, events: Iterable[tuple[str, LogEvent]]) -> list[str]:
        records = (LeanRecord(logger, logging.INFO, "", 0, event, (), None) for logger, event in events)
        return [self.format(record.made_at(at)) for record in records]

    def _complaint(self, bug: Exception) -> str:
        found = type(bug), bug, bug.__traceback__
        return self.format(
            LeanRecord(__name__, logging.ERROR, "", 0, "internal error while formatting a log line", (), found)
        )


def start_log(hostname: str, *, as_json: bool, verbose: bool) -> None:
    """Send the log of every room to stderr; to the journal, with its own fields, where stderr leads there."""
    # The formatters escape: what passes here thousands of times a second is not looked through twice.
    stream = sys.stderr.unguarded if isinstance(sys.stderr, GuardedStream) else sys.stderr
    handler: logging.Handler = GatheringHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else PostfixFormatter(hostname))
    if not as_json and leads_to_journal(stream.fileno(), os.environ) and (journal := open_journal()) is not None:
        handler = JournalHandler(journal, handler)
    root = logging.getLogger("letterlock")
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    root.propagate = False
    # As the manual of `logging` says for what is not shown here: where in the source.
    logging._srcfile = None  # noqa: SLF001  # the manual gives this very line
    logging.setLogRecordFactory(LeanRecord)


def flush_log() -> None:
    """Write what was logged and waits, so that what is printed next comes after it."""
    for handler in logging.getLogger("letterlock").handlers:
        handler.flush()
