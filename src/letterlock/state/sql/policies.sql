-- Remembered MTA-STS policies (RFC 8461), version 2. Lists (mx, history) are JSON; times are seconds since 1970.

-- name: version_1
CREATE TABLE IF NOT EXISTS sts_policy (
    domain              TEXT PRIMARY KEY,
    id                  TEXT NOT NULL,
    mode                TEXT NOT NULL,
    max_age             INTEGER NOT NULL,
    mx                  TEXT NOT NULL,
    fetched_at          REAL NOT NULL,
    expires_at          REAL NOT NULL,
    refresh_at          REAL NOT NULL,
    last_failure        TEXT,
    https_blocked_since REAL,
    txt_blocked_since   REAL,
    history             TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sts_policy_by_refresh ON sts_policy (refresh_at);
CREATE INDEX IF NOT EXISTS sts_policy_by_expiry ON sts_policy (expires_at);

-- name: version_2
ALTER TABLE sts_policy ADD COLUMN used_at REAL NOT NULL DEFAULT 0;
UPDATE sts_policy SET used_at = fetched_at;

-- name: one
SELECT * FROM sts_policy WHERE domain = ?;
-- name: all
SELECT * FROM sts_policy ORDER BY domain;
-- name: due
SELECT * FROM sts_policy WHERE refresh_at <= ?1 AND expires_at > ?1 ORDER BY refresh_at LIMIT ?2;
-- name: save
INSERT INTO sts_policy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (domain) DO UPDATE SET
    id = excluded.id, mode = excluded.mode, max_age = excluded.max_age, mx = excluded.mx,
    fetched_at = excluded.fetched_at, expires_at = excluded.expires_at, refresh_at = excluded.refresh_at,
    last_failure = excluded.last_failure, https_blocked_since = excluded.https_blocked_since,
    txt_blocked_since = excluded.txt_blocked_since, history = excluded.history;
-- name: used
UPDATE sts_policy SET used_at = ?2 WHERE domain = ?1 AND used_at < ?2 - ?3;
-- name: delete
DELETE FROM sts_policy WHERE domain = ?;
-- name: count
SELECT count(*) FROM sts_policy;
-- name: forget_expired
DELETE FROM sts_policy WHERE domain IN (
    SELECT domain FROM sts_policy WHERE domain != ? AND expires_at <= ? ORDER BY expires_at LIMIT ?
);
-- name: forget_crowding
WITH by_three AS (
    SELECT domain, used_at, row_number() OVER (PARTITION BY suffix(domain, 3) ORDER BY used_at DESC) AS place
    FROM sts_policy
), by_two AS (
    SELECT domain, used_at, row_number() OVER (PARTITION BY suffix(domain, 2) ORDER BY place, used_at DESC) AS place
    FROM by_three
)
DELETE FROM sts_policy WHERE domain IN (
    SELECT domain FROM by_two WHERE domain != ? ORDER BY place DESC, used_at LIMIT ?
);
