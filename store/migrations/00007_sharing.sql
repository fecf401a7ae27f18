-- +goose Up

-- With whom sensors are shared; never with their owners.
CREATE TABLE shares (
    sensor_id INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    user_id   INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    access    TEXT    NOT NULL CHECK (access IN ('viewer', 'manager')),
    since     INTEGER NOT NULL, -- given, or last changed
    PRIMARY KEY (sensor_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX shares_by_user ON shares (user_id);

-- Sensors that are offered to whoever has the claim code. One that has expired is as none.
CREATE TABLE transfers (
    sensor_id  INTEGER PRIMARY KEY REFERENCES sensors (id) ON DELETE CASCADE,
    code       BLOB    NOT NULL UNIQUE,                         -- HMAC of the claim code
    user_id    INTEGER REFERENCES users (id) ON DELETE CASCADE, -- who alone may claim; NULL: anybody
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX transfers_by_user ON transfers (user_id);

-- Which sensor a queued message is about: once its serial is another's the message is nobody's any more. 0: not known, or none.
ALTER TABLE mqtt_deliveries ADD COLUMN sensor_id INTEGER NOT NULL DEFAULT 0;
