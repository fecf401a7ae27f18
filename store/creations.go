package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

const (
	// creationLife is how long a creation may be asked for again.
	creationLife = 24 * time.Hour

	// forgetCreationsEvery is how often older ones are looked for.
	forgetCreationsEvery = time.Minute
)

// CreateSensorOnce is CreateSensor, and remembers the creation with the sensor, for a day.
func (d *DB) CreateSensorOnce(ctx context.Context, s *telemetry.Sensor, secret [32]byte, o auth.Once) error {
	return d.createSensor(ctx, s, secret, func(tx *sql.Tx, created *telemetry.Sensor) error {
		// One of the same key can only be one that is too old and not forgotten yet: who creates asks Creation first.
		_, err := tx.Exec("INSERT OR REPLACE INTO sensor_creations (key, body, salt, sensor_id, created_at) VALUES (?,?,?,?,?)",
			o.Key[:], o.Body[:], o.Salt[:], created.ID, int64(created.CreatedAt))
		return err
	})
}

// Creation returns the creation of that key and the serial of the sensor it made. telemetry.ErrNotFound when there was none within a day,
// or the sensor is gone.
func (d *DB) Creation(ctx context.Context, key [32]byte) (o auth.Once, serial string, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	var body, salt []byte
	err = d.read.QueryRowContext(ctx, `
		SELECT c.body, c.salt, s.serial FROM sensor_creations c JOIN sensors s ON s.id = c.sensor_id WHERE c.key = ? AND c.created_at >= ?`,
		key[:], int64(now().Add(-creationLife))).Scan(&body, &salt, &serial)
	if err != nil {
		return auth.Once{}, "", fmt.Errorf("read creation: %w", absent(readError(err), "creation"))
	}
	return auth.Once{Key: key, Body: [32]byte(body), Salt: [16]byte(salt)}, serial, nil
}

// forgetCreations deletes those that are too old.
func (d *DB) forgetCreations(ctx context.Context, rows int) (done int, err error) {
	done, err = d.forget(ctx, "creations", forgetCreationsEvery, now().Add(-creationLife), rows,
		"DELETE FROM sensor_creations WHERE key IN (SELECT key FROM sensor_creations WHERE created_at < ? LIMIT ?)")
	if err != nil {
		return 0, fmt.Errorf("forget creations: %w", err)
	}
	return done, nil
}
