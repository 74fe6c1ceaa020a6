"""A queue that an older Letterlock wrote is taken over with everything in it."""

import sqlite3
from pathlib import Path

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.queue.store import StoreFailed
from letterlock.store.sqlite import VERSION, SqliteStore

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
