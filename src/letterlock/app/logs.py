"""The log on stderr or in the journal: records are made lean, gathered, and written with few system calls."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TextIO

from letterlock.app.journald import JournalHandler, leads_to_journal, open_journal
from letterlock.app.log_text import JsonFormatter, PostfixFormatter
from letterlock.app.output import GuardedStream
from letterlock.events import LineHandler, LogEvent, MessageLines, Show

log = logging.getLogger(__name__)


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


WAIT_SECONDS = 0.1  # chosen: too short to notice; a write costs as much as the lines of thirty messages


Waiting = str | tuple[float, Show, object, object]
"""A line; or when something happened (seconds since 1970), and what shows it."""


class GatheringHandler(logging.StreamHandler[TextIO], LineHandler):
    """Shows and writes what happened within WAIT_SECONDS together, with one system call.

    Errors, and what is logged outside of the event loop, are written at once, behind what was waiting. So are the lines
    of other threads, but not behind what waits: what is shown is shown in the handler's own thread.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[Waiting] = []
        self._made: list[str] | None = None  # the lines so far, while they are made
        self._at = 0.0  # when that happened which is shown
        self._thread = threading.get_ident()
        self._begins: Mapping[str, str] | None = None  # how lines of that moment begin; None in JSON
        self._due: asyncio.TimerHandle | None = None  # the flush that is to come

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record: there are no filters, and lines are added without a lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, to be written soon. A stream that cannot be written to ends nothing."""
        if threading.get_ident() != self._thread:
            self._write([self.format(record)])
        elif self._made is not None:
            self._made.append(self.format(record.made_at(self._at) if isinstance(record, LeanRecord) else record))
        else:
            self._waiting.append(self.format(record))
            self._write_soon(at_once=record.levelno >= logging.ERROR)

    def later(self, show: Show, first: object, second: object) -> None:
        """Show it when lines are written."""
        self._waiting.append((time.time(), show, first, second))
        if self._due is None:
            self._write_soon()

    def _write_soon(self, *, at_once: bool = False) -> None:
        """Write what waits after WAIT_SECONDS; at once where no event loop is running."""
        try:
            loop = None if at_once else asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None:
            self.flush()
        elif self._due is None:
            self._due = loop.call_later(WAIT_SECONDS, self.flush)

    def take(self, make: MessageLines, first: object, second: object) -> None:
        """Add the lines of a message: of what is shown; else of now."""
        if (made := self._made) is None:
            self.later(partial(self.take, make), first, second)
        elif (begins := self._begins) is None:
            made += self._formatted(make.events(first, second))
        else:
            made.append(make.text(begins, first, second))

    def flush(self) -> None:
        """Show and write what is waiting."""
        if self._due is not None:  # once for each flush: else one that comes early would leave another to come for ever
            self._due.cancel()
            self._due = None
        with self.lock or nullcontext():
            while waiting := self._waiting:
                self._waiting = []
                self._made = lines = list[str]()
                try:
                    self._show(waiting, lines)
                finally:  # also of what was shown before the process is to end
                    self._made = None
                    self._write(lines)

    def _show(self, waiting: Iterable[Waiting], lines: list[str]) -> None:
        postfix = self.formatter if isinstance(self.formatter, PostfixFormatter) else None
        since, until, self._begins = 0, 0, None
        for each in waiting:
            if isinstance(each, str):
                lines.append(each)
                continue
            at, show, first, second = each
            self._at = at
            if postfix is not None and not since <= at < until:
                since, until, self._begins = int(at), int(at) + 1, postfix.begins(int(at), _own_process.number)
            try:
                show(first, second)
            except Exception:
                log.exception("internal error while showing what happened")  # the event is lost, and nothing else

    def _write(self, lines: list[str]) -> None:
        with self.lock or nullcontext(), suppress(OSError, ValueError):  # the reader of the log has gone
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()

    def _formatted(self, events: Iterable[tuple[str, LogEvent]]) -> list[str]:
        records = (LeanRecord(logger, logging.INFO, "", 0, event, (), None) for logger, event in events)
        return [self.format(record.made_at(self._at)) for record in records]


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
