"""The log in the journal: fields instead of prefixes, so that journalctl shows one host and one program per line."""

import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.app.journald import JournalHandler, leads_to_journal, open_journal
from letterlock.events import LogEvent


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Journal:
    """The journal's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(os.fspath(path))
        self.socket.setblocking(False)

    def entry(self) -> dict[str, str]:
        """The next datagram, as systemd reads it."""
        octets, entry = self.socket.recv(1 << 20), {}
        while octets:
            line, _, octets = octets.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (length,) = struct.unpack("<Q", octets[:8])
                value, octets = octets[8 : 8 + length], octets[9 + length :]
            entry[name.decode()] = value.decode()
        return entry


@pytest.fixture(name="journal")
def journal_fixture(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.socket.close()


def record(
    logger: str, message: object, level: int = logging.INFO, fault: BaseException | None = None
) -> logging.LogRecord:
    about = None if fault is None else (type(fault), fault, fault.__traceback__)
    return logging.LogRecord(logger, level, "", 0, message, (), about)


def handler_to(journal: Journal) -> tuple[JournalHandler, Kept]:
    sender, otherwise = open_journal(journal.path), Kept()
    assert sender is not None
    return JournalHandler(sender, otherwise), otherwise


def test_an_entry_has_postfix_program_mail_facility_and_nothing_before_its_words(journal: Journal) -> None:
    handler, otherwise = handler_to(journal)
    handler.handle(record("letterlock.receive.qmgr", LogEvent("queued", "%(id)s: from=<>", id="4F2A1")))
    handler.close()
    assert journal.entry() == {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "postfix/qmgr",
        "SYSLOG_PID": str(os.getpid()),
        "SYSLOG_FACILITY": "2",
        "MESSAGE": "4F2A1: from=<>",
    }
    assert otherwise.records == []


def test_levels_and_tracebacks(journal: Journal) -> None:
    handler, _ = handler_to(journal)
    handler.handle(record("letterlock.store", "the disk\nis full", logging.ERROR, ValueError("x\ny=z")))
    entry = journal.entry()
    handler.close()
    assert entry["PRIORITY"] == "3"
    assert entry["SYSLOG_IDENTIFIER"] == "letterlock"
    first, *others = entry["MESSAGE"].split("\n")
    assert first == "error: the disk\\nis full"
    assert all(line.startswith("  ") for line in others)


def test_what_the_journal_does_not_take_is_not_lost(journal: Journal) -> None:
    handler, otherwise = handler_to(journal)
    count = 0
    while not otherwise.records:
        handler.handle(record("letterlock.receive", "x" * 1000))
        count += 1
        assert count < 10_000
    journal.socket.close()
    handler.handle(record("letterlock.receive", "later"))
    handler.close()
    assert [each.getMessage()[:5] for each in otherwise.records] == ["xxxxx", "later"]


def test_the_journal_is_where_systemd_says(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        found = os.fstat(file.fileno())
        ours = f"{found.st_dev}:{found.st_ino}"
        assert leads_to_journal(file.fileno(), {"JOURNAL_STREAM": ours})
        for other in ("", "1:2", ours + "0", "nonsense"):
            assert not leads_to_journal(file.fileno(), {"JOURNAL_STREAM": other})
        assert not leads_to_journal(file.fileno(), {})
    assert not leads_to_journal(10_000, {"JOURNAL_STREAM": ours})  # no descriptor at all
    assert open_journal(tmp_path / "nobody") is None
