package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"sensorcast/ingest"
	"sensorcast/telemetry"
)

// insertReadings skips what is stored already by its key. A clash of seq is not what ON CONFLICT names, so it remains an error.
var insertReadings = newMulti(func(rows int) string {
	return "INSERT INTO readings (seq, sensor_id, time, received_at, flags, dedupe, data) VALUES (?,?,?,?,?,?,?)" +
		strings.Repeat(",(?,?,?,?,?,?,?)", rows-1) +
		" ON CONFLICT (dedupe) WHERE dedupe IS NOT NULL DO NOTHING"
})

const (
	flagSuspect = 1
	viaShift    = 1
)

// Record makes the batch durable in one transaction: readings, and with them each sensor's latest and last-seen, problems, changes of
// sessions.
// Readings come in rising Seq above all stored before; one that does not is an error, for a cursor by seq would never find it. Readings
// whose Key is stored already are skipped and move nothing. Changes of what is not kept, or of sensors and people who are gone, do
// nothing; no change makes a batch fail that would not have failed without it.
//
// A nil error means the batch survives a power cut. Any error means none of it is stored; of kind telemetry.ErrUnavailable (disk
// full, failed disk, file held by another process for a minute) when trying again later may work. It does not depend on any
// context.
func (d *DB) Record(b ingest.Batch) error {
	if len(b.Readings) == 0 && len(b.Problems) == 0 && len(b.Changes) == 0 {
		return nil
	}
	if n := len(b.Readings); n > 0 {
		d.see(b.Readings[n-1].Seq)
		defer d.settled.Store(b.Readings[n-1].Seq) // stored, or never to be: then in another epoch
	}
	var stored int
	var fresh func(int64) bool
	err := d.write.do(context.Background(), func(tx *sql.Tx) (err error) {
		stored, fresh, err = d.record(tx, b)
		return err
	}, func() {
		d.tail.add(b.Readings, fresh)
		if n := len(b.Readings); n > 0 {
			d.end = b.Readings[n-1].Seq
		}
	})
	if err != nil {
		if len(b.Readings) > 0 {
			d.renewEpoch() // viewers have been shown readings that are not stored
		}
		d.counters.failures.Add(1)
		return err
	}
	d.counters.commits.Add(1)
	d.counters.recorded.Add(int64(stored))
	d.counters.duplicates.Add(int64(len(b.Readings) - stored))
	d.counters.changes.Add(int64(len(b.Changes)))
	d.boundTail()
	return nil
}

// boundTail wakes Run when there is enough to index, and does a turn of its work when it does not keep up.
func (d *DB) boundTail() {
	young, old := d.tail.sizes()
	if young >= runRows {
		d.nudge()
	}
	if young+old >= lendAt {
		if _, err := d.indexTail(context.Background(), maxRows); err != nil {
			d.log.Warn("readings not indexed", "err", err) // they are stored all the same
		}
	}
}

// record writes b within tx. It returns how many readings were new, and which.
func (d *DB) record(tx *sql.Tx, b ingest.Batch) (stored int, fresh func(seq int64) bool, err error) {
	if err := d.checkOrder(b.Readings); err != nil {
		return 0, nil, err
	}
	if stored, err = d.insert(tx, b.Readings); err != nil {
		return 0, nil, fmt.Errorf("insert readings: %w", err)
	}
	fresh = func(int64) bool { return true }
	if stored < len(b.Readings) {
		if fresh, err = storedSince(tx, b.Readings[0].Seq); err != nil {
			return 0, nil, fmt.Errorf("find resent readings: %w", err)
		}
		if err = endSilences(tx, b.Readings, fresh); err != nil {
			return 0, nil, fmt.Errorf("end silences: %w", err)
		}
	}
	if err := addProblems(tx, b.Problems); err != nil {
		return 0, nil, fmt.Errorf("update problems: %w", err)
	}
	if err := d.change(tx, b.Changes); err != nil {
		return 0, nil, fmt.Errorf("change sessions: %w", err)
	}
	return stored, fresh, nil
}

// endOfLog is the highest seq stored. The watermark stands in for readings that were deleted: none above it ever are.
const endOfLog = "SELECT max(indexed_to, (SELECT coalesce(max(seq), 0) FROM readings)) FROM log"

// checkOrder goes by what memory knows of the end of the log: asking the table would cost each commit a query.
func (d *DB) checkOrder(readings []telemetry.Reading) error {
	last := d.end
	for i := range readings {
		seq := readings[i].Seq
		if seq <= last {
			return fmt.Errorf("reading out of order: seq %d after %d", seq, last)
		}
		last = seq
	}
	return nil
}

func (d *DB) insert(tx *sql.Tx, readings []telemetry.Reading) (stored int, err error) {
	args := d.args
	defer func() {
		clear(args[:cap(args)]) // keep no payload alive
		d.args = args
	}()
	for len(readings) > 0 {
		rows, query := insertReadings.fit(len(readings))
		args = args[:0]
		for i := range readings[:rows] {
			args = appendReading(args, &readings[i])
		}
		result, err := d.hot.in(tx, query).Exec(args...)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		stored += int(n)
		readings = readings[rows:]
	}
	return stored, nil
}

func appendReading(args []any, r *telemetry.Reading) []any {
	flags := int64(r.Via) << viaShift
	if r.Suspect {
		flags |= flagSuspect
	}
	var key any
	if !r.Key.IsZero() {
		key = r.Key[:]
	}
	return append(args, r.Seq, r.SensorID, int64(r.Time), int64(r.ReceivedAt), flags, key, string(r.Data))
}

// storedSince returns which seqs from first on are in the log: of the batch being written, those that were not resent.
func storedSince(tx *sql.Tx, first int64) (func(seq int64) bool, error) {
	rows, err := tx.Query("SELECT seq FROM readings WHERE seq >= ?", first)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stored := map[int64]bool{}
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, err
		}
		stored[seq] = true
	}
	return func(seq int64) bool { return stored[seq] }, rows.Err()
}
