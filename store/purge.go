package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// markForPurge remembers that the history of the sensors that query selects is to be deleted, up to the present end of the log. The
// caller deletes the sensors in the same transaction.
func markForPurge(tx *sql.Tx, where string, arg int64) error {
	_, err := tx.Exec("INSERT INTO purges (sensor_id, through) SELECT id, ("+endOfLog+") FROM sensors WHERE "+where+
		" ON CONFLICT (sensor_id) DO UPDATE SET through = max(through, excluded.through)", arg)
	return err
}

// purgeOrphans marks those of the sensors that do not exist: they were deleted while their readings waited to be recorded.
func (d *DB) purgeOrphans(tx *sql.Tx, sensors []int64) error {
	for _, sensor := range sensors {
		result, err := tx.Exec(`
			INSERT INTO purges (sensor_id, through) SELECT ?1, (`+endOfLog+`)
			WHERE NOT EXISTS (SELECT 1 FROM sensor_status WHERE sensor_id = ?1)
			ON CONFLICT (sensor_id) DO UPDATE SET through = max(through, excluded.through)`, sensor)
		if err != nil {
			return err
		}
		if n, _ := result.RowsAffected(); n > 0 {
			d.purging.Store(true)
		}
	}
	return nil
}

// purge deletes the oldest readings, at most rows, of one deleted sensor. It returns 0 when there is nothing to do before the index
// has moved on, or at all.
func (d *DB) purge(ctx context.Context, rows int) (done int, err error) {
	if !d.purging.Load() {
		return 0, nil
	}
	err = d.write.background(ctx, func(tx *sql.Tx) error {
		done, err = d.purgeNext(tx, rows)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purge deleted sensors: %w", err)
	}
	return done, nil
}

func (d *DB) purgeNext(tx *sql.Tx, rows int) (done int, err error) {
	var sensor, through, indexed int64
	err = tx.QueryRow("SELECT sensor_id, through, indexed_to FROM purges, log ORDER BY through LIMIT 1").Scan(&sensor, &through, &indexed)
	if errors.Is(err, sql.ErrNoRows) {
		d.purging.Store(false) // in the writer's turn, as all that sets it
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	// Above the watermark the index may hold part of a run already; those rows stay until it is complete.
	const some = "FROM reading_index WHERE sensor_id = ? AND seq <= ? ORDER BY time, seq LIMIT ?"
	if _, err = tx.Exec("DELETE FROM readings WHERE seq IN (SELECT seq "+some+")", sensor, indexed, rows); err != nil {
		return 0, err
	}
	result, err := tx.Exec("DELETE FROM reading_index WHERE (sensor_id, time, seq) IN (SELECT sensor_id, time, seq "+some+")", sensor, indexed, rows)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	d.counters.purged.Add(n)
	if err != nil || n == int64(rows) {
		return int(n), err
	}
	if indexed < through {
		return int(n), nil
	}
	_, err = tx.Exec("DELETE FROM purges WHERE sensor_id = ?", sensor)
	return max(int(n), 1), err
}
