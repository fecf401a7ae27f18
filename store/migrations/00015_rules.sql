-- +goose Up

-- What people want to be told of. A rule judges the sensors its maker owns or manages, no others: one of them, or those with a tag.
CREATE TABLE rules (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uid         TEXT    NOT NULL UNIQUE,
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    revision    INTEGER NOT NULL DEFAULT 1,     -- rises when it watches for something else
    name        TEXT    NOT NULL,
    sensor_id   INTEGER REFERENCES sensors (id) ON DELETE CASCADE, -- NULL: by tag
    tag         TEXT    NOT NULL,
    metric      TEXT    NOT NULL,
    op          TEXT    NOT NULL,
    value       REAL,                           -- NULL: the expression decides
    clear_value REAL,                           -- NULL: value
    expression  TEXT    NOT NULL,
    hold        INTEGER NOT NULL,               -- milliseconds it must hold
    severity    TEXT    NOT NULL,
    enabled     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX rules_by_user ON rules (user_id, id);
CREATE INDEX rules_by_sensor ON rules (sensor_id) WHERE sensor_id IS NOT NULL;

-- Rules that hold for a sensor and have not for long enough. Those that have are open incidents of the subject 'rule:ID.REVISION'.
CREATE TABLE rule_waits (
    rule_id   INTEGER NOT NULL REFERENCES rules (id) ON DELETE CASCADE,
    sensor_id INTEGER NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    revision  INTEGER NOT NULL,
    since     INTEGER NOT NULL,                 -- arrival of the first reading it holds for
    value     REAL    NOT NULL,
    PRIMARY KEY (rule_id, sensor_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX rule_waits_by_sensor ON rule_waits (sensor_id);

-- Up to which seq of the log both say what rules make of it. What comes after is judged again at a start.
CREATE TABLE rule_log (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    judged_to INTEGER NOT NULL
) STRICT;
INSERT INTO rule_log (id, judged_to) SELECT 1, coalesce(max(seq), 0) FROM readings;

CREATE INDEX alerts_of_rules ON alerts (subject) WHERE resolved_at = 0 AND kind = 'threshold';
