"""An operator's searches and orders in the queue's database, a bounded part at a time."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from letterlock.queue.orders import (
    MAX_ORDERED,
    REMOVED_STATUS,
    Order,
    OrderKind,
    Page,
    Tally,
    TallyBy,
    Wanted,
)
from letterlock.queue.refusals import NEVER_REFUSING
from letterlock.queue.tasks import QueuedMessage
from letterlock.store.sqlite.row_reader import find_message
from letterlock.store.sqlite.statements import run, run_order

MAX_SCANNED = 5_000  # messages that one page of an answer looks at, in SQL
MAX_READ = 500  # the same, where each must be read whole
MAX_TALLIED = 10_000  # chosen: messages that are counted in one transaction; other work waits meanwhile
_NEVER_REFUSING = json.dumps(sorted(NEVER_REFUSING))
_JOURNALLED = {OrderKind.HOLD, OrderKind.QUARANTINE, OrderKind.RELEASE}


def count(db: sqlite3.Connection) -> int:
    """How many messages there are."""
    (found,) = run_order(db, "count", {}).fetchone()
    return int(found)


def find(db: sqlite3.Connection, wanted: Wanted, limit: int, after: str | None) -> Page[QueuedMessage]:
    """The messages of a page."""
    ids = select(db, wanted, min(limit, MAX_READ), after)
    messages = (find_message(db, message_id) for message_id in ids.found)
    return Page(tuple(message for message in messages if message is not None), ids.after)


def select(db: sqlite3.Connection, wanted: Wanted, limit: int, after: str | None) -> Page[str]:
    """The ids of a page."""
    if wanted.ids is not None:
        ids = sorted(each for each in wanted.ids if each > (after or ""))
        return _fitting(db, ids[:limit], wanted, ids[limit - 1] if len(ids) > limit else None)
    scan = MAX_SCANNED if wanted.reason is None else min(limit, MAX_READ)
    upto, scanned = run_order(db, "reach", {"after": after or "", "scan": scan}).fetchone()
    values = _values(wanted) | {"after": after or "", "upto": upto, "limit": limit}
    ids = [message_id for (message_id,) in run_order(db, "select", values)]
    behind = ids[-1] if len(ids) == limit else upto if scanned == scan else None
    if wanted.reason is not None:
        return _fitting(db, ids, wanted, behind)
    return Page(tuple(ids), behind)


def _values(wanted: Wanted) -> dict[str, str | float | None]:
    return {
        "before": wanted.accepted_before,
        "sender": None if wanted.sender is None else wanted.sender.lower(),
        "domain": wanted.domain,
        "state": wanted.state,
    }


def _fitting(db: sqlite3.Connection, ids: Sequence[str], wanted: Wanted, after: str | None) -> Page[str]:
    messages = (find_message(db, message_id) for message_id in ids)
    return Page(tuple(each.id for each in messages if each is not None and wanted.fits(each)), after)


def tally(db: sqlite3.Connection, by: TallyBy, now: float, after: str | None) -> Page[Tally]:
    """Counts over the next part of the queue."""
    upto, scanned = run_order(db, "reach", {"after": after or "", "scan": MAX_TALLIED}).fetchone()
    values = {"by": by.value, "now": now, "after": after or "", "upto": upto, "never_refusing": _NEVER_REFUSING}
    found = tuple(
        Tally(
            key=key,
            waiting=waiting,
            deferred=deferred,
            leased=leased,
            held=held,
            quarantined=quarantined,
            octets=octets,
            oldest_at=oldest_at,
            ages=tuple(ages),
        )
        for key, waiting, deferred, leased, held, quarantined, octets, oldest_at, *ages in run_order(
            db, "tally", values
        )
    )
    return Page(found, upto if scanned == MAX_TALLIED else None)


def obey(db: sqlite3.Connection, order: Order, message_ids: Sequence[str]) -> Sequence[str]:
    """Carry out an order on messages; which of them that changed."""
    return [message_id for message_id in message_ids[:MAX_ORDERED] if _obey(db, order, message_id)]


def _obey(db: sqlite3.Connection, order: Order, message_id: str) -> bool:
    values = {
        "id": message_id,
        "hop": order.next_hop,
        "at": order.at,
        "reason": order.reason,
        "only": order.only,
    }
    match order.kind:
        case OrderKind.REMOVE if order.next_hop is None:
            return bool(run_order(db, "remove", values).rowcount)
        case OrderKind.REMOVE | OrderKind.RETURN:
            return _remove(db, order, values)
    changed = run_order(db, order.kind.value, values).rowcount
    if order.kind is OrderKind.RELEASE:
        changed += run_order(db, "release_notices", values).rowcount
    if changed and order.kind in _JOURNALLED:
        run_order(db, "journal", {"id": message_id, "record": json.dumps(order.record, separators=(",", ":"))})
    return changed > 0


def _remove(db: sqlite3.Connection, order: Order, values: Mapping[str, str | float | None]) -> bool:
    """Mark waiting recipients as failed; `told`: their sender is not notified."""
    told = order.kind is OrderKind.REMOVE
    removed = {**values, "status": REMOVED_STATUS, "text": order.removal, "told": told}
    changed = run_order(db, "fail_removed", removed).rowcount
    run_order(db, "delete_removed", removed)
    run(db, "delete_finished", str(values["id"]))
    return changed > 0
