"""Rows of the queue as values and back. What cannot be read is Damaged: set aside, and never sent."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import (
    Event,
    RecipientWishes,
    Ret,
    Wishes,
    parse_envid,
    parse_notify,
    parse_orcpt,
    write_notify,
)
from letterlock.queue.age import Age, Reading

_Value = TypeVar("_Value")


class Damaged(Exception):
    """A row cannot be read as what it should be."""


def recipient_rows(envelope: Envelope) -> list[tuple[str | int | None, ...]]:
    """The rows of `insert_recipient`. Senders who want no failure or delay notice count as notified already."""
    rows: list[tuple[str | int | None, ...]] = []
    for place, mailbox in enumerate(envelope.recipients):
        wishes = envelope.wishes.of(mailbox)
        notify = None if wishes.notify is None else write_notify(wishes.notify)
        told, warned = not wishes.wants(Event.FAILURE), not wishes.wants(Event.DELAY)
        rows.append((envelope.id, place, str(mailbox), mailbox.domain, notify, wishes.orcpt, told, warned))
    return rows


def read_envelope(row: Sequence[Any], recipients: Sequence[Sequence[Any]]) -> Envelope:
    """An envelope from its row of `message`, and those of `recipients` (verbs.sql). Raises Damaged."""
    if not row[8]:
        raise Damaged("its content is missing")
    rows = [(read_mailbox(mailbox), notify, orcpt) for mailbox, *_, notify, orcpt in recipients]
    try:
        body_type, tls_demand = BodyType(row[5]), TlsDemand(row[7])
        wished = {mailbox: _wishes(notify, orcpt) for mailbox, notify, orcpt in rows if (notify, orcpt) != (None, None)}
        wishes = Wishes(_read(row[9], Ret), _read(row[10], parse_envid), wished)
    except ValueError as error:
        raise Damaged(str(error)) from None
    return Envelope(
        id=row[0],
        reverse_path=None if row[1] is None else read_mailbox(row[1]),
        recipients=tuple(mailbox for mailbox, *_ in rows),
        size=row[2],
        accepted_at=row[3],
        expires_at=row[4],
        body_type=body_type,
        client=row[6],
        tls_demand=tls_demand,
        wishes=wishes,
        smtputf8=bool(row[11]),
    )


def _wishes(notify: str | None, orcpt: str | None) -> RecipientWishes:
    return RecipientWishes(_read(notify, parse_notify), _read(orcpt, parse_orcpt))


def _read(text: str | None, parse: Callable[[str], _Value]) -> _Value | None:
    return None if text is None else parse(text)


def read_mailbox(text: str) -> Mailbox:
    """An address as it was stored. Raises Damaged for anything else."""
    try:
        return parse_mailbox(text)
    except InvalidAddress as error:
        raise Damaged(f"{text!r} is not an address: {error}") from None


def age_row(age: Age) -> tuple[float | str | None, ...]:
    """The age of a task as four columns."""
    seen = age.seen
    return (age.seconds, None, None, None) if seen is None else (age.seconds, seen.wall, seen.monotonic, seen.boot)


def read_age(seconds: float, wall: float | None, monotonic: float | None, boot: str | None) -> Age:
    """Read what `age_row` wrote; `wall` and `monotonic` are in seconds.

    Older versions kept only the wall clock: their boot is unknown.
    """
    return Age(seconds, None if wall is None else Reading(wall, monotonic or 0.0, boot if boot is not None else "?"))


def read_record(text: str) -> dict[str, object]:
    """A record of the journal; {} when it is damaged: nothing depends on it."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
