-- +goose Up

-- The last_seen_at after which the sensor was found silent. While both are equal it is silent; a reading ends that by moving the other.
ALTER TABLE sensor_status ADD COLUMN silent_from INTEGER NOT NULL DEFAULT 0;

-- One row, written every few seconds: how a start knows how long nobody listened.
CREATE TABLE heartbeat (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    at          INTEGER NOT NULL,
    stepped_at  INTEGER NOT NULL, -- just after the wall clock last ran ahead
    grace_until INTEGER NOT NULL  -- no sensor was to be found silent before
) STRICT;
INSERT INTO heartbeat (id, at, stepped_at, grace_until) VALUES (1, 0, 0, 0);
