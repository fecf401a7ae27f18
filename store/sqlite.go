package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/mattn/go-sqlite3"

	"sensorcast/telemetry"
)

const (
	// minLibrary is SQLite 3.51.3: earlier ones can, rarely, lose a commit to a race between a checkpoint that restarts the
	// write-ahead log and another connection's commit.
	minLibrary = 3_051_003

	// pageBytes is the size of a page. A log of readings fills pages one after the other, and each costs two write(2)s on its way
	// through the write-ahead log and one into the file: twice SQLite's default halves them. A commit of one reading writes more.
	pageBytes = 8 << 10

	// walPages is when the committing connection itself copies the write-ahead log into the database: 32 MB. Less often than the
	// default 4 MB, because each time holds commits up; the file's size afterwards is walTarget at most.
	walPages  = 32 << 20 / pageBytes
	walTarget = 64 << 20

	writerCache = 32 << 20 // bytes of pages the writer keeps: the inner nodes and hot leaves of the indexes
	readerCache = 4 << 20

	stmtCache = 64 // prepared statements a connection keeps

	busyMillis = 500 // how long SQLite itself waits for another process that holds the file; see lockPatience
)

func checkLibrary() error {
	name, number, _ := sqlite3.Version()
	if number < minLibrary {
		return fmt.Errorf("SQLite %s is linked, 3.51.3 or newer is needed", name)
	}
	return nil
}

// fileName is the database in the data directory.
const fileName = "sensorcast.db"

// Exists reports whether there is a database in the directory.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileName))
	return err == nil
}

// createPrivate makes the file with mode 0600 if it is not there; the write-ahead log and its index inherit the mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func dsn(path string, params url.Values) string {
	params.Set("_busy_timeout", strconv.Itoa(busyMillis))
	params.Set("_stmt_cache_size", strconv.Itoa(stmtCache))
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + params.Encode()
}

// layOut gives a file that is still empty its page size, which cannot change once the write-ahead log is on.
func layOut(path string) error {
	if info, err := os.Stat(path); err != nil || info.Size() > 0 {
		return err
	}
	db, err := sql.Open("sqlite3", dsn(path, url.Values{}))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(fmt.Sprintf("PRAGMA page_size = %d; VACUUM", pageBytes))
	return errors.Join(err, db.Close())
}

func openWriter(path string) (*sql.DB, error) {
	if err := layOut(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite3", dsn(path, url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		"_txlock":       {"immediate"}, // a transaction that starts reading and then writes fails with SQLITE_BUSY without waiting
		"_cache_size":   {strconv.Itoa(-writerCache >> 10)},
	}))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1) // for ever: the pragmas below belong to the connection
	for _, pragma := range []string{
		fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", walPages),
		fmt.Sprintf("PRAGMA journal_size_limit = %d", walTarget),
	} {
		if _, err := db.Exec(pragma); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if err := checkDurable(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkDurable makes sure that a commit will mean what an acknowledgement promises.
func checkDurable(db *sql.DB) error {
	var synchronous int
	if err := db.QueryRow("PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	var journal string
	if err := db.QueryRow("PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if synchronous != 2 || journal != "wal" {
		return fmt.Errorf("synchronous is %d and journal_mode %q, want 2 (FULL) and wal: commits would not be durable; "+
			"does the file system support shared memory?", synchronous, journal)
	}
	return nil
}

func openReaders(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", dsn(path, url.Values{
		"mode":        {"ro"},
		"_query_only": {"1"},
		"_cache_size": {strconv.Itoa(-readerCache >> 10)},
	}))
	if err != nil {
		return nil, err
	}
	n := runtime.GOMAXPROCS(0) + 2
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// isFull reports that there was no room. SQLite calls a disk too full to grow the shared index of the write-ahead log an I/O error,
// but that file holds nothing that must survive, so it is no reason to give up.
func isFull(err error) bool {
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && (e.Code == sqlite3.ErrFull || e.ExtendedCode == sqlite3.ErrIoErrSHMSize)
}

// isBusy reports that another process held the file for longer than busyMillis.
func isBusy(err error) bool {
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked)
}

// isFatal reports that what was written before can no longer be vouched for. In particular the kernel may drop the pages whose
// fsync failed and report success the next time.
func isFatal(err error) bool {
	e, ok := errors.AsType[sqlite3.Error](err)
	if !ok || isFull(err) {
		return false
	}
	return e.Code == sqlite3.ErrIoErr || e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB
}

func isForeignKey(err error) bool {
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && e.ExtendedCode == sqlite3.ErrConstraintForeignKey
}

// readError gives an error of a read its kind: one that was cut off is a server too busy, not a mistake of the caller.
func readError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || isBusy(err) {
		return fmt.Errorf("%w: %w", telemetry.ErrUnavailable, err)
	}
	return err
}
