-- +goose Up

-- When and from where a session was last used: its login, or its newest refresh.
ALTER TABLE sessions ADD COLUMN last_used_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT ''; -- '': unknown
ALTER TABLE sessions ADD COLUMN client TEXT NOT NULL DEFAULT '';  -- its User-Agent, cut
UPDATE sessions SET last_used_at = created_at;

-- What somebody logs in with beside their password.
CREATE TABLE second_factors (
    user_id   INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed    BLOB    NOT NULL, -- what is shared with the app, encrypted under a key of keys.json
    enabled   INTEGER NOT NULL, -- 0: begun, and no code seen yet
    last_step INTEGER NOT NULL  -- of the newest code that was accepted (RFC 6238: 30 s since the epoch)
) STRICT;

-- Recovery codes not used yet, hashed under a key of keys.json.
CREATE TABLE recovery_codes (
    user_id INTEGER NOT NULL REFERENCES second_factors (user_id) ON DELETE CASCADE,
    hash    BLOB    NOT NULL,
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

-- What failed logins owe the throttles (auth.Debt).
CREATE TABLE debts (
    kind    TEXT    NOT NULL, -- of throttle
    debtor  BLOB    NOT NULL, -- a keyed hash
    paid_at INTEGER NOT NULL,
    PRIMARY KEY (kind, debtor)
) STRICT, WITHOUT ROWID;
CREATE INDEX debts_by_payment ON debts (paid_at);
