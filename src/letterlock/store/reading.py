"""What the queue's database says, as values. A row that cannot be read is set aside, and told of."""

import logging
import sqlite3

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
from letterlock.store.statements import run

log = logging.getLogger("letterlock.store")
MAX_ATTEMPTS_SHOWN = 100
UNKNOWN_STATUS = "5.0.0"  # RFC 3463: other or undefined
_ASKED = {
    NoticeKind.FAILED: ("untold_recipients", OutcomeKind.FAILED),
    NoticeKind.DELAYED: ("unwarned_recipients", OutcomeKind.DEFERRED),
    NoticeKind.RELAYED: ("owed_recipients", OutcomeKind.DELIVERED),
}


def find_notices(db: sqlite3.Connection, limit: int) -> list[Notice]:
    """Failed or relayed recipients whose sender was not told yet."""
    notices = []
    for kind, due, set_aside in (
        (NoticeKind.FAILED, "untold_messages", "set_notice_aside"),
        (NoticeKind.RELAYED, "owed_messages", "forgive_all"),
    ):
        for (message_id,) in run(db, due, limit).fetchall():
            try:
                notices.append(_notice(db, message_id, kind))
            except Damaged as error:
                log.critical("%s: its sender cannot be told, its row in the queue is damaged: %s", message_id, error)
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
            log.critical("%s: its sender cannot be told, its row in the queue is damaged: %s", message_id, error)
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
    """As many messages as asked for, if there are so many that can be read."""
    found: list[QueuedMessage] = []
    while len(found) < limit and (ids := run(db, "message_ids", after, limit - len(found)).fetchall()):
        found += [message for (message_id,) in ids if (message := find_message(db, message_id)) is not None]
        after = ids[-1][0]
    return found


def find_message(db: sqlite3.Connection, message_id: str) -> QueuedMessage | None:
    """One queued message; None when it is not there, or cannot be read."""
    if run(db, "message", message_id).fetchone() is None:
        return None
    try:
        envelope = find_envelope(db, message_id)
    except Damaged as error:
        log.critical("%s: cannot be shown, its row in the queue is damaged: %s", message_id, error)
        return None
    recipients = tuple(
        QueuedRecipient(
            recipient=read_mailbox(mailbox),
            state="leased" if state == "queued" and token else state,
            attempts=attempts or 0,
            next_attempt_at=due_at if state == "queued" and not token else None,
            last_status=status,
            last_text=text,
        )
        for mailbox, state, status, text, attempts, due_at, token, *_ in run(db, "recipients", message_id)
    )
    waiting = frozenset(each.recipient.domain for each in recipients if each.state != "delivered")
    last = _last_attempts(db, message_id, waiting) if waiting else ()
    return QueuedMessage(envelope=envelope, recipients=recipients, last_attempts=last)
