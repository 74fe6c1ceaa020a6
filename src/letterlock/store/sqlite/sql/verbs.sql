-- name: insert_message
INSERT INTO message (id, reverse_path, size, accepted_at, expires_at, body_type, client, tls_demand, ret, envid,
    smtputf8) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: insert_body
INSERT INTO body (message_id, content) VALUES (?, ?);
-- name: insert_tail
INSERT INTO tail (message_id, name) VALUES (?, ?);
-- name: tails
SELECT message_id, name FROM tail;
-- name: insert_recipient
INSERT INTO recipient (message_id, position, mailbox, next_hop, notify, orcpt, told, warned)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?);
-- name: insert_task
INSERT INTO task (message_id, next_hop, due_at, lease_token) VALUES (?, ?, ?, ?);

-- name: due_tasks
SELECT message_id, next_hop, attempts, age, seen_at, seen_monotonic, seen_boot
    FROM task WHERE state = 'waiting' AND due_at <= ? ORDER BY due_at LIMIT ?;
-- name: due_tasks_but
SELECT message_id, next_hop, attempts, age, seen_at, seen_monotonic, seen_boot
    FROM task WHERE state = 'waiting' AND due_at BETWEEN ?1 AND ?2
    AND next_hop NOT IN (SELECT value FROM json_each(?3))
    AND (?4 = '[]' OR next_hop IN (SELECT value FROM json_each(?4)))
    ORDER BY due_at LIMIT ?5;
-- name: take_lease
UPDATE task SET lease_token = ?, due_at = ? WHERE message_id = ? AND next_hop = ?;
-- name: held_lease
SELECT 1 FROM task WHERE message_id = ? AND next_hop = ? AND lease_token = ? AND due_at > ?;
-- name: renew_lease
UPDATE task SET due_at = ? WHERE message_id = ? AND next_hop = ? AND lease_token = ?;
-- name: release_lease
UPDATE task SET due_at = ?, lease_token = NULL WHERE message_id = ? AND next_hop = ? AND lease_token = ?;
-- name: set_aside
UPDATE task SET state = 'quarantined', held_at = ?, held_because = ?, lease_token = NULL
    WHERE message_id = ? AND next_hop = ?;

-- name: set_message_aside
UPDATE task SET state = 'quarantined', held_at = unixepoch(), held_because = ?, lease_token = NULL
    WHERE message_id = ?;

-- name: waiting_recipients
SELECT mailbox FROM recipient WHERE message_id = ? AND next_hop = ? AND state = 'queued' ORDER BY position;
-- name: settle_recipient
UPDATE recipient SET state = ?, status = ?, text = ?, reply = ? WHERE message_id = ? AND next_hop = ? AND mailbox = ?;
-- name: task_tried_again
UPDATE task SET attempts = attempts + 1, due_at = ?, lease_token = NULL,
    age = ?, seen_at = ?, seen_monotonic = ?, seen_boot = ? WHERE message_id = ? AND next_hop = ?;
-- name: delete_task
DELETE FROM task WHERE message_id = ? AND next_hop = ?;
-- name: delete_held_task
DELETE FROM task WHERE message_id = ? AND next_hop = ? AND lease_token = ? AND due_at > ?;
-- name: insert_attempt
INSERT INTO attempt (message_id, record) VALUES (?, ?);
-- name: delete_finished
DELETE FROM message WHERE id = ?1
    AND NOT EXISTS (SELECT 1 FROM task WHERE message_id = ?1)
    AND NOT EXISTS (SELECT 1 FROM recipient WHERE message_id = ?1 AND (state = 'failed' AND told <> 1 OR owed = 1));

-- name: untold_messages
SELECT DISTINCT message_id FROM recipient WHERE state = 'failed' AND told = 0 LIMIT ?;
-- name: untold_recipients
SELECT mailbox, status, text, reply FROM recipient
    WHERE message_id = ? AND state = 'failed' AND told = 0 ORDER BY position;
-- name: owed_messages
SELECT DISTINCT message_id FROM recipient WHERE owed = 1 LIMIT ?;
-- name: owed_recipients
SELECT mailbox, status, text, reply FROM recipient WHERE message_id = ? AND owed = 1 ORDER BY position;
-- name: owe
UPDATE recipient SET owed = 1 WHERE message_id = ? AND next_hop = ? AND mailbox = ?;
-- name: mark_paid
UPDATE recipient SET owed = 0 WHERE message_id = ? AND mailbox = ?;
-- name: forgive_all
UPDATE recipient SET owed = 0 WHERE message_id = ?;
-- name: unwarned_messages
SELECT m.id, m.accepted_at, m.reverse_path FROM (
        SELECT DISTINCT message_id FROM recipient
        WHERE state = 'queued' AND warned = 0 AND status IS NOT NULL ORDER BY message_id LIMIT ?
    ) AS r JOIN message AS m ON m.id = r.message_id ORDER BY m.id;
