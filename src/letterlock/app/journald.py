"""The log in systemd's journal, by its native protocol: one host and one program before each line, as in Postfix's log.

Lines on stderr would stand under the name of the unit, with a second prefix of ours behind it, and rsyslog would not
take them for mail.
"""

import logging
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from letterlock.app.log_text import program_of, words_of

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


class JournalHandler(logging.Handler):
    """Sends each record as one datagram; what the journal does not take at once goes to `otherwise`, on stderr."""

    def __init__(self, journal: socket.socket, otherwise: logging.Handler) -> None:
        super().__init__()
        self._journal = journal
        self._otherwise = otherwise

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record: there are no filters, and a datagram needs no lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. A journal that is full or gone ends nothing."""
        try:
            self._journal.send(datagram(record))
        except OSError:
            self._otherwise.handle(record)

    def close(self) -> None:
        """Close the socket."""
        self._journal.close()
        super().close()


def datagram(record: logging.LogRecord) -> bytes:
    """A record in the journal's native protocol. The message has its length: a traceback has several lines."""
    message = words_of(record).encode()
    priority = _PRIORITIES.get(record.levelno, 6)
    head = f"PRIORITY={priority}\nSYSLOG_IDENTIFIER={program_of(record.name)}\nSYSLOG_PID={record.process}\n"
    return b"".join((head.encode(), _MAIL, b"MESSAGE\n", struct.pack("<Q", len(message)), message, b"\n"))
