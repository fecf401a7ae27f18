package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// skipAfterCrash is how far seq jumps after a stop that was not clean: further than the readings that viewers can have been shown
// and that never reached the file, which package ingest's queue bounds to some ten thousand.
const skipAfterCrash = 1_000_000

// Epoch names the stretch of the log in which seq is continuous: within one, what viewers were shown live under a seq is what is
// stored under it, or is not stored at all. It is read anew for each viewer, because a failed Record changes it.
func (d *DB) Epoch() string { return *d.epoch.Load() }

// LastSeq is the highest seq that may have been seen by anybody. The next reading must get a higher one.
func (d *DB) LastSeq() int64 { return d.seen.Load() }

// see raises LastSeq to seq, whatever becomes of the reading: somebody was shown it.
func (d *DB) see(seq int64) {
	for last := d.seen.Load(); last < seq && !d.seen.CompareAndSwap(last, seq); last = d.seen.Load() {
	}
}

func (d *DB) renewEpoch() {
	e := newUID()
	d.epoch.Store(&e)
}

// resume finds where the log ends and what can be vouched for, and marks the log as open, durably, before anything is added to it.
func (d *DB) resume() error {
	return d.write.do(context.Background(), func(tx *sql.Tx) error {
		var epoch string
		var last, indexed, purges, pruned int64
		var clean bool
		err := tx.QueryRow(`
			SELECT epoch, clean, indexed_to, max(last_seq, indexed_to, (SELECT coalesce(max(seq), 0) FROM readings)),
				(SELECT count(*) FROM purges), pruned_to
			FROM log`).Scan(&epoch, &clean, &indexed, &last, &purges, &pruned)
		if err != nil {
			return fmt.Errorf("read state of the log: %w", err)
		}
		if err := tx.QueryRow(endOfLog).Scan(&d.end); err != nil {
			return fmt.Errorf("find end of the log: %w", err)
		}
		if err := d.tail.load(tx, indexed); err != nil {
			return fmt.Errorf("read end of the log: %w", err)
		}
		d.runAt.Store(time.Now().UnixNano())
		d.purging.Store(purges > 0)
		switch {
		case clean:
			d.epoch.Store(&epoch)
		case last == 0: // nothing was ever recorded
			d.renewEpoch()
		default:
			if err := d.checkFile(); err != nil {
				return err
			}
			d.renewEpoch()
			last += skipAfterCrash
		}
		d.seen.Store(last)
		d.settled.Store(last)
		d.prunedTo.Store(pruned)
		_, err = tx.Exec("UPDATE log SET clean = 0, last_seq = ?", last)
		return err
	})
}

// markClean is the last thing written: everything shown is stored, or the epoch has been renewed since.
func (d *DB) markClean() error {
	return d.write.do(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE log SET clean = 1, epoch = ?, last_seq = ?", d.Epoch(), d.LastSeq())
		return err
	})
}

// quickCheckTime bounds the look at the file after a crash: small databases are checked whole, large ones not at all rather than
// letting sensors wait. Pages that are broken later fail when they are read.
const quickCheckTime = time.Second

// checkFile looks for damage after the last process did not close the file. SQLite itself survives crashes; disks, file systems and
// people with editors may not.
func (d *DB) checkFile() error {
	ctx, cancel := context.WithTimeout(context.Background(), quickCheckTime)
	defer cancel()
	var verdict string
	err := d.read.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	switch {
	case ctx.Err() != nil:
		d.log.Debug("database too large to be checked at start")
		return nil
	case err != nil:
		return err
	case verdict != "ok":
		return fmt.Errorf("file is damaged: %s; restore a backup", firstLine(verdict))
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
