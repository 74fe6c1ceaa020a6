"""Reads the queue's database into values. A row that cannot be read is set aside and logged."""

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

from letterlock.mail.envelope import Envelope
from letterlock.queue.journal import last_attempts
from letterlock.queue.tasks import (
    LastAttempt,
    Notice,
    NoticeKind,
    OutcomeKind,
    QueuedMessage,
    QueuedRecipient,
    RecipientOutcome,
)
from letterlock.store.rows import Damaged, read_envelope, read_mailbox, read_record
from letterlock.store.sqlite.statements import run

log = logging.getLogger("letterlock.store")
MAX_ATTEMPTS_SHOWN = 100  # chosen: the newest attempts explain a message's state
_TOLD, _SET_ASIDE = 1, 2  # recipient.told
UNKNOWN_STATUS = "5.0.0"  # RFC 3463: other or undefined
_ASKED = {
    NoticeKind.FAILED: ("untold_recipients", OutcomeKind.FAILED),
    NoticeKind.DELAYED: ("unwarned_recipients", OutcomeKind.DEFERRED),
    NoticeKind.RELAYED: ("owed_recipients", OutcomeKind.DELIVERED),
}


def find_notices(db: sqlite3.Connection, limit: int) -> list[Notice]:
    """Failed or relayed recipients whose sender has not been notified yet."""
    notices = []
    for kind, due, set_aside in (
        (NoticeKind.FAILED, "untold_messages", "set_notice_aside"),
        (NoticeKind.RELAYED, "owed_messages", "forgive_all"),
    ):
        for (message_id,) in run(db, due, limit).fetchall():
            try:
                notices.append(_notice(db, message_id, kind))
            except Damaged as error:
                log.critical(
                    "%s: its row in the queue is damaged, its sender cannot be notified: %s", message_id, error
                )
                run(db, set_aside, message_id)
    return notices


def find_delays(db: sqlite3.Connection, accepted_before: float, limit: int) -> list[Notice]:
    """Ids grow with time, so the first message that is too young ends the search."""
    notices = []
    for message_id, accepted_at, reverse_path in run(db, "unwarned_messages", limit).fetchall():
        if accepted_at > accepted_before:
            break
        if reverse_path is None:
            run(db, "mark_all_warned", message_id)
            continue
        try:
            notices.append(_notice(db, message_id, NoticeKind.DELAYED))
        except Damaged as error:
            log.critical("%s: its row in the queue is damaged, its sender cannot be notified: %s", message_id, error)
            run(db, "mark_all_warned", message_id)
    return notices


def _notice(db: sqlite3.Connection, message_id: str, kind: NoticeKind) -> Notice:
    envelope = find_envelope(db, message_id)
    asked, became = _ASKED[kind]
    outcomes = tuple(
        RecipientOutcome(
            recipient=read_mailbox(mailbox),
            kind=became,
            status=status or UNKNOWN_STATUS,
            text=text or "the reason was lost",
            remote_reply=reply,
        )
        for mailbox, status, text, reply in run(db, asked, message_id)
    )
    next_hops = frozenset(outcome.recipient.domain for outcome in outcomes)
    return Notice(
        kind=kind, envelope=envelope, outcomes=outcomes, last_attempts=_last_attempts(db, message_id, next_hops)
    )


def _last_attempts(db: sqlite3.Connection, message_id: str, next_hops: frozenset[str]) -> tuple[LastAttempt, ...]:
    newest = run(db, "newest_attempts", message_id, MAX_ATTEMPTS_SHOWN)
    return last_attempts((read_record(text) for (text,) in newest), next_hops)


def find_envelope(db: sqlite3.Connection, message_id: str) -> Envelope:
    """An envelope. Raises Damaged."""
    row = run(db, "message", message_id).fetchone()
    if row is None:
        raise Damaged("the message is missing")
    return read_envelope(row, run(db, "recipients", message_id).fetchall())


def find_page(db: sqlite3.Connection, limit: int, after: str) -> list[QueuedMessage]:
    """As many messages as asked for, if there are so many."""
    ids = run(db, "message_ids", after, limit).fetchall()
    return [message for (message_id,) in ids if (message := find_message(db, message_id)) is not None]


def find_message(db: sqlite3.Connection, message_id: str) -> QueuedMessage | None:
    """One queued message, damaged or not; None when it is not there."""
    row = run(db, "message", message_id).fetchone()
    if row is None:
        return None
    rows = run(db, "recipients", message_id).fetchall()
    recipients = tuple(_recipient(each) for each in rows)
    waiting = frozenset(each.next_hop for each in recipients if each.state != "delivered")
    return QueuedMessage(
        id=row[0],
        sender=row[1] or "",
        size=row[2],
        accepted_at=row[3],
        expires_at=row[4],
        body_type=row[5],
        client=row[6],
        tls_demand=row[7],
        ret=row[9],
        envid=row[10],
        recipients=recipients,
        last_attempts=_last_attempts(db, message_id, waiting) if waiting else (),
        damage=_damage(row, rows),
    )


def _damage(row: Sequence[Any], recipients: Sequence[Sequence[Any]]) -> str | None:
    try:
        read_envelope(row, recipients)
    except Damaged as error:
        return str(error)
    return None


def _recipient(row: Sequence[Any]) -> QueuedRecipient:
    (
        mailbox,
        next_hop,
        state,
        status,
        text,
        told,
        warned,
        owed,
        attempts,
        due_at,
        token,
        task,
        held_at,
        why,
        notify,
        _,
    ) = row
    if state == "queued" and task is not None:
        state = task if task != "waiting" else "leased" if token else state
    elif told == _SET_ASIDE:
        state = "quarantined"
    return QueuedRecipient(
        recipient=mailbox,
        next_hop=next_hop,
        state=state,
        attempts=attempts or 0,
        next_attempt_at=due_at if state == "queued" else None,
        last_status=status,
        last_text=text,
        held_at=held_at,
        held_because=why,
        notify=notify,
        told=told == _TOLD,
        warned=bool(warned),
        owed=bool(owed),
    )
