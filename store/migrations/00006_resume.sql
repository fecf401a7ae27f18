-- +goose Up

-- Readings up to this seq may have been deleted for their age: who has read no further has missed what cannot be replayed.
ALTER TABLE log ADD COLUMN pruned_to INTEGER NOT NULL DEFAULT 0;

-- Tokens that were used and have not expired yet, by their id.
CREATE TABLE spent_tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_tokens_by_expiry ON spent_tokens (expires_at);
