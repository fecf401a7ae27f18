package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sensorcast/telemetry"
)

// writer is the one connection that changes the database, and the queue in front of it. Waiting happens here and not in
// database/sql, which picks a waiter at random: a channel serves them in the order they came, so Record waits for at most the one
// transaction that runs and those that were there before it.
type writer struct {
	db     *sql.DB
	turn   chan struct{} // holds one element while somebody writes
	onFail func(error)

	served atomic.Int64          // foreground transactions so far: background work yields when it moves
	held   atomic.Int64          // nanoseconds the last background transaction took, its wait not counted
	full   atomic.Bool           // the disk was full, and no foreground transaction has worked since
	dead   atomic.Pointer[error] // why nothing is written any more
}

func newWriter(db *sql.DB, onFail func(error)) *writer {
	return &writer{db: db, turn: make(chan struct{}, 1), onFail: onFail}
}

// do runs fn in one transaction, which is durable when do returns nil and undone when it returns an error. The functions in
// committed are called after the commit, still in the turn: what they change in memory changes in the order of commits. ctx ends
// the wait for the turn but not the transaction: an interrupted one would leave the caller not knowing, and the interrupt could hit
// its successor on the connection.
func (w *writer) do(ctx context.Context, fn func(*sql.Tx) error, committed ...func()) error {
	defer w.served.Add(1)
	err := w.exclusive(ctx, func() error { return w.transact(ctx, fn, committed) })
	if err == nil {
		w.full.Store(false)
	}
	return err
}

// background is do for work nobody waits for.
func (w *writer) background(ctx context.Context, fn func(*sql.Tx) error, committed ...func()) error {
	return w.exclusive(ctx, func() error {
		start := time.Now()
		defer func() { w.held.Store(int64(time.Since(start))) }()
		return w.transact(ctx, fn, committed)
	})
}

// exclusive runs fn in its turn and judges its error.
func (w *writer) exclusive(ctx context.Context, fn func() error) error {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: wait for the database: %w", telemetry.ErrUnavailable, ctx.Err())
	}
	defer func() { <-w.turn }()
	if dead := w.dead.Load(); dead != nil {
		return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, *dead)
	}
	return w.judge(fn())
}

// lockPatience is how long a transaction waits to begin while another process (an operator's sqlite3, a backup) holds the file.
// Waiting is the back-pressure: sensors are held, not refused.
const lockPatience = time.Minute

func (w *writer) transact(ctx context.Context, fn func(*sql.Tx) error, committed []func()) error {
	deadline := time.Now().Add(lockPatience)
	tx, err := w.db.BeginTx(context.Background(), nil)
	for isBusy(err) && ctx.Err() == nil && time.Now().Before(deadline) {
		tx, err = w.db.BeginTx(context.Background(), nil)
	}
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		// SQLite may have rolled back by itself (SQLITE_FULL, SQLITE_IOERR); then there is nothing left to undo and no harm in trying.
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return err // the driver has rolled back what it could not commit
	}
	for _, f := range committed {
		f()
	}
	return nil
}

// judge gives the error of a write its kind and remembers the states that outlive it.
func (w *writer) judge(err error) error {
	switch {
	case err == nil:
		return nil
	case isFatal(err):
		dead := fmt.Errorf("database can no longer be trusted: %w", err)
		w.dead.Store(&dead)
		w.onFail(dead)
		return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, dead)
	case isFull(err):
		w.full.Store(true)
		return fmt.Errorf("%w: disk full: %w", telemetry.ErrUnavailable, err)
	case isBusy(err):
		return fmt.Errorf("%w: another process holds the database: %w", telemetry.ErrUnavailable, err)
	}
	return err
}

var errClosed = errors.New("database is closed")

// close waits for its turn, empties the write-ahead log and refuses everybody after.
func (w *writer) close() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	var errs []error
	if w.dead.CompareAndSwap(nil, &errClosed) {
		// Without room to copy the log, or with somebody reading it, it stays and is read at the next start.
		if _, err := w.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); !isFull(err) && !isBusy(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, w.db.Close())...)
}
