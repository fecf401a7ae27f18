-- +goose Up

-- Keys to accounts for programs, by the hash of each: the tokens themselves are nowhere.
CREATE TABLE api_tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE, -- SHA-256
    can_write    INTEGER NOT NULL,        -- 0: it only reads
    serials      TEXT,                    -- JSON array, ascending: for these sensors only; NULL: for all of the account's, now and later
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,        -- 0: never
    last_used_at INTEGER NOT NULL         -- 0: never; up to a minute behind
) STRICT;
CREATE INDEX api_tokens_by_user ON api_tokens (user_id);
