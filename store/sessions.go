package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// rememberSessions is how long ended sessions and spent refresh tokens are remembered, so that a stolen copy is recognised as one.
const rememberSessions = 7 * 24 * time.Hour

// CreateSession implements auth.Sessions.
func (d *DB) CreateSession(ctx context.Context, s auth.Session, refreshHash []byte) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO sessions (id, user_id, created_at, expires_at, last_used_at, address, client) VALUES (?,?,?,?,?,?,?)",
			s.ID, s.UserID, int64(s.CreatedAt), int64(s.ExpiresAt), int64(s.LastUse.At), s.LastUse.Address, s.LastUse.Client)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE users SET last_login_at = ? WHERE id = ?", int64(s.CreatedAt), s.UserID); err != nil {
			return err
		}
		return addToken(tx, refreshHash, s.ID, nil)
	})
	if err != nil {
		return fmt.Errorf("create session: %w", err)
	}
	return nil
}

func addToken(tx *sql.Tx, hash []byte, session string, parent []byte) error {
	_, err := tx.Exec("INSERT INTO refresh_tokens (hash, session_id, parent) VALUES (?,?,?)", hash, session, parent)
	return err
}

// token is a refresh token as RotateRefresh finds it.
type token struct {
	session    auth.Session
	ended      telemetry.Millis
	spent      telemetry.Millis
	graceUntil telemetry.Millis
	superseded bool // a successor has been spent: whoever holds this one is behind
}

// RotateRefresh implements auth.Sessions.
func (d *DB) RotateRefresh(ctx context.Context, old, next []byte, use auth.Use, graceUntil telemetry.Millis) (auth.Session, error) {
	var t token
	now, reused := use.At, false
	err := d.write.do(ctx, func(tx *sql.Tx) (err error) {
		t, err = findToken(tx, old)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("unknown token: %w", telemetry.ErrUnauthenticated)
		case err != nil:
			return err
		case t.ended != 0 || now >= t.session.ExpiresAt:
			return fmt.Errorf("session is over: %w", telemetry.ErrUnauthenticated)
		case t.spent == 0:
			_, err := tx.Exec("UPDATE refresh_tokens SET spent_at = ?, grace_until = ? WHERE hash = ?", int64(now), int64(graceUntil), old)
			if err != nil {
				return err
			}
		case now >= t.graceUntil || t.superseded:
			reused = true
			return endSessions(tx, "id = ?", t.session.ID, now)
		}
		t.session.LastUse = use
		_, err = tx.Exec("UPDATE sessions SET last_used_at = ?, address = ?, client = ? WHERE id = ?", int64(use.At), use.Address, use.Client, t.session.ID)
		return errors.Join(err, addToken(tx, next, t.session.ID, old))
	})
	if err != nil {
		return auth.Session{}, fmt.Errorf("rotate refresh token: %w", err)
	}
	if reused {
		return t.session, auth.ErrReused
	}
	return t.session, nil
}

func findToken(tx *sql.Tx, hash []byte) (t token, err error) {
	err = tx.QueryRow(`
		SELECT `+sessionColumns+`, s.ended_at, t.spent_at, t.grace_until,
			EXISTS (SELECT 1 FROM refresh_tokens c WHERE c.session_id = t.session_id AND c.parent = t.hash AND c.spent_at <> 0)
		FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = ?`, hash).Scan(
		append(fieldsOf(&t.session), &t.ended, &t.spent, &t.graceUntil, &t.superseded)...)
	return t, err
}

const sessionColumns = "s.id, s.user_id, s.created_at, s.expires_at, s.last_used_at, s.address, s.client"

// fieldsOf is where sessionColumns go.
func fieldsOf(s *auth.Session) []any {
	return []any{&s.ID, &s.UserID, &s.CreatedAt, &s.ExpiresAt, &s.LastUse.At, &s.LastUse.Address, &s.LastUse.Client}
}

// EndSession implements auth.Sessions.
func (d *DB) EndSession(ctx context.Context, id string, at telemetry.Millis) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error { return endSessions(tx, "id = ?", id, at) })
	if err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// EndSessions implements auth.Sessions.
func (d *DB) EndSessions(ctx context.Context, userID int64, except string, at telemetry.Millis) (ended []string, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		ended, err = liveSessions(tx, userID, except)
		for _, id := range ended {
			err = errors.Join(err, endSessions(tx, "id = ?", id, at))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	return ended, nil
}

func liveSessions(tx *sql.Tx, userID int64, except string) (ids []string, err error) {
	rows, err := tx.Query("SELECT id FROM sessions WHERE user_id = ? AND ended_at = 0 AND id <> ?", userID, except)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// endSessions ends those live sessions that where selects. Their tokens are not needed any more: an unknown token and one of an
// ended session are refused alike.
func endSessions(tx *sql.Tx, where string, arg any, at telemetry.Millis) error {
	_, err := tx.Exec("DELETE FROM refresh_tokens WHERE session_id IN (SELECT id FROM sessions WHERE ended_at = 0 AND "+where+")", arg)
	if err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE sessions SET ended_at = ? WHERE ended_at = 0 AND "+where, int64(at), arg)
	return err
}

// EndedSince implements auth.Sessions.
func (d *DB) EndedSince(ctx context.Context, since telemetry.Millis) (map[string]telemetry.Millis, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT id, ended_at FROM sessions WHERE ended_at >= ? AND ended_at > 0", int64(since))
	if err != nil {
		return nil, fmt.Errorf("query ended sessions: %w", err)
	}
	defer rows.Close()
	ended := map[string]telemetry.Millis{}
	for rows.Next() {
		var id string
		var at telemetry.Millis
		if err := rows.Scan(&id, &at); err != nil {
			return nil, fmt.Errorf("read ended sessions: %w", err)
		}
		ended[id] = at
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read ended sessions: %w", err)
	}
	return ended, nil
}

// forgetEvery is how often old sessions and tokens are looked for.
const forgetEvery = time.Hour

// forgetSessions deletes sessions and spent refresh tokens nobody asks about any more, at most rows of each.
func (d *DB) forgetSessions(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, "sessions", forgetEvery, now().Add(-rememberSessions), rows,
		"DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens WHERE spent_at > 0 AND spent_at < ? LIMIT ?)",
		"DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ended_at > 0 AND ended_at < ? LIMIT ?)",
		"DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < ? LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget old sessions: %w", err)
	}
	return done, nil
}
