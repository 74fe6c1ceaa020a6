"""A queue that an older Letterlock wrote is taken over with everything in it."""

import sqlite3
from pathlib import Path

import pytest

from letterlock.mail.envelope import TlsDemand
from letterlock.mail.wishes import NO_WISHES
from letterlock.queue.age import NEW, Age, Reading
from letterlock.queue.orders import OrderKind, RecipientState, Wanted
from letterlock.queue.settle import RetrySchedule, settle
from letterlock.queue.store import StoreFailed
from letterlock.queue.tasks import OutcomeKind
from letterlock.store.sqlite.sqlite_store import VERSION, SqliteStore
from letterlock.store.sqlite.statements import SQL
from tests.queue.messages import ANN, BODY, CAT, attempt, envelope, outcome
from tests.queue.orders import obey

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
    assert await store.next_due() is None
    [shown] = (await store.find(Wanted(state=RecipientState.QUARANTINED), limit=10)).found
    assert shown.damage
    assert [(each.held_at, each.held_because) for each in shown.recipients] == [
        (1, f"its row in the queue is damaged: {shown.damage}")
    ]
    assert await obey(store, OrderKind.RELEASE, "M1", at=2) == ["M1"]
    assert await store.lease(3, limit=10, lease_seconds=60) == [], "it is as damaged as before"
    assert await obey(store, OrderKind.REMOVE, "M1") == ["M1"]
    await store.close()


async def test_a_damaged_message_that_was_returned_is_kept_in_quarantine(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1"), BODY, next_attempt_at=0)
    await store.close()
    with sqlite3.connect(queue_file(tmp_path)) as connection:
        connection.execute("UPDATE message SET reverse_path = 'nobody at all'")
    connection.close()
    store = await SqliteStore.open(tmp_path)
    assert await obey(store, OrderKind.RETURN, "M1") == ["M1"]
    for _ in range(2):
        assert await store.due_notices(limit=10) == []
        [shown] = (await store.find(Wanted(state=RecipientState.QUARANTINED), limit=10)).found
        assert (shown.sender, shown.recipients[0].state) == ("nobody at all", "quarantined")
        assert await obey(store, OrderKind.RELEASE, "M1") == ["M1"]
    await store.close()


VERSION_4 = """
ALTER TABLE message ADD COLUMN ret TEXT;
ALTER TABLE message ADD COLUMN envid TEXT;
ALTER TABLE recipient ADD COLUMN notify TEXT;
ALTER TABLE recipient ADD COLUMN orcpt TEXT;
ALTER TABLE recipient ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipient_owed ON recipient (message_id) WHERE owed = 1;
INSERT INTO message (id, reverse_path, size, accepted_at, expires_at, body_type, client)
    VALUES ('M2', 'ann@one.test', 4, 0, 1000, '7BIT', 'local');
INSERT INTO body VALUES ('M2', X'780D0A');
INSERT INTO task (message_id, next_hop, due_at) VALUES ('M2', 'two.test', 9e99);
INSERT INTO recipient (message_id, position, mailbox, next_hop) VALUES ('M2', 0, 'not an address', 'two.test');
PRAGMA user_version = 4;
"""


async def test_a_queue_of_version_4_is_taken_over_and_what_was_set_aside_is_in_quarantine(tmp_path: Path) -> None:
    with sqlite3.connect(queue_file(tmp_path)) as old:
        old.executescript(VERSION_1 + VERSION_2 + VERSION_3 + VERSION_4)
    old.close()

    store = await SqliteStore.open(tmp_path)
    [task] = await store.lease(1e99, limit=10, lease_seconds=60)
    assert task.envelope.id == "M1"
    [shown] = (await store.find(Wanted(state=RecipientState.QUARANTINED), limit=10)).found
    assert (shown.id, shown.recipients[0].held_because) == ("M2", "its row in the queue is damaged")
    await store.close()


async def test_what_is_held_is_still_held_after_a_crash_in_the_middle_of_its_attempt(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.accept(envelope("M1", ANN, CAT), BODY, next_attempt_at=0)
    assert len(await store.lease(0, limit=10, lease_seconds=60)) == 2
    await obey(store, OrderKind.HOLD, "M1", at=5, next_hop="one.test", reason="ask legal")
    await store.close()

    store = await SqliteStore.open(tmp_path)
    [task] = await store.lease(10, limit=10, lease_seconds=60)
    assert task.lease.next_hop == "two.test"
    [message] = (await store.find(Wanted(state=RecipientState.HELD), limit=10)).found
    assert (message.recipients[0].held_at, message.recipients[0].held_because) == (5, "ask legal")
    await store.close()


async def test_held_messages_cost_the_search_for_what_is_due_nothing(tmp_path: Path) -> None:
    """The index of what is due has no held tasks in it."""
    store = await SqliteStore.open(tmp_path)
    await store.close()
    with sqlite3.connect(queue_file(tmp_path)) as connection:
        for name in ("due_tasks", "next_due"):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", (1, 1) if "?" in SQL[name] else ()).fetchall()
            assert "task_by_due" in plan[0][3]
    connection.close()


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
    assert [each.id for each in await store.messages(limit=10)] == ["D1", "M1"]
    await store.close()


async def test_of_what_version_5_had_tried_the_age_is_read_from_its_journal(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    for name in ("M1", "M2", "M3"):
        await store.accept(envelope(name, ANN), BODY, next_attempt_at=0)
    await store.close()
    with sqlite3.connect(queue_file(tmp_path)) as old:
        for column in ("age", "seen_at", "seen_monotonic", "seen_boot"):
            old.execute(f"ALTER TABLE task DROP COLUMN {column}")
        old.execute("DROP TABLE adopted")
        old.execute("DROP TABLE tail")
        old.execute("UPDATE task SET attempts = 2, due_at = 900 WHERE message_id != 'M3'")
        for record in ('{"next_hop": "one.test", "ended_at": 100}', '{"next_hop": "one.test", "ended_at": 500.5}',
                       '{"next_hop": "two.test", "ended_at": 700}', '{"order": "hold"}', "damaged"):  # fmt: skip
            old.execute("INSERT INTO attempt (message_id, record) VALUES ('M1', ?)", (record,))
        old.execute("PRAGMA user_version = 5")
    old.close()
    store = await SqliteStore.open(tmp_path)
    ages = {each.envelope.id: each.age for each in await store.lease(1000, limit=10, lease_seconds=60)}
    assert ages == {"M1": Age(400.5, Reading(500.5, 0.0, "?")), "M2": NEW, "M3": NEW}
    await store.close()


async def test_what_a_clock_left_to_be_due_in_years_is_put_right_at_the_start(tmp_path: Path) -> None:
    year = 365 * 86400.0
    store = await SqliteStore.open(tmp_path)
    for name in ("M1", "M2"):
        await store.accept(envelope(name, ANN), BODY, next_attempt_at=year)
    [task, _] = await store.lease(year, limit=2, lease_seconds=60)
    made = attempt(task, outcome(ANN, OutcomeKind.DEFERRED), at=year)
    await store.settle(
        task.lease, settle(task, made, now=year, schedule=RetrySchedule(first_seconds=300)), made, now=year
    )
    await store.close()
    store = await SqliteStore.open(tmp_path, now=1000.0)
    assert [each.envelope.id for each in await store.lease(1000, limit=9, lease_seconds=9999)] == ["M2"]
    assert await store.lease(1299, limit=9, lease_seconds=9999) == []
    assert [each.envelope.id for each in await store.lease(1300, limit=9, lease_seconds=9999)] == ["M1"]
    await store.close()
