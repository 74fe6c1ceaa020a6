"""What operators order, in few words."""

from letterlock.queue.orders import Order, OrderKind, RecipientState
from letterlock.queue.store import OperatedStore


async def obey(
    store: OperatedStore,
    kind: OrderKind,
    *message_ids: str,
    at: float = 0.0,
    next_hop: str | None = None,
    reason: str | None = None,
    only: RecipientState | None = None,
) -> list[str]:
    """Have an order obeyed; which messages that changed."""
    order = Order(kind=kind, at=at, next_hop=next_hop, reason=reason, only=only)
    return list(await store.obey(order, message_ids))


async def retry(store: OperatedStore, *message_ids: str, now: float) -> list[str]:
    """Make what waits due."""
    return await obey(store, OrderKind.RETRY, *message_ids, at=now)
