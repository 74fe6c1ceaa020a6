"""A queue that an older Letterlock wrote is taken over with everything in it."""

import sqlite3
from pathlib import Path

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.mail.wishes import NO_WISHES
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import OutcomeKind
from letterlock.store.sqlite import VERSION, SqliteStore
from tests.queue.messages import BODY, attempt, envelope, outcome

VERSION_1 = """
CREATE TABLE message (id TEXT PRIMARY KEY, reverse_path TEXT, size INTEGER NOT NULL, accepted_at REAL NOT NULL,
    expires_at REAL NOT NULL, body_type TEXT NOT NULL, client TEXT NOT NULL) STRICT;
CREATE TABLE body (message_id TEXT PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE, content BLOB NOT NULL) STRICT;
CREATE TABLE task (message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE, next_hop TEXT NOT NULL,
    due_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, lease_token TEXT,
    PRIMARY KEY (message_id, next_hop)) STRICT, WITHOUT ROWID;
CREATE INDEX task_by_due ON task (due_at);
CREATE TABLE recipient (message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE, position INTEGER NOT NULL,
    mailbox TEXT NOT NULL, next_hop TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'queued',
    told INTEGER NOT NULL DEFAULT 0,
    status TEXT, text TEXT, reply TEXT, PRIMARY KEY (message_id, position)) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_untold ON recipient (message_id) WHERE state = 'failed' AND told = 0;
CREATE TABLE attempt (id INTEGER PRIMARY KEY, message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    record TEXT NOT NULL) STRICT;
CREATE INDEX attempt_by_message ON attempt (message_id);
INSERT INTO message VALUES ('M1', 'ann@one.test', 4, 0, 1000, '7BIT', 'local');
INSERT INTO body VALUES ('M1', X'780D0A');
INSERT INTO task (message_id, next_hop, due_at) VALUES ('M1', 'two.test', 0);
INSERT INTO recipient (message_id, position, mailbox, next_hop) VALUES ('M1', 0, 'bob@two.test', 'two.test');
PRAGMA user_version = 1;
"""

VERSION_2 = """
ALTER TABLE message ADD COLUMN tls_demand TEXT NOT NULL DEFAULT 'none';
UPDATE recipient SET status = '4.2.0', text = 'greylisted';
INSERT INTO attempt (message_id, record)
    VALUES ('M1', '{"next_hop": "two.test", "host": "mx.two.test", "ended_at": 5}');
PRAGMA user_version = 2;
"""


def queue_file(directory: Path) -> Path:
    """Where the store keeps its database."""
    return directory / "queue.db"


async def test_a_queue_of_version_1_is_taken_over(tmp_path: Path) -> None:
    with sqlite3.connect(queue_file(tmp_path)) as old:
        old.executescript(VERSION_1)
    old.close()

    store = await SqliteStore.open(tmp_path)
    [task] = await store.lease(1, limit=10, lease_seconds=60)
    await store.close()

    assert task.envelope.id == "M1"
    assert task.envelope.tls_demand is TlsDemand.NONE
    with sqlite3.connect(queue_file(tmp_path)) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (VERSION,)
    now.close()


async def test_a_queue_of_version_2_is_taken_over_and_whoever_waits_is_told_of_once(tmp_path: Path) -> None:
    with sqlite3.connect(queue_file(tmp_path)) as old:
        old.executescript(VERSION_1 + VERSION_2)
    old.close()

    store = await SqliteStore.open(tmp_path)
    [notice] = await store.due_delays(100, limit=10)
    await store.notified(notice, None, now=100)
    assert await store.due_delays(100, limit=10) == []
    await store.close()

    assert [each.text for each in notice.outcomes] == ["greylisted"]


async def test_a_queue_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(queue_file(tmp_path)) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    with pytest.raises(StoreFailed, match="newer Letterlock"):
        await SqliteStore.open(tmp_path)


VERSION_3 = """
ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipient_unwarned ON recipient (message_id)
    WHERE state = 'queued' AND warned = 0 AND status IS NOT NULL;
PRAGMA user_version = 3;
"""


def columns(connection: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    """What each table and index has, but for the order of columns."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall()
    return {name: {row[1:] for row in connection.execute(f"PRAGMA table_info({name})")} for (name,) in names}


async def test_a_queue_of_version_3_is_taken_over_and_nothing_was_wished(tmp_path: Path) -> None:
    with sqlite3.connect(queue_file(tmp_path)) as old:
        old.executescript(VERSION_1 + VERSION_2 + VERSION_3)
    old.close()

    store = await SqliteStore.open(tmp_path)
    [task] = await store.lease(1, limit=10, lease_seconds=60)
    [notice] = await store.due_delays(100, limit=10)
    await store.close()

    assert task.envelope.wishes == NO_WISHES
    assert notice.last_attempts[0].host == "mx.two.test"


async def test_what_was_taken_over_is_what_would_be_made_anew(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for directory in (old, new):
        directory.mkdir()
    with sqlite3.connect(queue_file(old)) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    found = []
    for directory in (old, new):
        await (await SqliteStore.open(directory)).close()
        with sqlite3.connect(queue_file(directory)) as connection:
            found.append(columns(connection))
        connection.close()
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE message SET envid = 'a' || char(13) || char(10) || 'RCPT TO:<x@y>'",
        "UPDATE message SET ret = 'ALL'",
        "UPDATE recipient SET notify = 'SOMETIMES'",
        "UPDATE recipient SET orcpt = 'no type'",
    ],
)
async def test_damaged_wishes_are_set_aside_and_never_sent(tmp_path: Path, damage: str) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    await store.close()
    with sqlite3.connect(queue_file(tmp_path)) as connection:
        connection.execute(damage)
    connection.close()
    store = await SqliteStore.open(tmp_path)
    assert await store.lease(1, limit=10, lease_seconds=60) == []
    assert await store.messages(limit=10) == []
    await store.close()


async def test_rfc3461_6_a_notice_survives_a_restart_and_is_given_once(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1", expires_at=9e9), BODY, next_attempt_at=0)
    [task] = await store.lease(0, limit=10, lease_seconds=60)
    made = attempt(task, outcome(task.recipients[0], OutcomeKind.DEFERRED))
    await store.settle(task.lease, settle(task, made, now=10, schedule=RetrySchedule()), made, now=10)
    await store.close()

    store = await SqliteStore.open(tmp_path)
    [notice] = await store.due_delays(100, limit=10)
    await store.notified(notice, (envelope("D1", sender=None), BODY), now=11)
    await store.close()

    store = await SqliteStore.open(tmp_path)
    assert await store.due_delays(100, limit=10) == []
    assert [each.envelope.id for each in await store.messages(limit=10)] == ["D1", "M1"]
    await store.close()
