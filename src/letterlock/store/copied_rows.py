"""Messages by value (queue.copies), from the rows of a database and into them."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from letterlock.mail.addresses import Mailbox
from letterlock.mail.checked_content import ContentLost, in_one_piece
from letterlock.mail.envelope import Envelope
from letterlock.mail.wishes import write_notify
from letterlock.queue.copies import AT_ONCE, MessageCopy, RecipientCopy, TaskCopy
from letterlock.store.parcels import Parcel, Row
from letterlock.store.rows import Damaged, age_row, read_age, read_mailbox, read_record
from letterlock.store.sealing import ContentSeal
from letterlock.store.tails import Tails, tail_name

MAX_JOURNAL_OCTETS = 1 << 20  # chosen: hundreds of attempts; of a longer journal the newest records explain enough
_NOTICES = ("due", "done", "quarantined")  # by recipient.told


def copy_of(parcel: Parcel, envelope: Envelope, seal: ContentSeal, tails: Tails, *, in_clear: bool) -> MessageCopy:
    """A message by value, all of it in memory. Its content stays sealed, unless it is wanted in clear.

    Raises Damaged.
    """
    content = b"".join(bytes(row["content"]) for row in parcel.body if isinstance(row["content"], bytes))
    opened = seal.open(parcel.id, content)  # also where it is not wanted: nothing damaged is copied
    sealed = seal.is_sealed(content) and not in_clear
    if parcel.tail:
        opened = _with_tail(opened, tails)
        content = seal.close(parcel.id, opened) if sealed else opened
    return MessageCopy(
        envelope=envelope,
        recipients=tuple(_recipients(parcel.recipient)),
        tasks=tuple(_task(row) for row in parcel.task),
        journal=tuple(reversed([*_newest(parcel.attempt)])),
        content=content if sealed else opened,
        sealed=sealed,
    )


def _with_tail(stored: bytes, tails: Tails) -> bytes:
    try:
        return in_one_piece(tails.unpack(stored))
    except ContentLost as lost:
        raise Damaged(str(lost)) from None


def _recipients(rows: Iterable[Row]) -> Iterable[RecipientCopy]:
    seen = set[Mailbox]()  # older versions kept repeated ones
    for row in rows:
        mailbox = read_mailbox(str(row["mailbox"]))
        if mailbox not in seen:
            seen.add(mailbox)
            yield RecipientCopy(
                mailbox=mailbox,
                state=str(row["state"]),
                status=_text(row["status"]),
                text=_text(row["text"]),
                reply=_text(row["reply"]),
                failure_notice=_NOTICES[int(_number(row["told"]))],
                delay_noticed=bool(row["warned"]),
                owed=bool(row["owed"]),
            )


def _task(row: Row) -> TaskCopy:
    wall, monotonic = (None if row[each] is None else _number(row[each]) for each in ("seen_at", "seen_monotonic"))
    return TaskCopy(
        next_hop=str(row["next_hop"]),
        due_at=AT_ONCE if row["lease_token"] else _number(row["due_at"]),
        attempts=int(_number(row["attempts"])),
        state=str(row["state"]),
        held_at=None if row["held_at"] is None else _number(row["held_at"]),
        held_because=_text(row["held_because"]),
        age=read_age(_number(row["age"]), wall, monotonic, _text(row["seen_boot"])),
    )


def _newest(rows: Sequence[Row]) -> Iterable[dict[str, object]]:
    """The newest records of a journal, the last one first."""
    octets = 0
    for row in reversed(rows):
        octets += len(str(row["record"]))
        if octets > MAX_JOURNAL_OCTETS:
            return
        yield read_record(str(row["record"]))


def _number(value: str | float | bytes | None) -> float:
    if not isinstance(value, int | float):
        raise Damaged(f"{value!r} is not a number")
    return value


def _text(value: str | float | bytes | None) -> str | None:
    return None if value is None else str(value)


def parcel_of(copy: MessageCopy, seal: ContentSeal) -> Parcel:
    """The rows of a message, its content sealed for this queue. Raises Damaged."""
    envelope = copy.envelope
    content = copy.content if copy.sealed else seal.close(envelope.id, copy.content)
    if copy.sealed and len(seal.open(envelope.id, content)) != envelope.size:
        raise Damaged(f"its content does not have the {envelope.size} bytes of its size")
    key: Row = {"message_id": envelope.id}
    return Parcel(
        message=_message_row(envelope),
        body=[key | {"content": content}],
        tail=[],
        task=[key | _task_row(each) for each in copy.tasks],
        recipient=[key | _recipient_row(place, each, envelope) for place, each in enumerate(copy.recipients)],
        attempt=[key | {"record": json.dumps(each, separators=(",", ":"))} for each in copy.journal],
    )


async def spooled_parcel_of(copy: MessageCopy, seal: ContentSeal, tails: Tails) -> Parcel:
    """The same; a large body goes into a file, as if it had arrived here. Raises Damaged, StoreFailed."""
    parcel = await asyncio.to_thread(parcel_of, copy, seal)
    name = copy.envelope.id
    body = await tails.spooled(seal.open(name, copy.content) if copy.sealed else copy.content)
    if (tail := tail_name(body)) is None:
        return parcel
    key: Row = {"message_id": name}
    stored = seal.close(name, tails.pack(body))
    return replace(parcel, body=[key | {"content": stored}], tail=[key | {"name": tail}])


def _message_row(envelope: Envelope) -> Row:
    return {
        "id": envelope.id,
        "reverse_path": None if envelope.reverse_path is None else str(envelope.reverse_path),
        "size": envelope.size,
        "accepted_at": envelope.accepted_at,
        "expires_at": envelope.expires_at,
        "body_type": envelope.body_type.value,
        "client": envelope.client,
        "tls_demand": envelope.tls_demand.value,
        "ret": envelope.wishes.ret,
        "envid": envelope.wishes.envid,
        "smtputf8": envelope.smtputf8,
    }


def _task_row(task: TaskCopy) -> Row:
    age, seen_at, seen_monotonic, seen_boot = age_row(task.age)
    return {
        "next_hop": task.next_hop,
        "due_at": task.due_at,
        "attempts": task.attempts,
        "state": task.state,
        "held_at": task.held_at,
        "held_because": task.held_because,
        "age": age,
        "seen_at": seen_at,
        "seen_monotonic": seen_monotonic,
        "seen_boot": seen_boot,
    }


def _recipient_row(place: int, copy: RecipientCopy, envelope: Envelope) -> Row:
    wishes = envelope.wishes.of(copy.mailbox)
    return {
        "position": place,
        "mailbox": str(copy.mailbox),
        "next_hop": copy.mailbox.domain,
        "state": copy.state,
        "told": _NOTICES.index(copy.failure_notice),
        "status": copy.status,
        "text": copy.text,
        "reply": copy.reply,
        "warned": copy.delay_noticed,
        "notify": None if wishes.notify is None else write_notify(wishes.notify),
        "orcpt": wishes.orcpt,
        "owed": copy.owed,
    }
