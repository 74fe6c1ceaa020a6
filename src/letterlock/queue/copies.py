"""A message whole, as one queue hands it to another: by value, independent of any store's rows. Pure.

`copy_values` and `read_copy` are the two directions of the format that docs/reference/queue-archive.md documents.
What is read comes from a file, so everything in it is checked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from letterlock.mail.addresses import InvalidAddress, Mailbox, parse_mailbox
from letterlock.mail.envelope import BodyType, Envelope, TlsDemand
from letterlock.mail.wishes import (
    RecipientWishes,
    Ret,
    Wishes,
    parse_envid,
    parse_notify,
    parse_orcpt,
    write_notify,
)
from letterlock.queue.age import NEW, Age, Reading
from letterlock.queue.ids import MAX_ID_CHARACTERS, is_id

AT_ONCE = 0.0  # a due time that has passed on every clock
_RECIPIENT_STATES = ("queued", "delivered", "failed")
_TASK_STATES = ("waiting", "held", "quarantined")
_NOTICES = ("due", "done", "quarantined")


class BadCopy(Exception):
    """The values are not those of a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientCopy:
    """One recipient. `failure_notice`: due, done or quarantined; `delay_noticed`: no notice of delay is due any more;
    `owed`: the sender has yet to be notified that it was relayed.
    """

    mailbox: Mailbox
    state: str = "queued"
    status: str | None = None
    text: str | None = None
    reply: str | None = None
    failure_notice: str = "due"
    delay_noticed: bool = False
    owed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCopy:
    """What is left to do at one next hop. A delivery in progress is due at once: its lease holds for one queue only."""

    next_hop: str
    due_at: float = AT_ONCE
    attempts: int = 0
    state: str = "waiting"
    held_at: float | None = None
    held_because: str | None = None
    age: Age = NEW


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageCopy:
    """A message with all that its queue knows of it.

    `content` is the message content; where `sealed`, encrypted with the operator's key and bound to the message's id.
    """

    envelope: Envelope
    recipients: tuple[RecipientCopy, ...]
    tasks: tuple[TaskCopy, ...]
    journal: tuple[Mapping[str, object], ...] = ()
    content: bytes = b""
    sealed: bool = False

    def held(self, at: float, because: str) -> "MessageCopy":
        """The same message, but what waits is held."""
        tasks = tuple(
            replace(each, state="held", held_at=at, held_because=because) if each.state == "waiting" else each
            for each in self.tasks
        )
        return replace(self, tasks=tasks)


def copy_values(copy: MessageCopy) -> dict[str, object]:
    """A message without its content, as JSON-able values."""
    envelope = copy.envelope
    return {
        "id": envelope.id,
        "sender": None if envelope.reverse_path is None else str(envelope.reverse_path),
        "size": envelope.size,
        "accepted_at": envelope.accepted_at,
        "expires_at": envelope.expires_at,
        "body_type": envelope.body_type.value,
        "smtputf8": envelope.smtputf8,
        "tls_demand": envelope.tls_demand.value,
        "client": envelope.client,
        "ret": envelope.wishes.ret,
        "envid": envelope.wishes.envid,
        "recipients": [_recipient_values(each, envelope.wishes) for each in copy.recipients],
        "next_hops": [_task_values(each) for each in copy.tasks],
        "journal": list(copy.journal),
        "sealed": copy.sealed,
    }


def _recipient_values(copy: RecipientCopy, wishes: Wishes) -> dict[str, object]:
    wished = wishes.of(copy.mailbox)
    return {
        "recipient": str(copy.mailbox),
        "state": copy.state,
        "status": copy.status,
        "text": copy.text,
        "reply": copy.reply,
        "notify": None if wished.notify is None else write_notify(wished.notify),
        "orcpt": wished.orcpt,
        "failure_notice": copy.failure_notice,
        "delay_noticed": copy.delay_noticed,
        "relay_notice_owed": copy.owed,
    }


def _task_values(copy: TaskCopy) -> dict[str, object]:
    seen = copy.age.seen
    return {
        "next_hop": copy.next_hop,
        "due_at": copy.due_at,
        "attempts": copy.attempts,
        "state": copy.state,
        "held_at": copy.held_at,
        "held_because": copy.held_because,
        "tried_seconds": copy.age.seconds,
        "tried_until": None if seen is None else {"wall": seen.wall, "monotonic": seen.monotonic, "boot": seen.boot},
    }


def read_copy(values: object, content: bytes) -> MessageCopy:
    """Read what `copy_values` wrote. Fields that this version does not know are ignored. Raises BadCopy."""
    try:
        whole = _Fields(values)
        recipients = [_Fields(each) for each in whole.list("recipients")]
        copy = MessageCopy(
            envelope=_envelope(whole, recipients),
            recipients=tuple(_recipient(each) for each in recipients),
            tasks=tuple(_task(_Fields(each)) for each in whole.list("next_hops")),
            journal=tuple(_Fields(each).values for each in whole.list("journal")),
            content=content,
            sealed=whole.flag("sealed"),
        )
    except (ValueError, InvalidAddress) as error:
        raise BadCopy(str(error)) from None
    _see_that_it_fits(copy)
    return copy


