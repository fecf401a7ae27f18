-- +goose Up

ALTER TABLE users ADD COLUMN email_verified_at INTEGER NOT NULL DEFAULT 0; -- when somebody proved to read what is sent to email
ALTER TABLE users ADD COLUMN last_login_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN search TEXT NOT NULL DEFAULT '';              -- lower case of all that free text search looks at
UPDATE users SET search = lower(username || char(10) || email || char(10) || first_name || char(10) || last_name);

-- Tokens that went out by letter and have neither been used nor become void.
CREATE TABLE letter_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    purpose    TEXT    NOT NULL,           -- 'email' or 'password'
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email      TEXT    NOT NULL,           -- the address the letter went to
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX letter_tokens_by_user ON letter_tokens (user_id);
CREATE INDEX letter_tokens_by_expiry ON letter_tokens (expires_at);

-- Accounts have no foreign keys here: that somebody was invited, and came, outlives both accounts. Their ids are never reused.
CREATE TABLE invitations (
    ord        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    hash       BLOB    NOT NULL UNIQUE,
    email      TEXT    NOT NULL,           -- '': whoever has the code
    role       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    inviter_id INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0,
    used_by    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX invitations_by_expiry ON invitations (expires_at);
