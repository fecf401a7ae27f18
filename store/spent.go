package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"sensorcast/telemetry"
)

// forgetTokensEvery is how often expired tokens are looked for.
const forgetTokensEvery = time.Minute

// spending gathers the tokens that are spent while another transaction runs, so that 5,000 viewers who come back at once cost a few
// commits and not as many.
type spending struct {
	mu   sync.Mutex
	next *expense // guarded by mu: the one that still takes tokens in; nil: none is waiting for its turn
}

// expense is one transaction of many tokens. done is closed when first and err are known.
type expense struct {
	tokens []spentToken
	first  []bool // by token: it was not spent before
	err    error
	done   chan struct{}
}

type spentToken struct {
	id      string
	expires telemetry.Millis
}

// SpendToken implements auth.Sessions.
func (d *DB) SpendToken(ctx context.Context, id string, expires telemetry.Millis) (first bool, err error) {
	s := &d.spending
	s.mu.Lock()
	e := s.next
	leads := e == nil
	if leads {
		e = &expense{done: make(chan struct{})}
		s.next = e
	}
	place := len(e.tokens)
	e.tokens = append(e.tokens, spentToken{id, expires})
	s.mu.Unlock()
	if leads {
		d.spend(e)
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		return false, fmt.Errorf("spend token: %w: %w", telemetry.ErrUnavailable, ctx.Err())
	}
	if e.err != nil {
		return false, fmt.Errorf("spend token: %w", e.err)
	}
	return e.first[place], nil
}

// spend commits e. It takes tokens in until its turn has come.
func (d *DB) spend(e *expense) {
	defer close(e.done)
	closed := false
	shut := func() {
		d.spending.mu.Lock()
		defer d.spending.mu.Unlock()
		if !closed {
			closed, d.spending.next = true, nil
		}
	}
	// Not the caller's context: others depend on this transaction too.
	e.err = d.write.do(context.Background(), func(tx *sql.Tx) error {
		shut()
		e.first = make([]bool, len(e.tokens))
		for i, t := range e.tokens {
			result, err := tx.Exec("INSERT INTO spent_tokens (id, expires_at) VALUES (?,?) ON CONFLICT DO NOTHING", t.id, int64(t.expires))
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			e.first[i] = n == 1
		}
		return nil
	})
	shut() // where the turn never came
}

// forgetTokens deletes expired tokens: their date alone refuses them.
func (d *DB) forgetTokens(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, &d.tokensNext, forgetTokensEvery, now(), rows,
		"DELETE FROM spent_tokens WHERE id IN (SELECT id FROM spent_tokens WHERE expires_at < ? LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget spent tokens: %w", err)
	}
	return done, nil
}
