-- What an operator asks and orders. Parameters are named: every statement takes those that it needs.

-- name: count
SELECT count(*) FROM message;
-- name: reach
SELECT max(id), count(*) FROM (SELECT id FROM message WHERE id > :after ORDER BY id LIMIT :scan);
-- name: select
SELECT m.id FROM message AS m
    WHERE m.id > :after AND m.id <= :upto
    AND (:before IS NULL OR m.accepted_at <= :before)
    AND (:sender IS NULL OR CASE
        WHEN m.reverse_path IS NULL THEN :sender = '<>'
        ELSE lower(m.reverse_path) = :sender
            OR substr(lower(m.reverse_path), -length(:sender) - 1) = '@' || :sender
        END)
    AND (:domain IS NULL AND :state IS NULL OR EXISTS (
        SELECT 1 FROM recipient AS r LEFT JOIN task AS t ON t.message_id = r.message_id AND t.next_hop = r.next_hop
        WHERE r.message_id = m.id AND r.state <> 'delivered'
        AND (:domain IS NULL OR r.next_hop = :domain)
        AND (:state IS NULL OR :state = CASE
            WHEN r.state = 'failed' THEN iif(r.told = 2, 'quarantined', 'failed')
            WHEN t.state <> 'waiting' THEN t.state
            WHEN t.lease_token IS NOT NULL THEN 'leased'
            ELSE iif(t.attempts > 0, 'deferred', 'waiting')
            END)))
    ORDER BY m.id LIMIT :limit;

-- name: tally
SELECT
    CASE :by
        WHEN 'domain' THEN t.next_hop
        WHEN 'sender' THEN coalesce(m.reverse_path, '<>')
        WHEN 'reason' THEN coalesce(t.state || ': ' || t.held_because, ( -- the policy's code, else a server's text
            SELECT json_extract(last.record, why.fullkey || '.code') FROM (
                SELECT a.record FROM attempt AS a WHERE a.message_id = t.message_id
                AND iif(json_valid(a.record), json_extract(a.record, '$.next_hop'), '') = t.next_hop
                AND iif(json_valid(a.record), json_extract(a.record, '$.ended_at'), NULL) IS NOT NULL
                ORDER BY a.id DESC LIMIT 1
            ) AS last, json_each(last.record, '$.reasons') AS why
            WHERE json_extract(last.record, '$.level') IS NULL
            AND json_extract(last.record, why.fullkey || '.code') NOT IN (SELECT value FROM json_each(:never_refusing))
            AND NOT EXISTS (
                SELECT 1 FROM json_each(last.record, '$.outcomes') AS o
                WHERE json_extract(last.record, o.fullkey || '.reply') <> ''
            )
            LIMIT 1), (
            SELECT r.status || ' ' || r.text FROM recipient AS r
            WHERE r.message_id = t.message_id AND r.next_hop = t.next_hop AND r.state = 'queued' AND r.text IS NOT NULL
            ORDER BY r.position LIMIT 1), 'not tried yet')
        ELSE CASE
            WHEN :now - m.accepted_at <= 300 THEN '5m'
            WHEN :now - m.accepted_at <= 900 THEN '15m'
            WHEN :now - m.accepted_at <= 3600 THEN '1h'
            WHEN :now - m.accepted_at <= 14400 THEN '4h'
            WHEN :now - m.accepted_at <= 86400 THEN '1d'
            ELSE 'older' END
        END AS key,
    sum(t.state = 'waiting' AND t.lease_token IS NULL AND t.attempts = 0),
    sum(t.state = 'waiting' AND t.lease_token IS NULL AND t.attempts > 0),
    sum(t.state = 'waiting' AND t.lease_token IS NOT NULL),
    sum(t.state = 'held'),
    sum(t.state = 'quarantined'),
    sum(m.size),
    min(m.accepted_at),
    sum(:now - m.accepted_at <= 300),
    sum(:now - m.accepted_at > 300 AND :now - m.accepted_at <= 900),
    sum(:now - m.accepted_at > 900 AND :now - m.accepted_at <= 3600),
    sum(:now - m.accepted_at > 3600 AND :now - m.accepted_at <= 14400),
    sum(:now - m.accepted_at > 14400 AND :now - m.accepted_at <= 86400),
    sum(:now - m.accepted_at > 86400)
    FROM task AS t JOIN message AS m ON m.id = t.message_id
    WHERE t.message_id > :after AND t.message_id <= :upto
    GROUP BY key ORDER BY key;

-- name: retry
UPDATE task SET due_at = :at
    WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND state = 'waiting' AND lease_token IS NULL;
-- name: hold
UPDATE task SET state = 'held', held_at = :at, held_because = :reason
    WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND state = 'waiting';
-- name: quarantine
UPDATE task SET state = 'quarantined', held_at = :at, held_because = :reason
    WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND state <> 'quarantined';
-- name: release
UPDATE task SET state = 'waiting', held_at = NULL, held_because = NULL,
    due_at = iif(lease_token IS NULL, :at, due_at)
    WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND state <> 'waiting'
    AND (:only IS NULL OR state = :only);
-- name: release_notices
UPDATE recipient SET told = 0 WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND told = 2
    AND (:only IS NULL OR :only = 'quarantined');
-- name: remove
DELETE FROM message WHERE id = :id;
-- name: fail_removed
UPDATE recipient SET state = 'failed', status = :status, text = :text, reply = NULL, told = max(told, :told)
    WHERE message_id = :id AND state = 'queued' AND next_hop IN (
        SELECT next_hop FROM task
        WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND (:told OR lease_token IS NULL));
-- name: delete_removed
DELETE FROM task WHERE message_id = :id AND (:hop IS NULL OR next_hop = :hop) AND (:told OR lease_token IS NULL);
-- name: journal
INSERT INTO attempt (message_id, record) VALUES (:id, :record);
