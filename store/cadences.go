package store

import (
	"context"
	"database/sql"
	"fmt"

	"sensorcast/telemetry"
)

// KeepCadences writes down the rhythms of sensors. Those that are gone are skipped.
func (d *DB) KeepCadences(ctx context.Context, all map[int64]telemetry.Cadence) error {
	err := d.write.background(ctx, func(tx *sql.Tx) error {
		keep, err := tx.Prepare(`
			INSERT INTO cadences (sensor_id, gaps, typical, long) SELECT id, ?, ?, ? FROM sensors WHERE id = ?
			ON CONFLICT (sensor_id) DO UPDATE SET gaps = excluded.gaps, typical = excluded.typical, long = excluded.long`)
		if err != nil {
			return err
		}
		defer keep.Close()
		for id, c := range all {
			if _, err := keep.Exec(c.Gaps, c.Typical.Milliseconds(), c.Long.Milliseconds(), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep cadences: %w", err)
	}
	return nil
}
