-- Reports, version 1: what is counted for ours, to whom they were sent, and those of others. Days are since 1970 (UTC).
-- Policies, rows and failures are JSON arrays, so that equal ones are equal texts.

-- name: version_1
CREATE TABLE tls_group (
    id            INTEGER PRIMARY KEY,
    day           INTEGER NOT NULL,
    domain        TEXT NOT NULL,
    kind          TEXT NOT NULL,
    policy_domain TEXT NOT NULL,
    policy        TEXT NOT NULL,
    successful    INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    UNIQUE (day, domain, policy)
) STRICT;
CREATE INDEX tls_group_by_host ON tls_group (day, policy_domain) WHERE kind = 'tlsa';
CREATE TABLE tls_failure (
    group_id INTEGER NOT NULL REFERENCES tls_group (id) ON DELETE CASCADE,
    failure  TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (group_id, failure)
) STRICT, WITHOUT ROWID;
CREATE TABLE dmarc_group (
    id     INTEGER PRIMARY KEY,
    day    INTEGER NOT NULL,
    domain TEXT NOT NULL,
    policy TEXT NOT NULL,
    UNIQUE (day, domain)
) STRICT;
CREATE TABLE dmarc_row (
    group_id INTEGER NOT NULL REFERENCES dmarc_group (id) ON DELETE CASCADE,
    row      TEXT NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (group_id, row)
) STRICT, WITHOUT ROWID;
CREATE TABLE loss (
    day    INTEGER NOT NULL,
    what   TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (day, what)
) STRICT, WITHOUT ROWID;
CREATE TABLE sending (
    kind     TEXT NOT NULL,
    day      INTEGER NOT NULL,
    domain   TEXT NOT NULL,
    uri      TEXT NOT NULL,
    tries    INTEGER NOT NULL,
    next_at  REAL,
    note     TEXT NOT NULL,
    PRIMARY KEY (kind, day, domain, uri)
) STRICT, WITHOUT ROWID;
CREATE TABLE received (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    organization TEXT NOT NULL,
    report_id    TEXT NOT NULL,
    domain       TEXT NOT NULL,
    began_at     INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    received_at  REAL NOT NULL,
    good         INTEGER NOT NULL,
    bad          INTEGER NOT NULL,
    source       TEXT NOT NULL,
    document     BLOB NOT NULL,
    UNIQUE (kind, organization, report_id, domain)
) STRICT;
CREATE INDEX received_by_end ON received (ended_at);

-- name: add_tls
INSERT INTO tls_group (day, domain, kind, policy_domain, policy, successful, failed) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, domain, policy) DO UPDATE SET
    successful = successful + excluded.successful, failed = failed + excluded.failed
RETURNING id;
-- name: add_tls_failure
INSERT INTO tls_failure SELECT ?1, ?2, ?3
WHERE (SELECT count(*) FROM tls_failure WHERE group_id = ?1) < ?4
    OR EXISTS (SELECT 1 FROM tls_failure WHERE group_id = ?1 AND failure = ?2)
ON CONFLICT (group_id, failure) DO UPDATE SET sessions = sessions + excluded.sessions;
-- name: count_tls
SELECT count(*) FROM tls_group WHERE day = ?;
-- name: knows_tls
SELECT 1 FROM tls_group WHERE day = ? AND domain = ? AND policy = ?;
-- name: tls_domains
SELECT DISTINCT domain FROM tls_group WHERE day = ?1 AND domain > ?2 ORDER BY domain LIMIT ?3;
-- name: tls_hosts
SELECT DISTINCT policy_domain FROM tls_group
WHERE day = ?1 AND kind = 'tlsa' AND policy_domain > ?2 ORDER BY policy_domain LIMIT ?3;
-- name: tls_by_domain
SELECT id, domain, policy, successful, failed FROM tls_group WHERE day = ? AND domain = ? ORDER BY kind, policy;
-- name: tls_by_host
SELECT id, domain, policy, successful, failed FROM tls_group
WHERE day = ? AND kind = 'tlsa' AND policy_domain = ? ORDER BY domain, policy;
-- name: tls_failures
SELECT failure, sessions FROM tls_failure WHERE group_id = ? ORDER BY sessions DESC, failure;

-- name: add_dmarc
INSERT INTO dmarc_group (day, domain, policy) VALUES (?, ?, ?)
ON CONFLICT (day, domain) DO UPDATE SET policy = excluded.policy
RETURNING id;
-- name: add_dmarc_row
INSERT INTO dmarc_row SELECT ?1, ?2, ?3
WHERE (SELECT count(*) FROM dmarc_row WHERE group_id = ?1) < ?4
    OR EXISTS (SELECT 1 FROM dmarc_row WHERE group_id = ?1 AND row = ?2)
ON CONFLICT (group_id, row) DO UPDATE SET messages = messages + excluded.messages;
-- name: count_dmarc
SELECT count(*) FROM dmarc_group WHERE day = ?;
-- name: knows_dmarc
SELECT 1 FROM dmarc_group WHERE day = ? AND domain = ?;
-- name: dmarc_domains
SELECT DISTINCT domain FROM dmarc_group WHERE day = ?1 AND domain > ?2 ORDER BY domain LIMIT ?3;
-- name: dmarc_by_domain
SELECT id, policy FROM dmarc_group WHERE day = ? AND domain = ?;
-- name: dmarc_rows
SELECT row, messages FROM dmarc_row WHERE group_id = ? ORDER BY messages DESC, row;

-- name: lose
INSERT INTO loss VALUES (?, ?, ?) ON CONFLICT (day, what) DO UPDATE SET number = number + excluded.number;
-- name: losses
SELECT day, what, number FROM loss ORDER BY day, what;

-- name: claim
INSERT OR IGNORE INTO sending VALUES (?, ?, ?, ?, 1, NULL, '') RETURNING tries;
-- name: retry
UPDATE sending SET next_at = ?5, note = ?6 WHERE kind = ?1 AND day = ?2 AND domain = ?3 AND uri = ?4;
-- name: reclaim
UPDATE sending SET tries = tries + 1, next_at = NULL
WHERE kind = ?1 AND day = ?2 AND domain = ?3 AND uri = ?4 AND tries = ?5 AND next_at IS NOT NULL RETURNING tries;
-- name: due
SELECT kind, day, domain, uri, tries FROM sending WHERE next_at <= ? ORDER BY next_at LIMIT ?;
-- name: sent
SELECT kind, day, domain, uri, tries, next_at, note FROM sending ORDER BY day DESC, kind, domain, uri LIMIT ?;

-- name: receive
INSERT INTO received
    (kind, organization, report_id, domain, began_at, ended_at, received_at, good, bad, source, document)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING id;
-- name: received_octets
SELECT count(*), coalesce(sum(length(document)), 0) FROM received;
-- name: forget_oldest_received
DELETE FROM received WHERE id IN (SELECT id FROM received ORDER BY ended_at, id LIMIT ?);
-- name: received_list
SELECT id, kind, organization, report_id, domain, began_at, ended_at, received_at, good, bad, source FROM received
WHERE (?1 = '' OR domain = ?1) AND (?2 = '' OR kind = ?2) AND ended_at >= ?3
ORDER BY ended_at DESC, id DESC LIMIT ?4;
-- name: received_one
SELECT kind, document FROM received WHERE id = ?;

-- name: forget_tls
DELETE FROM tls_group WHERE day < ?;
-- name: forget_dmarc
DELETE FROM dmarc_group WHERE day < ?;
-- name: forget_sending
DELETE FROM sending WHERE day < ?;
-- name: forget_loss
DELETE FROM loss WHERE day < ?;
