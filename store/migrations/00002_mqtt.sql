-- +goose Up

-- What outlives an MQTT connection (package session). All of it hangs on a sensor or a person and goes with them. Instants are UTC
-- milliseconds as everywhere, 0 meaning never; durations are nanoseconds, kept as given. '' and x'' mean none.

CREATE TABLE mqtt_sessions (
    key       INTEGER PRIMARY KEY,
    id        TEXT    NOT NULL UNIQUE,
    user_id   INTEGER REFERENCES users (id) ON DELETE CASCADE,   -- NULL: not a person's
    sensor_id INTEGER REFERENCES sensors (id) ON DELETE CASCADE, -- NULL: not a sensor's
    version   INTEGER NOT NULL,
    expiry    INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX mqtt_sessions_by_user ON mqtt_sessions (user_id);
CREATE INDEX mqtt_sessions_by_sensor ON mqtt_sessions (sensor_id);

CREATE TABLE mqtt_subscriptions (
    session    INTEGER NOT NULL REFERENCES mqtt_sessions (key) ON DELETE CASCADE,
    filter     TEXT    NOT NULL,
    options    INTEGER NOT NULL,
    identifier INTEGER NOT NULL,
    PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;

-- Rows are appended and leave from the front, whatever their session: what is queued for thousands of sessions at once lands on
-- neighbouring pages, and emptied pages are free as a whole. Clustered by session and packet id each touches a page of its own: six to
-- eight times the bytes written, measured with 5000 sessions.
CREATE TABLE mqtt_deliveries (
    number     INTEGER PRIMARY KEY,
    session    INTEGER NOT NULL REFERENCES mqtt_sessions (key) ON DELETE CASCADE,
    packet_id  INTEGER NOT NULL,
    place      INTEGER NOT NULL, -- in the session's queue
    released   INTEGER NOT NULL,
    topic      TEXT    NOT NULL,
    payload    BLOB    NOT NULL,
    qos        INTEGER NOT NULL,
    retain     INTEGER NOT NULL,
    properties BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (session, packet_id)
) STRICT;

CREATE TABLE mqtt_received (
    session   INTEGER NOT NULL REFERENCES mqtt_sessions (key) ON DELETE CASCADE,
    packet_id INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE mqtt_wills (
    session    INTEGER PRIMARY KEY REFERENCES mqtt_sessions (key) ON DELETE CASCADE,
    delay      INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    topic      TEXT    NOT NULL,
    payload    BLOB    NOT NULL,
    qos        INTEGER NOT NULL,
    retain     INTEGER NOT NULL,
    properties BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE mqtt_retained (
    number     INTEGER PRIMARY KEY,
    topic      TEXT    NOT NULL UNIQUE,
    sensor_id  INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    payload    BLOB    NOT NULL,
    qos        INTEGER NOT NULL,
    retain     INTEGER NOT NULL,
    properties BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX mqtt_retained_by_sensor ON mqtt_retained (sensor_id);
