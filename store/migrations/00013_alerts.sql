-- +goose Up

-- Incidents: what was wrong with a sensor from one moment to another. One is opened in the transaction that finds its cause (the mark of a
-- silence, sensor_status.silent_from) and goes with its sensor.
CREATE TABLE alerts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    uid             TEXT    NOT NULL UNIQUE,
    sensor_id       INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    subject         TEXT    NOT NULL,           -- what it is about: 'silent', or a rule
    kind            TEXT    NOT NULL,
    cause           TEXT    NOT NULL,
    severity        TEXT    NOT NULL,
    message         TEXT    NOT NULL,
    opened_at       INTEGER NOT NULL,
    ended_at        INTEGER NOT NULL DEFAULT 0, -- when what is wrong last ceased to be; a flapping incident is open for a while after
    resolved_at     INTEGER NOT NULL DEFAULT 0,
    acknowledged_at INTEGER NOT NULL DEFAULT 0,
    acknowledged_by TEXT    NOT NULL DEFAULT '',
    episodes        INTEGER NOT NULL DEFAULT 1,
    flapping        INTEGER NOT NULL DEFAULT 0,
    tell            TEXT    NOT NULL DEFAULT '', -- what is done next: opened, resolved, reminder (notices), calm (it is resolved)
    tell_at         INTEGER NOT NULL DEFAULT 0   -- and when; 0: nothing
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (sensor_id, subject) WHERE resolved_at = 0;
CREATE INDEX alerts_by_sensor ON alerts (sensor_id, id);
CREATE INDEX alerts_by_telling ON alerts (tell_at) WHERE tell_at > 0;
CREATE INDEX alerts_by_resolution ON alerts (resolved_at) WHERE resolved_at > 0;

-- What people are to be told, written in the transaction of what it tells of. Who delivers it sets fanned_at once it is on its way.
CREATE TABLE notices (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    uid        TEXT    NOT NULL UNIQUE,
    alert_id   INTEGER,                   -- NULL: a digest
    what       TEXT    NOT NULL,          -- opened, resolved, reminder, digest
    owner_id   INTEGER NOT NULL,
    sensor_id  INTEGER,                   -- NULL: a digest
    severity   TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    data       TEXT    NOT NULL,          -- JSON: the incident, or {"what","count","alerts":[…]}
    created_at INTEGER NOT NULL,
    fanned_at  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notices_waiting ON notices (id) WHERE fanned_at = 0;
CREATE INDEX notices_by_age ON notices (created_at);

-- 1: the sensor's own rhythm says how long it may be silent, once it is known.
ALTER TABLE sensors ADD COLUMN silence_learned INTEGER NOT NULL DEFAULT 0;

-- Rhythms as last written down, milliseconds. They are written when they have changed by a good deal, not with each reading.
CREATE TABLE cadences (
    sensor_id INTEGER PRIMARY KEY REFERENCES sensors (id) ON DELETE CASCADE,
    gaps      INTEGER NOT NULL,
    typical   INTEGER NOT NULL,
    long      INTEGER NOT NULL
) STRICT;
