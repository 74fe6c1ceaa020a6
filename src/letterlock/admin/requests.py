"""What can be asked over the control socket, and the answers as JSON-able values."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from letterlock.ports import Clock
from letterlock.queue.ids import is_id
from letterlock.queue.journal import is_whole
from letterlock.queue.orders import (
    MAX_ORDERED,
    MAX_REASON_CHARACTERS,
    Order,
    OrderKind,
    RecipientState,
    TallyBy,
    Wanted,
)
from letterlock.queue.store import OperatedStore
from letterlock.queue.tasks import QueuedMessage, QueuedRecipient

PAGE = MAX_ORDERED
UNKNOWN_REQUEST = "unknown request"  # what a server of an earlier version answers to what it does not know
MAX_TEXT_CHARACTERS = 1_000  # chosen: of the reason for a hold; it is shown in every listing
FLUSH = "flush"
_WANTED = {field.name for field in dataclasses.fields(Wanted)}


class BadRequest(Exception):
    """The request is not one that the server knows."""


def forgive_nobody(_next_hop: str | None) -> None:
    """Nobody slowed down."""


def no_problems() -> Mapping[str, str]:
    """Nothing is wrong."""
    return {}


Verb = Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]
"""Answers a request of another room. Raises ValueError, which the client is shown."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Whom the server calls: `wake` when messages became due, `forgive` when a next hop (None: all) is flushed.

    `problems` has folders with mail that is neither listed nor delivered, and why. `reload` reads the configuration
    again. `verbs` are those of other rooms.
    """

    wake: Callable[[], None]
    forgive: Callable[[str | None], None] = forgive_nobody
    problems: Callable[[], Mapping[str, str]] = no_problems
    reload: Callable[[], Awaitable[dict[str, object]]] | None = None
    verbs: Mapping[str, "Verb"] = field(default_factory=dict)


async def answer(request: object, store: OperatedStore | None, clock: Clock, hooks: Hooks) -> dict[str, object]:
    """Do what a request says; without a store there is no queue to ask about. Raises BadRequest, StoreFailed."""
    match request:
        case {"verb": str(verb), **given} if verb in hooks.verbs:
            _reason(given.get("reason"))
            return await hooks.verbs[verb]({str(name): value for name, value in given.items()})
    if store is None:
        raise BadRequest("this process has no queue")
    return await _about_the_queue(request, store, clock, hooks)


async def _about_the_queue(request: object, store: OperatedStore, clock: Clock, hooks: Hooks) -> dict[str, object]:
    match request:
        case {"verb": "queue.list", "after": str() | None as after, "wanted": dict(wanted), **more}:
            return await _listed(store, _wanted(wanted), after, _limit(more.get("limit")))
        case {"verb": "queue.list", "after": str() | None as after}:
            return await _listed(store, Wanted(), after)
        case {"verb": "queue.show", "id": str(message_id)}:
            return {"message": await _whole(store, message_id)}
        case {"verb": "queue.count", "after": str() | None as after, "wanted": dict(wanted)}:
            ids = await store.select(_wanted(wanted), limit=PAGE, after=after)
            return {"count": len(ids.found), "after": ids.after}
        case {"verb": "queue.problems"}:
            return {"problems": dict(hooks.problems())}
        case {"verb": "reload", **given} if hooks.reload is not None:
            _reason(given.get("reason"))
            return await hooks.reload()
        case {"verb": "queue.size"}:
            return {"count": await store.count()}
        case {"verb": "queue.order", "order": str(name), "wanted": dict(wanted), **given}:
            order = _order(name, wanted.get("domain"), given, clock.now())
            after = _text(given.get("after"), "after")
            if name == FLUSH and after is None:
                hooks.forgive(order.next_hop)
            return await _obeyed(store, order, _wanted(wanted), after, hooks)
        case {"verb": "queue.stats", "after": str() | None as after, "by": str(name)} if name in set(TallyBy):
            tallies = await store.tally(TallyBy(name), now=clock.now(), after=after)
            return {"tallies": [asdict(each) for each in tallies.found], "after": tallies.after}
    raise BadRequest(UNKNOWN_REQUEST)


async def _listed(store: OperatedStore, wanted: Wanted, after: str | None, limit: int = PAGE) -> dict[str, object]:
    page = await store.find(wanted, limit=limit, after=after)
    messages = [message_values(message) for message in page.found]
    return {"messages": messages, "more": page.after is not None, "after": page.after}


async def _whole(store: OperatedStore, message_id: str) -> dict[str, object] | None:
    message = await store.message(message_id) if is_id(message_id) else None
    if message is None:
        return None
    journal = [each for each in await store.attempts(message_id) if is_whole(each)]
    return message_values(message) | {
        "attempts_made": [each for each in journal if "order" not in each],
        "orders": [each for each in journal if "order" in each],
    }


async def _obeyed(
    store: OperatedStore, order: Order, wanted: Wanted, after: str | None, hooks: Hooks
) -> dict[str, object]:
    """Carry out an order on one page of messages."""
    ids = await store.select(wanted, limit=MAX_ORDERED, after=after)
    changed = await store.obey(order, ids.found) if ids.found else ()
    if changed:
        hooks.wake()
    return {"ids": list(changed), "matched": len(ids.found), "after": ids.after}


def _order(name: str, domain: object, given: Mapping[object, Any], now: float) -> Order:
    """An order from its JSON. Raises BadRequest."""
    try:
        return Order(
            kind=OrderKind.RETRY if name == FLUSH else OrderKind(name),
            at=now,
            next_hop=_text(domain, "domain"),
            reason=_reason(given.get("reason")),
            only=None if given.get("only") is None else RecipientState(given["only"]),
        )
    except ValueError:
        raise BadRequest("unknown order") from None


def _wanted(values: Mapping[str, Any]) -> Wanted:
    """What is wanted, from its JSON. Raises BadRequest."""
    if unknown := set(values) - _WANTED:
        raise BadRequest(f"unknown filters: {', '.join(sorted(map(repr, unknown)))}")
    before, state = values.get("accepted_before"), values.get("state")
    if not (before is None or isinstance(before, int | float)) or state not in (None, *RecipientState):
        raise BadRequest("accepted_before is a number, and state one that is known")
    return Wanted(
        ids=_ids(values.get("ids")),
        domain=_text(values.get("domain"), "domain"),
        sender=_text(values.get("sender"), "sender"),
        accepted_before=before,
        reason=_text(values.get("reason"), "reason"),
        state=None if state is None else RecipientState(state),
    )


def _limit(value: object) -> int:
    """How many messages a page may have."""
    if value is None:
        return PAGE
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= PAGE:
        raise BadRequest(f"a limit is a number from 1 to {PAGE}")
    return value


def _ids(values: object) -> tuple[str, ...] | None:
    """Ids; what cannot be one is left out, for no message has it."""
    if values is None:
        return None
    if not isinstance(values, list) or len(values) > MAX_ORDERED:
        raise BadRequest(f"ids are a list, of {MAX_ORDERED} at most")
    return tuple(dict.fromkeys(each for each in values if isinstance(each, str) and is_id(each)))


def _text(value: object, name: str) -> str | None:
    if value is None or (isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT_CHARACTERS):
        return value
    raise BadRequest(f"{name} is one printable line of at most {MAX_TEXT_CHARACTERS} characters")


def _reason(value: object) -> str | None:
    """An operator's words: they may reach a sender, so one line of printable text."""
    if value is None or (isinstance(value, str) and value.isprintable() and len(value) <= MAX_REASON_CHARACTERS):
        return value or None
    raise BadRequest(f"a reason is one printable line of at most {MAX_REASON_CHARACTERS} characters")


def message_values(message: QueuedMessage) -> dict[str, object]:
    """A message as the command line gets it."""
    return {
        "id": message.id,
        "sender": message.sender,
        "size": message.size,
        "accepted_at": message.accepted_at,
        "expires_at": message.expires_at,
        "client": message.client,
        "body_type": message.body_type,
        "tls_demand": message.tls_demand,
        "ret": message.ret,
        "envid": message.envid,
        "damage": message.damage,
        "recipients": [_recipient_values(recipient) for recipient in message.recipients],
        "last_attempts": [asdict(attempt) for attempt in message.last_attempts],
    }


def _recipient_values(recipient: QueuedRecipient) -> dict[str, object]:
    return {
        "recipient": recipient.recipient,
        "next_hop": recipient.next_hop,
        "state": recipient.state,
        "attempts": recipient.attempts,
        "next_attempt_at": recipient.next_attempt_at,
        "status": recipient.last_status,
        "reason": recipient.last_text,
        "held_at": recipient.held_at,
        "held_because": recipient.held_because,
        "notify": recipient.notify,
        "told": recipient.told,
        "warned": recipient.warned,
        "owed": recipient.owed,
    }