-- name: unwarned_recipients
SELECT mailbox, status, text, reply FROM recipient
    WHERE message_id = ? AND state = 'queued' AND warned = 0 AND status IS NOT NULL ORDER BY position;
-- name: mark_warned
UPDATE recipient SET warned = 1 WHERE message_id = ? AND mailbox = ? AND state = 'queued';
-- name: mark_all_warned
UPDATE recipient SET warned = 1 WHERE message_id = ? AND state = 'queued';
-- name: newest_attempts
SELECT record FROM attempt WHERE message_id = ? ORDER BY id DESC LIMIT ?;
-- name: set_notice_aside
UPDATE recipient SET told = 2 WHERE message_id = ? AND state = 'failed' AND told = 0;
-- name: mark_told
UPDATE recipient SET told = 1 WHERE message_id = ? AND mailbox = ? AND state = 'failed';

-- name: put_right
-- The clock was set back: what waited for a moment that is now far ahead waits as long as it still had to.
UPDATE task SET due_at = max(?1, due_at - coalesce(seen_at - ?1, due_at)), seen_at = min(seen_at, ?1)
    WHERE lease_token IS NULL AND (seen_at > ?1 OR (attempts = 0 AND due_at > ?1));
-- name: set_back
UPDATE task SET due_at = max(?1, due_at - ?2), seen_at = seen_at - ?2 WHERE lease_token IS NULL AND due_at > ?1;
-- name: set_back_leases
UPDATE task SET due_at = min(due_at, ?1) WHERE lease_token IS NOT NULL;

-- name: next_due
SELECT min(due_at) FROM task WHERE state = 'waiting';
-- name: message_ids
SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?;
-- name: message
SELECT id, reverse_path, size, accepted_at, expires_at, body_type, client, tls_demand,
    EXISTS (SELECT 1 FROM body WHERE message_id = message.id), ret, envid, smtputf8 FROM message WHERE id = ?;
-- name: body
SELECT content FROM body WHERE message_id = ?;
-- name: recipients
SELECT r.mailbox, r.next_hop, r.state, r.status, r.text, r.told, r.warned, r.owed,
    t.attempts, t.due_at, t.lease_token, t.state, t.held_at, t.held_because, r.notify, r.orcpt
    FROM recipient AS r LEFT JOIN task AS t ON t.message_id = r.message_id AND t.next_hop = r.next_hop
    WHERE r.message_id = ? ORDER BY r.position;
-- name: attempts
SELECT record FROM (SELECT id, record FROM attempt WHERE message_id = ? ORDER BY id DESC LIMIT ?) ORDER BY id;
-- name: delete_message
DELETE FROM message WHERE id = ?;
-- name: from_version_1
ALTER TABLE message ADD COLUMN tls_demand TEXT NOT NULL DEFAULT 'none';
-- name: from_version_2
ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipient_unwarned ON recipient (message_id)
    WHERE state = 'queued' AND warned = 0 AND status IS NOT NULL;
-- name: from_version_3
ALTER TABLE message ADD COLUMN ret TEXT;
ALTER TABLE message ADD COLUMN envid TEXT;
ALTER TABLE recipient ADD COLUMN notify TEXT;
ALTER TABLE recipient ADD COLUMN orcpt TEXT;
ALTER TABLE recipient ADD COLUMN owed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recipient_owed ON recipient (message_id) WHERE owed = 1;
-- name: from_version_4
ALTER TABLE message ADD COLUMN smtputf8 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'held', 'quarantined'));
ALTER TABLE task ADD COLUMN held_at REAL;
ALTER TABLE task ADD COLUMN held_because TEXT;
DROP INDEX task_by_due;
UPDATE task SET state = 'quarantined', held_because = 'its row in the queue is damaged', due_at = 0 WHERE due_at >= 9e98;
CREATE INDEX task_by_due ON task (due_at) WHERE state = 'waiting';
-- name: from_version_5
ALTER TABLE task ADD COLUMN age REAL NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN seen_at REAL;
ALTER TABLE task ADD COLUMN seen_monotonic REAL;
ALTER TABLE task ADD COLUMN seen_boot TEXT;
UPDATE task SET (age, seen_at) = (
    SELECT coalesce(max(at) - min(at), 0.0), max(at) FROM (
        SELECT cast(json_extract(record, '$.ended_at') AS REAL) AS at FROM attempt AS a
        WHERE a.message_id = task.message_id AND iif(json_valid(record), json_extract(record, '$.next_hop'), NULL) = task.next_hop
    )) WHERE attempts > 0;
CREATE TABLE adopted (source TEXT NOT NULL, message_id TEXT NOT NULL, PRIMARY KEY (source, message_id)) STRICT, WITHOUT ROWID;
-- name: from_version_6
CREATE TABLE tail (message_id TEXT PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE, name TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- name: adopted_ids
SELECT message_id FROM adopted WHERE source = ?;
-- name: adopt
INSERT OR IGNORE INTO adopted (source, message_id) VALUES (?, ?);
-- name: forget_adopted
DELETE FROM adopted WHERE source = ? AND message_id = ?;