def _see_that_it_fits(copy: MessageCopy) -> None:
    """Refuse what no queue could deliver, or would deliver twice. Raises BadCopy."""
    waiting = {each.mailbox.domain for each in copy.recipients if each.state == "queued"}
    hops = [each.next_hop for each in copy.tasks]
    if set(hops) != waiting or len(hops) != len(waiting):
        raise BadCopy("next_hops are not the domains of the recipients that wait")
    if not copy.recipients:
        raise BadCopy("there is no recipient")
    if not copy.sealed and len(copy.content) != copy.envelope.size:
        raise BadCopy(f"the content has {len(copy.content)} bytes, and size is {copy.envelope.size}")


def _envelope(whole: "_Fields", recipients: Sequence["_Fields"]) -> Envelope:
    sender, ret, envid, name = (whole.text_or_none(each) for each in ("sender", "ret", "envid", "id"))
    if name is None or not is_id(name):
        raise ValueError(f"id must be 1 to {MAX_ID_CHARACTERS} letters and digits")
    wishes = {parse_mailbox(each.text("recipient")): _wishes(each) for each in recipients}
    if len(wishes) != len(recipients):
        raise ValueError("a recipient is there twice")
    return Envelope(
        id=name,
        reverse_path=None if sender is None else parse_mailbox(sender),
        recipients=tuple(wishes),
        size=whole.count("size"),
        accepted_at=whole.number("accepted_at"),
        expires_at=whole.number("expires_at"),
        body_type=BodyType(whole.text("body_type")),
        smtputf8=whole.flag("smtputf8"),
        tls_demand=TlsDemand(whole.text("tls_demand")),
        client=whole.text("client"),
        wishes=Wishes(
            None if ret is None else Ret(ret),
            None if envid is None else parse_envid(envid),
            {mailbox: wish for mailbox, wish in wishes.items() if wish != RecipientWishes(None, None)},
        ),
    )


def _wishes(fields: "_Fields") -> RecipientWishes:
    notify, orcpt = fields.text_or_none("notify"), fields.text_or_none("orcpt")
    return RecipientWishes(
        None if notify is None else parse_notify(notify), None if orcpt is None else parse_orcpt(orcpt)
    )


def _recipient(fields: "_Fields") -> RecipientCopy:
    return RecipientCopy(
        mailbox=parse_mailbox(fields.text("recipient")),
        state=fields.one_of("state", _RECIPIENT_STATES),
        status=fields.text_or_none("status"),
        text=fields.text_or_none("text"),
        reply=fields.text_or_none("reply"),
        failure_notice=fields.one_of("failure_notice", _NOTICES),
        delay_noticed=fields.flag("delay_noticed"),
        owed=fields.flag("relay_notice_owed"),
    )


def _task(fields: "_Fields") -> TaskCopy:
    seen = fields.values.get("tried_until")
    return TaskCopy(
        next_hop=fields.text("next_hop"),
        due_at=fields.number("due_at"),
        attempts=fields.count("attempts"),
        state=fields.one_of("state", _TASK_STATES),
        held_at=None if fields.values.get("held_at") is None else fields.number("held_at"),
        held_because=fields.text_or_none("held_because"),
        age=Age(fields.number("tried_seconds"), None if seen is None else _reading(_Fields(seen))),
    )


def _reading(fields: "_Fields") -> Reading:
    return Reading(fields.number("wall"), fields.number("monotonic"), fields.text("boot"))


class _Fields:
    """An object of JSON whose fields must have their kinds. Every method raises ValueError."""

    def __init__(self, values: object) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{str(values)[:40]!r} is not an object")  # noqa: TRY004  # one error for all that is wrong
        self.values: dict[str, Any] = values

    def text(self, name: str) -> str:
        """A string."""
        found = self.text_or_none(name)
        if found is None:
            raise ValueError(f"{name} must be a string")
        return found

    def text_or_none(self, name: str) -> str | None:
        """A string or null."""
        found = self._value(name)
        if not (found is None or isinstance(found, str)):
            raise ValueError(f"{name} must be a string")
        return found

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """One of these words."""
        found = self._value(name)
        if found not in known:
            raise ValueError(f"{name} must be one of: {', '.join(known)}")
        return str(found)

    def number(self, name: str) -> float:
        """A finite number."""
        found = self._value(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise ValueError(f"{name} must be a number")
        return float(found)

    def count(self, name: str) -> int:
        """A whole number that is not negative."""
        found = self._value(name)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 1 << 63:  # of a column of SQLite
            raise ValueError(f"{name} must be a whole number")
        return found

    def flag(self, name: str) -> bool:
        """True or false."""
        found = self._value(name)
        if not isinstance(found, bool):
            raise ValueError(f"{name} must be true or false")  # noqa: TRY004  # one error for all that is wrong
        return found

    def list(self, name: str) -> list[Any]:
        """A list."""
        found = self._value(name)
        if not isinstance(found, list):
            raise ValueError(f"{name} must be a list")  # noqa: TRY004  # one error for all that is wrong
        return found

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise ValueError(f"{name} is missing")
        return self.values[name]
