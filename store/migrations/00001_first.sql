-- +goose Up

-- Every instant is UTC milliseconds since the Unix epoch; 0 means never. Every flag is 0 or 1.

-- One row: what is known of the reading log as a whole.
CREATE TABLE log (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      TEXT    NOT NULL, -- '' until the first clean stop
    last_seq   INTEGER NOT NULL, -- highest seq ever seen, written when the store is closed
    clean      INTEGER NOT NULL, -- 1: closed properly, nothing was shown that is not here
    indexed_to INTEGER NOT NULL  -- reading_index covers the log up to this seq
) STRICT;
INSERT INTO log (id, epoch, last_seq, clean, indexed_to) VALUES (1, '', 0, 0, 0);

-- The log of readings, append-only. sensor_id has no foreign key: history outlives its sensor until it is purged.
CREATE TABLE readings (
    seq         INTEGER PRIMARY KEY,
    sensor_id   INTEGER NOT NULL,
    time        INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    flags       INTEGER NOT NULL, -- bit 0: suspect; bits 1–2: the door (telemetry.Via)
    dedupe      BLOB,             -- telemetry.Key; NULL: nothing to recognise it by
    data        TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX readings_dedupe ON readings (dedupe) WHERE dedupe IS NOT NULL;

-- History by sensor and time, filled behind the log in sorted batches (index.go).
CREATE TABLE reading_index (
    sensor_id INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (sensor_id, time, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    uid           TEXT    NOT NULL UNIQUE,
    username      TEXT    NOT NULL,
    username_key  TEXT    NOT NULL UNIQUE, -- lower case: what uniqueness and login go by
    email         TEXT    NOT NULL,
    email_key     TEXT    NOT NULL UNIQUE,
    first_name    TEXT    NOT NULL,
    last_name     TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    disabled      INTEGER NOT NULL,
    password_hash TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

-- Logins. user_id has no foreign key: that a session ended must outlive its account.
CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (ended_at);

CREATE TABLE refresh_tokens (
    hash        BLOB    NOT NULL PRIMARY KEY,
    session_id  TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    parent      BLOB,                        -- the token it was exchanged for; NULL: the login's first
    spent_at    INTEGER NOT NULL DEFAULT 0,
    grace_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id, parent);
CREATE INDEX refresh_tokens_by_spent ON refresh_tokens (spent_at) WHERE spent_at > 0;

-- AUTOINCREMENT: the id of a deleted sensor is never given again, so its history cannot fall to another owner.
CREATE TABLE sensors (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    uid           TEXT    NOT NULL UNIQUE,
    serial        TEXT    NOT NULL UNIQUE, -- case-sensitive
    owner_id      INTEGER NOT NULL REFERENCES users (id),
    name          TEXT    NOT NULL,
    description   TEXT    NOT NULL,
    mac_address   TEXT    NOT NULL,
    sensor_type   TEXT    NOT NULL,
    manufacturer  TEXT    NOT NULL,
    silence_after INTEGER NOT NULL,        -- milliseconds; 0: the server's default
    search        TEXT    NOT NULL,        -- lower case of all that free text search looks at
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX sensors_by_owner ON sensors (owner_id, serial);

CREATE TABLE sensor_tags (
    sensor_id INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    tag       TEXT    NOT NULL,
    PRIMARY KEY (sensor_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX sensor_tags_by_tag ON sensor_tags (tag, sensor_id);

CREATE TABLE sensor_secrets (
    sensor_id   INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    hash        BLOB    NOT NULL,
    valid_until INTEGER NOT NULL,          -- 0: for ever
    PRIMARY KEY (sensor_id, position)
) STRICT, WITHOUT ROWID;

-- What traffic says of a sensor. Narrow and apart from sensors, because every commit writes here.
CREATE TABLE sensor_status (
    sensor_id       INTEGER PRIMARY KEY REFERENCES sensors (id) ON DELETE CASCADE,
    last_seen_at    INTEGER NOT NULL DEFAULT 0,
    latest_seq      INTEGER NOT NULL DEFAULT 0,
    latest_time     INTEGER NOT NULL DEFAULT 0,
    malformed       INTEGER NOT NULL DEFAULT 0,
    refused         INTEGER NOT NULL DEFAULT 0,
    last_reason     TEXT    NOT NULL DEFAULT '',
    last_problem_at INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Who has been silent since when, without reading every sensor.
CREATE INDEX sensor_status_last_seen ON sensor_status (last_seen_at);

-- Sensors that are gone and whose history is still to be deleted.
CREATE TABLE purges (
    sensor_id INTEGER PRIMARY KEY,
    through   INTEGER NOT NULL             -- done once the index has passed this seq and holds nothing of the sensor
) STRICT;
