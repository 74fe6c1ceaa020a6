"""A server that is killed (SIGKILL) while it tells a sender: he is told once, now or when it runs again."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from letterlock.store.sqlite.sqlite_store import SqliteStore

CHILD = """
import asyncio, os, signal, sys
from pathlib import Path

import letterlock.store.sqlite.sqlite_store as sqlite
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.tasks import OutcomeKind
from tests.queue.messages import BODY, attempt, envelope, outcome

whole = sqlite.run

def run(db, name, *values):
    done = whole(db, name, *values)
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

async def main():
    store = await sqlite.SqliteStore.open(Path(sys.argv[1]))
    await store.accept(envelope("M1", expires_at=9e9), BODY, next_attempt_at=0)
    [task] = await store.lease(0, limit=10, lease_seconds=60)
    made = attempt(task, outcome(task.recipients[0], OutcomeKind.DEFERRED))
    await store.settle(task.lease, settle(task, made, now=10, schedule=RetrySchedule()), made, now=10)
    [notice] = await store.due_delays(100, limit=10)
    sqlite.run = run
    await store.notified(notice, (envelope("D1", sender=None), BODY), now=11)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("killed_at", "told"), [("insert_message", False), ("mark_warned", False), ("delete_finished", False), ("-", True)]
)
async def test_rfc3464_2_3_3_the_delay_and_its_notification_are_one(tmp_path: Path, killed_at: str, told: bool) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, tmp_path, killed_at)
    assert await child.wait() == -signal.SIGKILL

    store = await SqliteStore.open(tmp_path)
    due = await store.due_delays(100, limit=10)
    kept = [each.id for each in await store.messages(limit=10)]
    await store.close()

    assert (len(due), kept) == ((0, ["D1", "M1"]) if told else (1, ["M1"]))
