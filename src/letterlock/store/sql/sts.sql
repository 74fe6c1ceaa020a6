-- Remembered MTA-STS policies (RFC 8461), version 1. Lists (mx, history) are JSON; times are seconds since 1970.

-- name: schema
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

-- name: one
SELECT * FROM sts_policy WHERE domain = ?;
-- name: all
SELECT * FROM sts_policy ORDER BY domain;
-- name: due
SELECT * FROM sts_policy WHERE refresh_at <= ?1 AND expires_at > ?1 ORDER BY refresh_at LIMIT ?2;
-- name: save
INSERT OR REPLACE INTO sts_policy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: delete
DELETE FROM sts_policy WHERE domain = ?;
-- name: make_room
DELETE FROM sts_policy WHERE domain IN (
    SELECT domain FROM sts_policy WHERE domain != ? ORDER BY expires_at LIMIT max(0, (SELECT count(*) FROM sts_policy) - ?)
);
