package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sensorcast/auth"
)

// KeepLetterToken implements auth.LetterTokens.
func (d *DB) KeepLetterToken(ctx context.Context, t auth.LetterToken) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO letter_tokens (hash, purpose, user_id, email, expires_at) VALUES (?,?,?,?,?)",
			t.Hash, string(t.Purpose), t.UserID, t.Email, int64(t.ExpiresAt))
		if isForeignKey(err) {
			return notFound("account")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("keep letter token: %w", err)
	}
	return nil
}

// LetterToken implements auth.LetterTokens.
func (d *DB) LetterToken(ctx context.Context, purpose auth.Purpose, hash []byte) (auth.LetterToken, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	t := auth.LetterToken{Hash: hash, Purpose: purpose}
	err := d.read.QueryRowContext(ctx, "SELECT user_id, email, expires_at FROM letter_tokens WHERE hash = ? AND purpose = ?", hash, string(purpose)).
		Scan(&t.UserID, &t.Email, &t.ExpiresAt)
	if err != nil {
		return auth.LetterToken{}, fmt.Errorf("read letter token: %w", absent(readError(err), "letter token"))
	}
	return t, nil
}

// voidLetterTokens deletes those of the account that do not survive its change from one state to the other.
func voidLetterTokens(tx *sql.Tx, from, to auth.User) error {
	moved := from.Email != to.Email
	_, err := tx.Exec("DELETE FROM letter_tokens WHERE user_id = ? AND (purpose = ? AND ? OR purpose = ? AND ?)", to.ID,
		string(auth.VerifyEmail), moved || from.EmailVerifiedAt != to.EmailVerifiedAt,
		string(auth.ResetPassword), moved || from.PasswordHash != to.PasswordHash)
	return err
}

const (
	forgetLettersEvery = time.Minute

	// rememberInvitations is how long expired invitations are still listed.
	rememberInvitations = 30 * 24 * time.Hour
)

// forgetLetters deletes tokens that have expired and invitations that did so long ago, at most rows of each.
func (d *DB) forgetLetters(ctx context.Context, rows int) (done int, err error) {
	invitations := fmt.Sprintf("DELETE FROM invitations WHERE ord IN (SELECT ord FROM invitations WHERE expires_at < ? - %d LIMIT ?)", rememberInvitations.Milliseconds())
	done, err = d.forget(ctx, "letters", forgetLettersEvery, now(), rows,
		"DELETE FROM letter_tokens WHERE hash IN (SELECT hash FROM letter_tokens WHERE expires_at < ? LIMIT ?)", invitations)
	if err != nil {
		return 0, fmt.Errorf("forget letter tokens and invitations: %w", err)
	}
	return done, nil
}
