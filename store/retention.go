package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

const (
	// retainEvery is how often expired readings are looked for, beginning where the last look ended.
	retainEvery = time.Minute

	// retainAfresh is how often the look begins at the start of the log again, for readings that were kept because they were their
	// sensor's latest and no longer are.
	retainAfresh = time.Hour
)

// retention is where the deletion of old readings has got to. Used by Run only.
type retention struct {
	from     int64     // readings up to this seq have been judged
	next     time.Time // when to look again
	restarts time.Time // when to begin at the start again
}

// expire judges the next stretch of the log, at most rows readings, and deletes those that arrived too long ago, unless they are
// their sensor's latest. It returns how many it judged; 0 when there is nothing to do until later.
func (d *DB) expire(ctx context.Context, rows int) (judged int, err error) {
	r, wall := &d.retention, time.Now()
	if d.cfg.Retain <= 0 || wall.Before(r.next) {
		return 0, nil
	}
	if !wall.Before(r.restarts) {
		r.from, r.restarts = 0, wall.Add(retainAfresh)
	}
	var to int64
	var deleted int
	before := now().Add(-d.cfg.Retain)
	err = d.write.background(ctx, func(tx *sql.Tx) error {
		judged, deleted, to, err = d.expireNext(tx, r.from, before, rows)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("delete expired readings: %w", err)
	}
	d.counters.expired.Add(int64(deleted))
	if judged == 0 {
		r.next = wall.Add(retainEvery)
		return 0, nil
	}
	r.from = to
	return judged, nil
}

// expireNext looks at the first rows readings after from. Where none of them is expired the log ends being old, and judged is 0.
// The index holds all of them, for it is not looked further than its watermark.
func (d *DB) expireNext(tx *sql.Tx, from int64, before telemetry.Millis, rows int) (judged, deleted int, to int64, err error) {
	var expired int
	err = tx.QueryRow(`
		SELECT count(*), coalesce(sum(received_at < ?), 0), coalesce(max(seq), 0) FROM
			(SELECT seq, received_at FROM readings WHERE seq > ? AND seq <= (SELECT indexed_to FROM log) ORDER BY seq LIMIT ?)`,
		int64(before), from, rows).Scan(&judged, &expired, &to)
	if err != nil || expired == 0 {
		return 0, 0, 0, err
	}
	// Said before it happens: a replay that finds readings gone finds this too. At worst it is said for nothing.
	if _, err := tx.Exec("UPDATE log SET pruned_to = max(pruned_to, ?)", to); err != nil {
		return 0, 0, 0, err
	}
	d.prunedTo.Store(max(d.prunedTo.Load(), to))
	const gone = `
		FROM readings WHERE seq > ? AND seq <= ? AND received_at < ?
		AND NOT EXISTS (SELECT 1 FROM sensor_status s WHERE s.sensor_id = readings.sensor_id AND s.latest_seq = readings.seq)`
	_, err = tx.Exec("DELETE FROM reading_index WHERE (sensor_id, time, seq) IN (SELECT sensor_id, time, seq"+gone+")", from, to, int64(before))
	if err != nil {
		return 0, 0, 0, err
	}
	result, err := tx.Exec("DELETE"+gone, from, to, int64(before))
	if err != nil {
		return 0, 0, 0, err
	}
	n, err := result.RowsAffected()
	return judged, int(n), to, err
}
