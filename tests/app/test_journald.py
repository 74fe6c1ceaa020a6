"""The log in the journal: fields instead of prefixes, so that journalctl shows one host and one program per line."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from letterlock.app.journald import JournalHandler, leads_to_journal, open_journal
from letterlock.events import LogEvent
from letterlock.mail.addresses import Mailbox
from letterlock.mail.envelope import Envelope
from letterlock.queue.observing import Arrival, Observers
from letterlock.receive.receipt_log import ReceiptLog


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


@pytest.fixture(name="alone")
def alone_fixture(journal: Journal) -> Iterator[tuple[JournalHandler, Kept]]:
    """The server's handler, as the only one of all rooms."""
    rooms = logging.getLogger("letterlock")
    before = rooms.handlers, rooms.propagate, rooms.level
    handler, otherwise = handler_to(journal)
    rooms.handlers, rooms.propagate = [handler], False
    rooms.setLevel(logging.INFO)
    yield handler, otherwise
    rooms.handlers, rooms.propagate = before[0], before[1]
    rooms.setLevel(before[2])
    handler.close()


ANN = Mailbox("ann", "example.org")
ENVELOPE = Envelope(id="4F2A1", reverse_path=ANN, recipients=(ANN,), size=7, accepted_at=0.0, expires_at=1.0)


def received(handler: JournalHandler, message_id: str = "<1@example.org>") -> None:
    arrival = Arrival(client="unknown[192.0.2.1]", protocol="ESMTP", message_id=message_id)
    logging.getLogger("letterlock").handlers = logging.getLogger("letterlock").handlers[:1]  # without pytest's
    Observers([ReceiptLog()], later=handler.later).received(ENVELOPE, arrival)


async def test_the_lines_of_a_message_are_entries_like_others_and_stand_before_what_is_logged_later(
    journal: Journal, alone: tuple[JournalHandler, Kept]
) -> None:
    received(alone[0], "<1@example.org>\nPRIORITY=0\x1f")
    logging.getLogger("letterlock.store").info("later")
    entries = [journal.entry() for _ in range(4)]
    assert entries[0] == {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "postfix/smtpd",
        "SYSLOG_PID": str(os.getpid()),
        "SYSLOG_FACILITY": "2",
        "MESSAGE": "4F2A1: client=unknown[192.0.2.1]",
    }
    assert [entry["SYSLOG_IDENTIFIER"] for entry in entries[1:]] == ["postfix/cleanup", "postfix/qmgr", "letterlock"]
    assert entries[1]["MESSAGE"] == r"4F2A1: message-id=<1@example.org>\nPRIORITY=0\x1f"
    assert entries[3]["MESSAGE"] == "later"
    assert alone[1].records == []


async def test_the_lines_of_a_message_are_sent_in_the_next_turn(
    journal: Journal, alone: tuple[JournalHandler, Kept]
) -> None:
    received(alone[0])
    with pytest.raises(BlockingIOError):
        journal.entry()
    await asyncio.sleep(0)
    assert journal.entry()["MESSAGE"] == "4F2A1: client=unknown[192.0.2.1]"


def test_lines_of_a_message_that_the_journal_does_not_take_are_not_lost(
    journal: Journal, alone: tuple[JournalHandler, Kept]
) -> None:
    count = 0
    while not alone[1].records:
        received(alone[0])
        count += 1
        assert count < 10_000
    taken = 0
    with suppress(BlockingIOError):  # it has no more
        while journal.entry():
            taken += 1
    assert taken + len(alone[1].records) == 3 * count
    assert [record.name.rpartition(".")[2] for record in alone[1].records][-1] == "qmgr"


def test_a_bug_in_making_lines_loses_them_alone(journal: Journal, alone: tuple[JournalHandler, Kept]) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    handler, _ = alone
    handler.later(broken, None, None)
    entry = journal.entry()
    first = entry["MESSAGE"].partition("\n")[0]
    assert (entry["PRIORITY"], first) == ("3", "error: internal error while showing what happened")


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
