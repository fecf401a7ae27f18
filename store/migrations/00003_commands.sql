-- +goose Up

-- What people ask of their sensors. AUTOINCREMENT: who continues behind an ord must not meet it again on a newer command.
CREATE TABLE commands (
    ord          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    sensor_id    INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    data         TEXT    NOT NULL,           -- compact JSON
    state        TEXT    NOT NULL,           -- command.State, as written down: a queued one may have expired
    created_at   INTEGER NOT NULL,
    created_by   TEXT    NOT NULL,
    expires_at   INTEGER NOT NULL,
    delivered_at INTEGER NOT NULL DEFAULT 0,
    answered_at  INTEGER NOT NULL DEFAULT 0,
    settled_at   INTEGER NOT NULL DEFAULT 0, -- when it left 'queued', or moved on after; what retention goes by
    reply        TEXT                        -- compact JSON; NULL: none
) STRICT;
CREATE INDEX commands_by_sensor ON commands (sensor_id, ord);
CREATE INDEX commands_queued ON commands (sensor_id, ord) WHERE state = 'queued';
CREATE INDEX commands_by_expiry ON commands (expires_at) WHERE state = 'queued';
CREATE INDEX commands_by_settlement ON commands (settled_at) WHERE state <> 'queued';
