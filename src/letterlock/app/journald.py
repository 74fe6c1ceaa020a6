"""The log in systemd's journal, by its native protocol: one host and one program before each line, as in Postfix's log.

Lines on stderr would stand under the name of the unit, with a second prefix of ours behind it, and rsyslog would not
take them for mail.
"""

import asyncio
import logging
import os
import socket
import struct
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from letterlock.app.log_text import program_of, words_of
from letterlock.events import LineHandler, LogEvent, MessageLines, Show

JOURNAL_SOCKET = Path("/run/systemd/journal/socket")
_MAIL = b"SYSLOG_FACILITY=2\n"  # LOG_MAIL (RFC 5424 section 6.2.1): rsyslog writes it to mail.log
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def leads_to_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether a descriptor is the one that systemd connected to the journal (JOURNAL_STREAM, systemd.exec(5))."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:  # a closed descriptor leads nowhere
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def open_journal(path: Path = JOURNAL_SOCKET) -> socket.socket | None:
    """A socket to the journal; None when there is none, or it may not be spoken to."""
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        journal.connect(os.fspath(path))
    except OSError:
        journal.close()
        return None
    journal.setblocking(False)
    return journal


class JournalHandler(LineHandler):
    """Sends each record as one datagram; what the journal does not take at once goes to `otherwise`, on stderr.

    What happens to each message is shown when the event loop comes to it next, and before any later record.
    """

    def __init__(self, journal: socket.socket, otherwise: logging.Handler) -> None:
        super().__init__()
        self._waiting: list[tuple[Show, object, object]] = []
        self._thread = threading.get_ident()
        self._journal = journal
        self._otherwise = otherwise

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record: there are no filters, and a datagram needs no lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. A journal that is full or gone ends nothing."""
        if self._waiting and threading.get_ident() == self._thread:
            self.flush()
        try:
            self._journal.send(datagram(record))
        except OSError:
            self._otherwise.handle(record)

    def later(self, show: Show, first: object, second: object) -> None:
        """Show it in the next turn of the event loop; at once where none is running."""
        self._waiting.append((show, first, second))
        if len(self._waiting) > 1:  # a flush is due
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            self.flush()

    def flush(self) -> None:
        """Show what is waiting."""
        waiting, self._waiting = self._waiting, []
        for show, first, second in waiting:
            try:
                show(first, second)
            except Exception as bug:  # noqa: BLE001  # as for every observer: the event is lost, and nothing else
                self.emit(_record(__name__, logging.ERROR, "internal error while showing what happened", bug))

    def take(self, make: MessageLines, first: object, second: object) -> None:
        """Send the lines of a message."""
        sent = 0
        try:
            for entry in make.text(_heads(os.getpid()), first, second)[1:].split(_NEXT_ENTRY):
                self._journal.send(f"{entry}\n".encode())
                sent += 1
        except OSError:
            for logger, event in list(make.events(first, second))[sent:]:
                self._otherwise.handle(_record(logger, logging.INFO, event))

    def close(self) -> None:
        """Close the socket."""
        self._journal.close()
        super().close()


_ENTRY = "\x1f"  # before each entry of a text; no line has it, for what is not printable is escaped
_NEXT_ENTRY = "\n" + _ENTRY


class Heads(dict[str, str]):
    """The fields of a line at level INFO up to the words of its message, by its logger, made when asked for."""

    def __init__(self, process: int) -> None:
        super().__init__()
        self._process = process

    def __missing__(self, logger: str) -> str:
        fields = _head(logging.INFO, program_of(logger), self._process) + _MAIL.decode()
        head = self[logger] = f"{_ENTRY}{fields}MESSAGE="
        return head


_heads = lru_cache(maxsize=2)(Heads)  # of this process; of its parent, too, after a fork


def _record(logger: str, level: int, message: str | LogEvent, bug: Exception | None = None) -> logging.LogRecord:
    about = None if bug is None else (type(bug), bug, bug.__traceback__)
    return logging.getLogRecordFactory()(logger, level, "", 0, message, (), about)


def _head(level: int, program: str, process: int | None) -> str:
    return f"PRIORITY={_PRIORITIES.get(level, 6)}\nSYSLOG_IDENTIFIER={program}\nSYSLOG_PID={process}\n"


def datagram(record: logging.LogRecord) -> bytes:
    """A record in the journal's native protocol. The message has its length: a traceback has several lines."""
    message = words_of(record).encode()
    head = _head(record.levelno, program_of(record.name), record.process)
    return b"".join((head.encode(), _MAIL, b"MESSAGE\n", struct.pack("<Q", len(message)), message, b"\n"))
