package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

// forgetTokensEvery is how often expired tokens are looked for.
const forgetTokensEvery = time.Minute

type spentToken struct {
	id      string
	expires telemetry.Millis
	first   bool // it was not spent before
}

// SpendToken implements auth.Sessions.
func (d *DB) SpendToken(ctx context.Context, id string, expires telemetry.Millis) (first bool, err error) {
	t := &spentToken{id: id, expires: expires}
	if err := d.spending.add(ctx, d.write, t, spendTokens); err != nil {
		return false, fmt.Errorf("spend token: %w", err)
	}
	return t.first, nil
}

func spendTokens(tx *sql.Tx, tokens []*spentToken) error {
	for _, t := range tokens {
		result, err := tx.Exec("INSERT INTO spent_tokens (id, expires_at) VALUES (?,?) ON CONFLICT DO NOTHING", t.id, int64(t.expires))
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		t.first = n == 1
	}
	return nil
}

// forgetTokens deletes expired tokens: their date alone refuses them.
func (d *DB) forgetTokens(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, "tokens", forgetTokensEvery, now(), rows,
		"DELETE FROM spent_tokens WHERE id IN (SELECT id FROM spent_tokens WHERE expires_at < ? LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget spent tokens: %w", err)
	}
	return done, nil
}
