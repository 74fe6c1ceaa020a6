"""What can be asked over the control socket, and the answers as JSON-able values."""

from collections.abc import Callable
from dataclasses import asdict

from letterlock.ports import Clock
from letterlock.queue.store import Store
from letterlock.queue.tasks import QueuedMessage, QueuedRecipient

PAGE = 500


class BadRequest(Exception):
    """The request is not one that the server knows."""


async def answer(request: object, store: Store, clock: Clock, wake: Callable[[], None]) -> dict[str, object]:
    """Do what a request says. Raises BadRequest, StoreFailed."""
    match request:
        case {"verb": "queue.list", "after": str() | None as after}:
            found = await store.messages(limit=PAGE, after=after)
            return {"messages": [message_values(message) for message in found], "more": len(found) == PAGE}
        case {"verb": "queue.show", "id": str(message_id)}:
            message = await store.message(message_id)
            if message is None:
                return {"message": None}
            attempts = list(await store.attempts(message_id))
            return {"message": message_values(message) | {"attempts_made": attempts}}
        case {"verb": "queue.retry", "id": str() | None as message_id}:
            count = await store.retry(message_id, now=clock.now())
            wake()
            return {"count": count}
        case {"verb": "queue.remove", "id": str(message_id)}:
            return {"removed": await store.remove(message_id)}
    raise BadRequest("unknown request")


def message_values(message: QueuedMessage) -> dict[str, object]:
    """A message as the command line gets it."""
    envelope = message.envelope
    return {
        "id": envelope.id,
        "sender": str(envelope.reverse_path) if envelope.reverse_path else "",
        "size": envelope.size,
        "accepted_at": envelope.accepted_at,
        "expires_at": envelope.expires_at,
        "client": envelope.client,
        "recipients": [_recipient_values(recipient) for recipient in message.recipients],
        "last_attempts": [asdict(attempt) for attempt in message.last_attempts],
    }


def _recipient_values(recipient: QueuedRecipient) -> dict[str, object]:
    return {
        "recipient": str(recipient.recipient),
        "state": recipient.state,
        "attempts": recipient.attempts,
        "next_attempt_at": recipient.next_attempt_at,
        "status": recipient.last_status,
        "reason": recipient.last_text,
    }
