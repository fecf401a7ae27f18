-- +goose Up

-- When and from where a session was last used: its login, or its newest refresh.
ALTER TABLE sessions ADD COLUMN last_used_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT ''; -- '': unknown
ALTER TABLE sessions ADD COLUMN client TEXT NOT NULL DEFAULT '';  -- its User-Agent, cut
UPDATE sessions SET last_used_at = created_at;
