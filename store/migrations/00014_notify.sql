-- +goose Up

-- The ways people are told. target and secret are sealed (auth.Sealer): neither this file nor a backup of it holds anybody's token.
CREATE TABLE channels (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    uid          TEXT    NOT NULL UNIQUE,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    kind         TEXT    NOT NULL,           -- notify.Kind
    shown        TEXT    NOT NULL,           -- what may be shown of the address
    host         TEXT    NOT NULL,           -- whom connections go to
    target       BLOB    NOT NULL,
    secret       BLOB,                       -- NULL: none
    min_severity TEXT    NOT NULL,
    enabled      INTEGER NOT NULL,
    quiet_from   INTEGER NOT NULL,           -- minutes since midnight
    quiet_to     INTEGER NOT NULL,
    quiet_zone   TEXT    NOT NULL,           -- '': no quiet hours
    failures     INTEGER NOT NULL DEFAULT 0, -- attempts in a row that failed
    retry_at     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX channels_by_user ON channels (user_id, id);

-- Every notice on its way to every channel it goes to. AUTOINCREMENT: within a channel the order of ids is the order of sending.
CREATE TABLE deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    channel_id INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    notice_id  INTEGER NOT NULL REFERENCES notices (id) ON DELETE CASCADE,
    state      TEXT    NOT NULL,           -- notify.State
    attempts   INTEGER NOT NULL DEFAULT 0,
    made_at    INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,           -- the end of the quiet hours it is held back by; 0: it is not
    settled_at INTEGER NOT NULL DEFAULT 0,
    error      TEXT    NOT NULL DEFAULT '',
    UNIQUE (channel_id, notice_id)
) STRICT;
CREATE INDEX deliveries_by_channel ON deliveries (channel_id, id);
CREATE INDEX deliveries_by_notice ON deliveries (notice_id);
CREATE INDEX deliveries_waiting ON deliveries (channel_id, due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_settlement ON deliveries (settled_at) WHERE state <> 'waiting';
