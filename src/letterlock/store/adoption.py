"""One queue takes over what another one holds: when there are fewer workers than before."""

import asyncio
import sqlite3
from pathlib import Path

from letterlock.queue.store import StoreFailed
from letterlock.store.fresh import open_queue
from letterlock.store.opening import FILE, QueueInUse, open_alone
from letterlock.store.recovery import DAMAGED_SUFFIX
from letterlock.store.sealing import IN_CLEAR, Seal

_MOVES = (
    "INSERT OR IGNORE INTO main.message SELECT * FROM old.message",
    "INSERT OR IGNORE INTO main.body SELECT * FROM old.body",
    "INSERT OR IGNORE INTO main.task SELECT * FROM old.task",
    "INSERT OR IGNORE INTO main.recipient SELECT * FROM old.recipient",
    "INSERT INTO main.attempt (message_id, record) SELECT message_id, record FROM old.attempt",
)


def adopt(source: Path, target: Path, seal: Seal = IN_CLEAR) -> int:
    """Move every message of the queue in `source` to that in `target`; how many those were.

    Nobody may be using either. The target has them on disk before the source loses them: a kill in between makes the
    next adoption begin again, and loses nothing. Raises StoreFailed.
    """
    if not (source / FILE).exists():
        return 0
    try:
        asyncio.run(_bring_up_to_date(source, seal))
        with open_alone(target) as db:
            db.execute("ATTACH ? AS old", (str(source / FILE),))
            (count,) = db.execute("SELECT count(*) FROM old.message").fetchone()
            db.execute("BEGIN IMMEDIATE")
            for statement in _MOVES:
                db.execute(statement)
            db.execute("COMMIT")
            db.execute("DELETE FROM old.message")
            db.execute("DETACH old")
        for damaged in source.glob("*" + DAMAGED_SUFFIX):
            damaged.rename(target / f"{source.name}-{damaged.name}")
    except QueueInUse as error:
        raise StoreFailed(str(error)) from None
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(f"cannot take over the queue in {source}: {error}") from None
    return int(count)


async def _bring_up_to_date(directory: Path, seal: Seal) -> None:
    """Its database is of the present version then, and has all that its segments had."""
    queue = await open_queue(directory, seal)
    await queue.close()
