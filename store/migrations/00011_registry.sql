-- +goose Up

-- Creations of sensors that may be asked for again, by what their Idempotency-Key and body hash to (package auth, Once). A row goes with its
-- sensor, and after a day.
CREATE TABLE sensor_creations (
    key        BLOB    NOT NULL PRIMARY KEY, -- account and key together
    body       BLOB    NOT NULL,             -- what the sensor was asked for with
    salt       BLOB    NOT NULL,             -- what its secret is made of beside the key and the server's own
    sensor_id  INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sensor_creations_by_sensor ON sensor_creations (sensor_id);
CREATE INDEX sensor_creations_by_age ON sensor_creations (created_at);

-- Who tried to log in over MQTT under a serial that no sensor has: the admin's inbox (package inbox), which bounds it.
CREATE TABLE strangers (
    serial        TEXT    NOT NULL PRIMARY KEY,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    address       TEXT    NOT NULL,           -- of the last attempt, as the next three
    client_id     TEXT    NOT NULL,
    protocol      TEXT    NOT NULL,
    secret        BLOB,                       -- HMAC of the secret it showed, as in sensor_secrets; NULL: none that could be one
    secrets       INTEGER NOT NULL,           -- how many different ones it showed one after the other
    muted_until   INTEGER NOT NULL            -- was dismissed, and is not shown again before; 0: was not
) STRICT, WITHOUT ROWID;
