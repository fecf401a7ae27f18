package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"

	"sensorcast/telemetry"
)

// gathering puts what many want written while another transaction runs into one, so that 5,000 viewers who come back at once cost a few
// commits and not as many. The zero gathering is ready.
type gathering[T any] struct {
	mu   sync.Mutex
	next *gathered[T] // guarded by mu: the one that still takes items in; nil: none is waiting for its turn
}

// gathered is one transaction of many items. done is closed when err is known.
type gathered[T any] struct {
	items []T
	err   error
	done  chan struct{}
}

// add has write called with item among others, in one transaction of w, and returns when that is durable. When ctx ends first it is
// telemetry.ErrUnavailable, and item may be written all the same.
func (g *gathering[T]) add(ctx context.Context, w *writer, item T, write func(tx *sql.Tx, items []T) error) error {
	g.mu.Lock()
	batch := g.next
	leads := batch == nil
	if leads {
		batch = &gathered[T]{done: make(chan struct{})}
		g.next = batch
	}
	batch.items = append(batch.items, item)
	g.mu.Unlock()
	if leads {
		go g.commit(w, batch, write) // ends with the transaction, for which nobody has to wait
	}
	select {
	case <-batch.done:
		return batch.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, ctx.Err())
	}
}

// commit writes the batch. It takes items in until its turn has come.
func (g *gathering[T]) commit(w *writer, batch *gathered[T], write func(tx *sql.Tx, items []T) error) {
	defer close(batch.done)
	closed := false
	shut := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !closed {
			closed, g.next = true, nil
		}
	}
	// Not the caller's context: others depend on this transaction too.
	batch.err = w.do(context.Background(), func(tx *sql.Tx) error {
		shut()
		return write(tx, batch.items)
	})
	shut() // where the turn never came
}
