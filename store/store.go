// Package store keeps what must outlive the process: accounts, logins, the sensor registry, strangers, commands, incidents, channels of
// notification, the audit trail, the log of readings and the state of MQTT sessions, in one SQLite file. It is the end of the way in (package ingest calls [DB.Record]) and the start of the way to people
// (api and bridge read) and back to devices (broker begins with [DB.Sessions]).
//
//	ingest ──Record──► writer ──► readings (append-only log), mqtt_* (sessions)     one transaction, synchronous=FULL
//	                     │
//	                     └──► tail (memory) ──in sorted runs (Run)──► reading_index, sensor_status
//	                            └─────► Readings, ListSensors, … ◄─────────────┘
//
// Invariants:
//   - What Record, or any other method that writes, has returned nil for survives a power cut. After a failed fsync nothing is acknowledged
//     any more: the store is failed for good ([DB.Failed]) and the process should exit.
//   - seq never repeats within an epoch. Viewers are shown readings before they are durable, so the epoch changes whenever what was
//     shown may not be what is stored: after a stop that was not clean, and after a failed Record.
//   - Rows of the log above the index's watermark are never deleted; the ids of sensors and accounts are never reused.
//   - One process per directory, by a lock on a file in it.
//
// Concurrency: all methods of [DB] are safe for concurrent use. There is one connection that writes; whoever writes waits for its
// turn, first come first served, and background work (Run) takes turns of about 5 ms. Reading uses a pool of its own and never
// waits for writers. Reads are cut off after five seconds, so that no reader keeps the write-ahead log from being emptied.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sensorcast/audit"
	"sensorcast/auth"
	"sensorcast/command"
	"sensorcast/inbox"
	"sensorcast/ingest"
	"sensorcast/notify"
)

// Config says where the data is and how long readings are kept.
type Config struct {
	Dir         string        // created with mode 0700 if absent
	Retain      time.Duration // readings that arrived longer ago are deleted, except each sensor's latest; zero: kept for ever
	AuditRetain time.Duration // entries of the audit trail are deleted after this; zero: kept for ever
}

// DB is an open store.
type DB struct {
	cfg    Config
	path   string
	log    *slog.Logger
	lock   *dirLock
	write  *writer
	hot    hot // for write's turn
	read   *sql.DB
	failed chan error // receives the one error after which nothing is written any more
	epoch  atomic.Pointer[string]
	wake   chan struct{} // tells Run that there is work

	seen         atomic.Int64 // highest seq handed to Record, stored or not
	settled      atomic.Int64 // all up to this seq is stored, or will never be
	prunedTo     atomic.Int64 // readings up to this seq may have been deleted for their age
	spending     gathering[*spentToken]
	entering     gathering[entered]
	importing    chan struct{}        // holds one element while somebody imports
	args         []any                // Record's, kept to be used again; guarded by write's turn
	end          int64                // seq of the last reading recorded; guarded by write's turn
	tail         tail                 // the log above the index's watermark
	run          run                  // guarded by write's turn
	runAt        atomic.Int64         // when the last run began, nanoseconds since the epoch
	purging      atomic.Bool          // there are rows in purges
	retention    retention            // used by Run only
	lookAgain    map[string]time.Time // for what is old enough to be forgotten, by name; used by Run only
	truncateNext time.Time            // when the write-ahead log may be truncated again; used by Run only
	counters     counters

	closing sync.Once
	closed  error
}

var (
	_ auth.Accounts   = (*DB)(nil)
	_ auth.Sessions   = (*DB)(nil)
	_ auth.APITokens  = (*DB)(nil)
	_ auth.Ledger     = (*DB)(nil)
	_ ingest.Recorder = (*DB)(nil)
	_ command.Keeper  = (*DB)(nil)
	_ inbox.Keeper    = (*DB)(nil)
	_ audit.Keeper    = (*DB)(nil)
	_ notify.Keeper   = (*DB)(nil)
)

// Open locks the directory, opens or creates the database in it, brings its schema up to date and checks that it will keep its
// promises. Every error is one line that names the directory or file.
func Open(cfg Config, log *slog.Logger) (*DB, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %q: %w", cfg.Dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	d := &DB{
		cfg:       cfg,
		path:      filepath.Join(dir, fileName),
		log:       log.With("component", "store"),
		lock:      lock,
		failed:    make(chan error, 1),
		wake:      make(chan struct{}, 1),
		importing: make(chan struct{}, 1),
		lookAgain: map[string]time.Time{},
	}
	if err := d.open(); err != nil {
		err = fmt.Errorf("open database %q: %w", d.path, err)
		return nil, errors.Join(err, d.closeFiles())
	}
	return d, nil
}

func (d *DB) open() error {
	if err := checkLibrary(); err != nil {
		return err
	}
	if err := createPrivate(d.path); err != nil {
		return err
	}
	db, err := openWriter(d.path)
	if err != nil {
		return err
	}
	d.write = newWriter(db, d.fail)
	if d.read, err = openReaders(d.path); err != nil {
		return err
	}
	if err := migrate(db); err != nil {
		return err
	}
	if d.hot, err = prepareHot(db); err != nil {
		return err
	}
	return d.resume()
}

// Failed delivers the error after which the store refuses all writes for good: a failed fsync or a damaged file. Trying again could
// report success for data that is not there, so the process should exit with it.
func (d *DB) Failed() <-chan error { return d.failed }

// fail is told by the writer, once, that it will not write any more. Whoever receives from Failed logs it.
func (d *DB) fail(err error) {
	d.renewEpoch()
	d.failed <- err
}

// Ready reports why the store cannot read and write now; nil when it can. It waits for its turn to write no longer than ctx allows.
func (d *DB) Ready(ctx context.Context) error {
	if err := checkSpace(d.path); err != nil {
		return err
	}
	var one int
	if err := d.read.QueryRowContext(ctx, "SELECT 1 FROM log").Scan(&one); err != nil {
		return fmt.Errorf("read database: %w", readError(err))
	}
	// An empty transaction would not notice a full disk, so where the last write found it full, write.
	return d.write.do(ctx, func(tx *sql.Tx) error {
		if !d.write.full.Load() {
			return nil
		}
		_, err := tx.Exec("UPDATE log SET clean = 0")
		return err
	})
}

// Close writes down that everything shown is stored, empties the write-ahead log and lets go of the directory. Callers of the other
// methods, Run included, must have returned. It is idempotent.
func (d *DB) Close() error {
	d.closing.Do(func() {
		err := d.markClean()
		d.closed = errors.Join(err, d.closeFiles())
	})
	return d.closed
}

func (d *DB) closeFiles() error {
	var errs []error
	if d.read != nil {
		errs = append(errs, d.read.Close()) // first: the last connection to close removes the write-ahead log, and readers may not
	}
	if d.write != nil {
		errs = append(errs, d.write.close())
	}
	return errors.Join(append(errs, d.lock.release())...)
}
