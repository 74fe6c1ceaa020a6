-- What is remembered of next-hop domains, version 1. `record` is JSON; times are seconds since 1970.

-- name: version_1
CREATE TABLE IF NOT EXISTS domain_memory (
    domain     TEXT PRIMARY KEY,
    record     TEXT NOT NULL,
    used_at    REAL NOT NULL,
    changed_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS domain_memory_by_change ON domain_memory (changed_at);

-- name: one
SELECT record FROM domain_memory WHERE domain = ?;
-- name: page
SELECT domain, record FROM domain_memory WHERE domain > ? ORDER BY domain LIMIT ?;
-- name: changed
SELECT domain, record FROM domain_memory WHERE changed_at > ? ORDER BY changed_at DESC LIMIT ?;
-- name: save
INSERT INTO domain_memory VALUES (?, ?, ?, ?)
ON CONFLICT (domain) DO UPDATE SET
    record = excluded.record, used_at = excluded.used_at, changed_at = excluded.changed_at;
-- name: delete
DELETE FROM domain_memory WHERE domain = ?;
-- name: delete_all
DELETE FROM domain_memory;
-- name: count
SELECT count(*) FROM domain_memory;
-- name: forget_faded
DELETE FROM domain_memory WHERE domain IN (
    SELECT domain FROM domain_memory WHERE domain != ? AND used_at < ? ORDER BY used_at LIMIT ?
);
-- name: forget_crowding
WITH by_three AS (
    SELECT domain, used_at, row_number() OVER (PARTITION BY suffix(domain, 3) ORDER BY used_at DESC) AS place
    FROM domain_memory
), by_two AS (
    SELECT domain, used_at, row_number() OVER (PARTITION BY suffix(domain, 2) ORDER BY place, used_at DESC) AS place
    FROM by_three
)
DELETE FROM domain_memory WHERE domain IN (
    SELECT domain FROM by_two WHERE domain != ? ORDER BY place DESC, used_at LIMIT ?
);
