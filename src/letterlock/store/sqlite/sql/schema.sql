-- Version 7. Bodies have a table of their own, so that listing never reads them. A task's due_at is the next attempt
-- while it waits and the end of the lease while somebody has it: an expired lease is due by itself.
CREATE TABLE message (
    id           TEXT PRIMARY KEY,
    reverse_path TEXT,
    size         INTEGER NOT NULL,
    accepted_at  REAL NOT NULL,
    expires_at   REAL NOT NULL,
    body_type    TEXT NOT NULL,
    client       TEXT NOT NULL,
    tls_demand   TEXT NOT NULL DEFAULT 'none', -- since version 2
    ret          TEXT, -- since version 4, like all that RFC 3461 is about: as MAIL and RCPT had it
    envid        TEXT,
    smtputf8     INTEGER NOT NULL DEFAULT 0 -- since version 5
) STRICT;

CREATE TABLE body (
    message_id TEXT PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    content    BLOB NOT NULL
) STRICT;

-- Since version 7: which messages have a file with the rest of their content (store/tails.py).
CREATE TABLE tail (
    message_id TEXT PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    name       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    message_id  TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    next_hop    TEXT NOT NULL,
    due_at      REAL NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    lease_token TEXT,
    state       TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'held', 'quarantined')), -- since version 5
    held_at     REAL, -- of what does not wait: since when, and why
    held_because TEXT,
    age            REAL NOT NULL DEFAULT 0, -- since version 6: for how many seconds it was tried, up to its last attempt,
    seen_at        REAL, -- and what the clocks said then (queue/age.py)
    seen_monotonic REAL,
    seen_boot      TEXT,
    PRIMARY KEY (message_id, next_hop)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_by_due ON task (due_at) WHERE state = 'waiting';

CREATE TABLE recipient (
    message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    mailbox    TEXT NOT NULL,
    next_hop   TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'delivered', 'failed')),
    told       INTEGER NOT NULL DEFAULT 0, -- of a failure; 1: the sender knows, or does not want to; 2: quarantined, the row is damaged
    status     TEXT,
    text       TEXT,
    reply      TEXT,
    warned     INTEGER NOT NULL DEFAULT 0, -- since version 3; of a delay; 1 as in told
    notify     TEXT, -- NEVER, or some of SUCCESS,FAILURE,DELAY; NULL: not given
    orcpt      TEXT,
    owed       INTEGER NOT NULL DEFAULT 0, -- 1: relayed, and the sender wishes to hear of it
    PRIMARY KEY (message_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_unwarned ON recipient (message_id)
    WHERE state = 'queued' AND warned = 0 AND status IS NOT NULL;
CREATE INDEX recipient_untold ON recipient (message_id) WHERE state = 'failed' AND told = 0;
CREATE INDEX recipient_owed ON recipient (message_id) WHERE owed = 1;

CREATE TABLE attempt (
    id         INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    record     TEXT NOT NULL
) STRICT;
CREATE INDEX attempt_by_message ON attempt (message_id);

-- Since version 6: messages that were taken over from another queue, and may still be there: never take them again.
CREATE TABLE adopted (
    source     TEXT NOT NULL,
    message_id TEXT NOT NULL, -- its id there
    PRIMARY KEY (source, message_id)
) STRICT, WITHOUT ROWID;
