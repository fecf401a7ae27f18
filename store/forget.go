package store

import (
	"context"
	"database/sql"
	"time"

	"sensorcast/telemetry"
)

// forget runs queries that each delete at most so many rows of before that instant, unless it has found nothing of that name within every. It
// returns how many rows went.
func (d *DB) forget(ctx context.Context, name string, every time.Duration, before telemetry.Millis, rows int, queries ...string) (done int, err error) {
	if time.Now().Before(d.lookAgain[name]) {
		return 0, nil
	}
	err = d.write.background(ctx, func(tx *sql.Tx) error {
		done = 0
		for _, query := range queries {
			result, err := tx.Exec(query, int64(before), rows)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			done += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if done == 0 {
		d.lookAgain[name] = time.Now().Add(every)
	}
	return done, nil
}
