-- +goose Up

-- Who did what. Names are as of then. Ids have no foreign keys, and 0 means none: the trail outlives those it tells of. AUTOINCREMENT: who
-- continues behind a seq must not meet it again on a newer entry.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL, -- of the first, where several share an entry
    action    TEXT    NOT NULL,
    outcome   TEXT    NOT NULL, -- audit.Outcome
    count     INTEGER NOT NULL, -- how many share it
    actor_id  INTEGER NOT NULL, -- users.id
    actor     TEXT    NOT NULL,
    via       TEXT    NOT NULL, -- audit.Via
    via_id    TEXT    NOT NULL,
    address   TEXT    NOT NULL,
    sensor_id INTEGER NOT NULL, -- sensors.id
    serial    TEXT    NOT NULL,
    owner_id  INTEGER NOT NULL, -- users.id of who had the sensor then
    user_id   INTEGER NOT NULL, -- users.id of the account it was done to
    username  TEXT    NOT NULL,
    detail    TEXT    NOT NULL, -- a JSON object; '': nothing
    bucket    TEXT    NOT NULL  -- what is the same shares an entry; '': this one is shared by nobody
) STRICT;
CREATE UNIQUE INDEX audit_by_bucket ON audit (bucket) WHERE bucket <> '';
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_actor ON audit (actor COLLATE NOCASE, seq);
CREATE INDEX audit_by_serial ON audit (serial, seq) WHERE serial <> '';

-- Whom an entry concerns: what people other than admins read the trail by.
CREATE TABLE audit_parties (
    user_id INTEGER NOT NULL,
    seq     INTEGER NOT NULL REFERENCES audit (seq) ON DELETE CASCADE,
    PRIMARY KEY (user_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_parties_by_entry ON audit_parties (seq);
