"""A message of one queue's database, whole, and how it gets into another one's."""

import logging
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.queue.ids import IdMaker
from letterlock.store.rows import Damaged
from letterlock.store.sealing import ContentSeal
from letterlock.store.sqlite.statements import run

log = logging.getLogger("letterlock.store")
Row = dict[str, str | float | bytes | None]


@dataclass(frozen=True, slots=True)
class Parcel:
    """All rows of one message by their columns."""

    message: Row
    body: Sequence[Row]
    tail: Sequence[Row]
    task: Sequence[Row]
    recipient: Sequence[Row]
    attempt: Sequence[Row]

    @property
    def id(self) -> str:
        """The message's id."""
        return str(self.message["id"])

    @property
    def octets(self) -> int:
        """How large its content is on the disk."""
        return sum(len(_blob(row)) for row in self.body)

    def renamed(self, name: str, seal: ContentSeal) -> "Parcel":
        """The same message under another id; its content is sealed anew, for a seal holds for one id."""
        given: Row = {"message_id": name}
        return Parcel(
            message=self.message | {"id": name},
            body=[row | given | {"content": _resealed(_blob(row), self.id, name, seal)} for row in self.body],
            tail=[row | given for row in self.tail],
            task=[row | given for row in self.task],
            recipient=[row | given for row in self.recipient],
            attempt=[row | given for row in self.attempt],
        )


def read_parcel(db: sqlite3.Connection, message_id: str) -> Parcel:
    """A message of a queue, as its rows have it, damaged or not. Raises sqlite3.Error."""
    [message] = _rows(db, "SELECT * FROM message WHERE id = ?", message_id)
    return Parcel(
        message=message,
        body=_rows(db, "SELECT * FROM body WHERE message_id = ?", message_id),
        tail=_rows(db, "SELECT * FROM tail WHERE message_id = ?", message_id),
        task=_rows(db, "SELECT * FROM task WHERE message_id = ?", message_id),
        recipient=_rows(db, "SELECT * FROM recipient WHERE message_id = ?", message_id),
        attempt=_rows(db, "SELECT message_id, record FROM attempt WHERE message_id = ? ORDER BY id", message_id),
    )


def take_parcel(db: sqlite3.Connection, source: str, parcel: Parcel, seal: ContentSeal) -> None:
    """Put a message of the queue `source` into this one, once. Raises sqlite3.Error.

    Two messages with one id are two messages: the second gets another id. But one that is here already, whole, is a
    copy that an older version made before it was killed.
    """
    if not run(db, "adopt", source, parcel.id).rowcount:
        return
    if run(db, "message", parcel.id).fetchone() is not None:
        if _is_same(read_parcel(db, parcel.id), parcel, seal):
            return
        name = _free_name(db, parcel)
        log.warning("%s: another message has this id; the one taken over from %s is %s now", parcel.id, source, name)
        parcel = parcel.renamed(name, seal)
    insert_parcel(db, parcel)


def insert_parcel(db: sqlite3.Connection, parcel: Parcel) -> None:
    """Write the rows of a message. Raises sqlite3.Error."""
    for table in ("message", "body", "tail", "task", "recipient", "attempt"):
        rows = [parcel.message] if table == "message" else getattr(parcel, table)
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608  # our own schema's names


def _is_same(here: Parcel, there: Parcel, seal: ContentSeal) -> bool:
    """Whether both are one message: what was accepted is equal, whatever became of it since."""
    mailboxes = [[row["mailbox"] for row in each.recipient] for each in (here, there)]
    contents = [[_opened(_blob(row), each.id, seal) for row in each.body] for each in (here, there)]
    return here.message == there.message and mailboxes[0] == mailboxes[1] and contents[0] == contents[1]


def _free_name(db: sqlite3.Connection, parcel: Parcel) -> str:
    """An id that sorts by the time at which the message was accepted, like the one that it had."""
    accepted_at = max(0.0, float(parcel.message["accepted_at"] or 0.0))
    new_id = IdMaker(lambda: accepted_at, random.SystemRandom().getrandbits)
    while run(db, "message", name := new_id()).fetchone() is not None:
        pass
    return name


def _blob(row: Row) -> bytes:
    content = row["content"]
    return content if isinstance(content, bytes) else b""


def _opened(content: bytes, message_id: str, seal: ContentSeal) -> bytes:
    try:
        return seal.open(message_id, content)
    except Damaged:  # damaged data is compared as it is
        return content


def _resealed(content: bytes, old: str, new: str, seal: ContentSeal) -> bytes:
    """Damaged data stays damaged: no other id makes it readable."""
    try:
        return seal.close(new, seal.open(old, content))
    except Damaged:  # see above
        return content


def _rows(db: sqlite3.Connection, sql: str, message_id: str) -> list[Row]:
    found = db.execute(sql, (message_id,))
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]
