-- Statistics, version 1: attempts by hour (grain 0), day (1) and month (2). Starts are in seconds since 1970 (UTC).
-- `total` has everything, whatever destinations are named in `rollup`.

-- name: version_1
CREATE TABLE shape (
    id           INTEGER PRIMARY KEY,
    result       TEXT NOT NULL,
    reason       TEXT NOT NULL,
    protection   TEXT NOT NULL,
    proof        TEXT NOT NULL,
    demanded_by  TEXT NOT NULL,
    begun_by     TEXT NOT NULL,
    tls_version  TEXT NOT NULL,
    cipher       TEXT NOT NULL,
    key_exchange TEXT NOT NULL,
    would_fail   TEXT NOT NULL,
    UNIQUE (result, reason, protection, proof, demanded_by, begun_by, tls_version, cipher, key_exchange, would_fail)
) STRICT;
CREATE TABLE rollup (
    grain       INTEGER NOT NULL,
    start       INTEGER NOT NULL,
    destination TEXT NOT NULL,
    shape       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    PRIMARY KEY (grain, start, destination, shape)
) STRICT, WITHOUT ROWID;
CREATE TABLE total (
    grain    INTEGER NOT NULL,
    start    INTEGER NOT NULL,
    shape    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (grain, start, shape)
) STRICT, WITHOUT ROWID;

-- name: add_shape
INSERT INTO shape
    (result, reason, protection, proof, demanded_by, begun_by, tls_version, cipher, key_exchange, would_fail)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: find_shape
SELECT id FROM shape
WHERE (result, reason, protection, proof, demanded_by, begun_by, tls_version, cipher, key_exchange, would_fail)
    = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
-- name: count_shapes
SELECT count(*) FROM shape;

-- name: add
INSERT INTO rollup VALUES (?, ?, ?, ?, ?)
ON CONFLICT (grain, start, destination, shape) DO UPDATE SET attempts = attempts + excluded.attempts;
-- name: add_if_room
INSERT INTO rollup SELECT ?1, ?2, ?3, ?4, ?5
WHERE (SELECT count(*) FROM rollup WHERE grain = ?1 AND start = ?2 AND destination = ?3) < ?6
    OR EXISTS (SELECT 1 FROM rollup WHERE grain = ?1 AND start = ?2 AND destination = ?3 AND shape = ?4)
ON CONFLICT (grain, start, destination, shape) DO UPDATE SET attempts = attempts + excluded.attempts;
-- name: add_total
INSERT INTO total VALUES (?, ?, ?, ?)
ON CONFLICT (grain, start, shape) DO UPDATE SET attempts = attempts + excluded.attempts;

-- name: count_destinations
SELECT count(DISTINCT destination), count(*) FROM rollup WHERE grain = ?1 AND start = ?2 AND destination <> ?3;
-- name: fold_smallest
INSERT INTO rollup
SELECT grain, start, ?3, shape, sum(attempts) FROM rollup
WHERE grain = ?1 AND start = ?2 AND destination <> ?3 AND destination NOT IN (
    SELECT destination FROM (
        SELECT destination, row_number() OVER largest AS rank, sum(count(*)) OVER largest AS rows_so_far
        FROM rollup WHERE grain = ?1 AND start = ?2 AND destination <> ?3
        GROUP BY destination WINDOW largest AS (ORDER BY sum(attempts) DESC, destination)
    )
    WHERE rank <= ?4 AND rows_so_far <= ?5
)
GROUP BY grain, start, shape
ON CONFLICT (grain, start, destination, shape) DO UPDATE SET attempts = attempts + excluded.attempts;
-- name: drop_smallest
DELETE FROM rollup
WHERE grain = ?1 AND start = ?2 AND destination <> ?3 AND destination NOT IN (
    SELECT destination FROM (
        SELECT destination, row_number() OVER largest AS rank, sum(count(*)) OVER largest AS rows_so_far
        FROM rollup WHERE grain = ?1 AND start = ?2 AND destination <> ?3
        GROUP BY destination WINDOW largest AS (ORDER BY sum(attempts) DESC, destination)
    )
    WHERE rank <= ?4 AND rows_so_far <= ?5
);
-- name: forget_rollup
DELETE FROM rollup WHERE grain = ? AND start < ?;
-- name: forget_total
DELETE FROM total WHERE grain = ? AND start < ?;

-- name: totals
SELECT start, result, reason, protection, proof, demanded_by, begun_by, tls_version, cipher, key_exchange, would_fail,
    attempts
FROM total JOIN shape ON shape.id = shape
WHERE grain = ? AND start >= ? AND start < ? ORDER BY start;
-- name: of_destination
SELECT start, result, reason, protection, proof, demanded_by, begun_by, tls_version, cipher, key_exchange, would_fail,
    attempts
FROM rollup JOIN shape ON shape.id = shape
WHERE grain = ?1 AND destination = ?4
    AND start IN (SELECT DISTINCT start FROM total WHERE grain = ?1 AND start >= ?2 AND start < ?3)
ORDER BY start;
-- name: largest
SELECT destination, count(*) OVER () FROM rollup
WHERE grain = ?1 AND start >= ?2 AND start < ?3 AND destination <> ?4
GROUP BY destination ORDER BY sum(attempts) DESC, destination LIMIT ?5;
