package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// CreateSensor adds s to its owner's sensors with the hash of its first secret, and sets ID, UID, CreatedAt and UpdatedAt. A serial
// that is taken, by whomever, or is somebody's user name is telemetry.Conflict("serial_no", …); an owner who does not exist is telemetry.ErrNotFound.
func (d *DB) CreateSensor(ctx context.Context, s *telemetry.Sensor, secret [32]byte) error {
	return d.createSensor(ctx, s, secret, func(*sql.Tx, *telemetry.Sensor) error { return nil })
}

// createSensor does more in the same transaction.
func (d *DB) createSensor(ctx context.Context, s *telemetry.Sensor, secret [32]byte, more func(*sql.Tx, *telemetry.Sensor) error) error {
	created := *s
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := forbid(tx, telemetry.Conflict("serial_no", "is registered already"), "SELECT 1 FROM sensors WHERE serial = ?", s.Serial); err != nil {
			return err
		}
		// Both log in over MQTT by this name, and the broker asks the sensors first: such a serial would lock its namesake out.
		if err := forbid(tx, telemetry.Conflict("serial_no", "is taken"), "SELECT 1 FROM users WHERE username_key = ?", fold(s.Serial)); err != nil {
			return err
		}
		if err := insertSensor(tx, &created, []auth.Secret{{Hash: secret}}); err != nil {
			return err
		}
		return more(tx, &created)
	})
	if err != nil {
		return fmt.Errorf("create sensor: %w", err)
	}
	*s = created
	return nil
}

// insertSensor adds s as a sensor of its own, whatever it was before, and sets ID, UID and times.
func insertSensor(tx *sql.Tx, s *telemetry.Sensor, secrets []auth.Secret) error {
	s.UID, s.CreatedAt, s.Status = newUID(), now(), telemetry.Status{}
	s.UpdatedAt = s.CreatedAt
	result, err := tx.Exec(`
		INSERT INTO sensors (uid, serial, owner_id, name, description, mac_address, sensor_type, manufacturer, silence_after, silence_learned, search,
			created_at, updated_at)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		s.UID, s.Serial, s.OwnerID, s.Name, s.Description, s.MACAddress, s.SensorType, s.Manufacturer, s.SilenceAfter.Milliseconds(),
		s.Learned, searchText(s), int64(s.CreatedAt), int64(s.UpdatedAt))
	if isForeignKey(err) {
		return notFound("owner")
	}
	if err != nil {
		return err
	}
	if s.ID, err = result.LastInsertId(); err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO sensor_status (sensor_id) VALUES (?)", s.ID); err != nil {
		return err
	}
	if err := writeTags(tx, s.ID, s.Tags); err != nil {
		return err
	}
	return writeSecrets(tx, s.ID, secrets)
}

// UpdateSensor writes the descriptive fields of the sensor s.ID: name, description, MAC address, type, manufacturer, tags, silence.
// telemetry.ErrNotFound when it is gone.
func (d *DB) UpdateSensor(ctx context.Context, s telemetry.Sensor) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		// The serial never changes; it is read anew rather than trusted, as it is part of what searching looks at.
		if err := tx.QueryRow("SELECT serial FROM sensors WHERE id = ?", s.ID).Scan(&s.Serial); err != nil {
			return absent(err, "sensor")
		}
		_, err := tx.Exec(`
			UPDATE sensors SET name = ?, description = ?, mac_address = ?, sensor_type = ?, manufacturer = ?, silence_after = ?, silence_learned = ?, search = ?,
				updated_at = ?
			WHERE id = ?`,
			s.Name, s.Description, s.MACAddress, s.SensorType, s.Manufacturer, s.SilenceAfter.Milliseconds(), s.Learned, searchText(&s), int64(now()), s.ID)
		if err != nil {
			return err
		}
		return writeTags(tx, s.ID, s.Tags)
	})
	if err != nil {
		return fmt.Errorf("update sensor: %w", err)
	}
	return nil
}

// DeleteSensor removes the sensor at once, with its shares, commands, MQTT sessions and retained messages, so that its serial is free; its history follows in the background. telemetry.ErrNotFound.
func (d *DB) DeleteSensor(ctx context.Context, id int64) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "sensor", "SELECT 1 FROM sensors WHERE id = ?", id); err != nil {
			return err
		}
		return d.deleteSensors(tx, "id = ?", id)
	})
	if err != nil {
		return fmt.Errorf("delete sensor: %w", err)
	}
	d.nudge()
	return nil
}

// deleteSensors deletes those that where selects, leaving their history to be purged.
func (d *DB) deleteSensors(tx *sql.Tx, where string, arg int64) error {
	if err := markForPurge(tx, where, arg); err != nil {
		return err
	}
	d.purging.Store(true)
	// Of what nobody was told yet nobody is. Notices of what was, who delivers them has to judge.
	if _, err := tx.Exec("DELETE FROM notices WHERE fanned_at = 0 AND sensor_id IN (SELECT id FROM sensors WHERE "+where+")", arg); err != nil {
		return err
	}
	_, err := tx.Exec("DELETE FROM sensors WHERE "+where, arg) // all that hangs on their ids goes with them
	return err
}

// SetSecrets replaces the sensor's secret hashes; at most auth.MaxDeviceSecrets. telemetry.ErrNotFound.
func (d *DB) SetSecrets(ctx context.Context, id int64, secrets []auth.Secret) error {
	if len(secrets) > auth.MaxDeviceSecrets {
		return telemetry.Invalid("secret_key", "a sensor has at most %d secrets at once", auth.MaxDeviceSecrets)
	}
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "sensor", "SELECT 1 FROM sensors WHERE id = ?", id); err != nil {
			return err
		}
		return writeSecrets(tx, id, secrets)
	})
	if err != nil {
		return fmt.Errorf("set secrets: %w", err)
	}
	return nil
}

// SensorBySerial returns one sensor with its status. telemetry.ErrNotFound. Who may see it is the caller's matter.
func (d *DB) SensorBySerial(ctx context.Context, serial string) (telemetry.Sensor, error) {
	found, err := d.sensors(ctx, "s.serial = ?", serial)
	if err == nil && len(found) == 0 {
		err = notFound("sensor")
	}
	if err != nil {
		return telemetry.Sensor{}, fmt.Errorf("read sensor: %w", err)
	}
	return found[0], nil
}

// Devices returns every sensor with its owner, secret hashes and shares.
func (d *DB) Devices(ctx context.Context) ([]auth.Device, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT s.id, s.serial, s.owner_id, x.hash, x.valid_until
		FROM sensors s LEFT JOIN sensor_secrets x ON x.sensor_id = s.id ORDER BY s.id, x.position`)
	if err != nil {
		return nil, fmt.Errorf("query devices: %w", err)
	}
	defer rows.Close()
	var out []auth.Device
	for rows.Next() {
		var dev auth.Device
		var hash []byte
		var until sql.NullInt64
		if err := rows.Scan(&dev.SensorID, &dev.Serial, &dev.OwnerID, &hash, &until); err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
		if n := len(out); n == 0 || out[n-1].SensorID != dev.SensorID {
			out = append(out, dev)
		}
		if hash != nil {
			last := &out[len(out)-1]
			last.Secrets = append(last.Secrets, auth.Secret{Hash: [32]byte(hash), ValidUntil: telemetry.Millis(until.Int64)})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	return out, d.addShares(ctx, out)
}

// searchText is what free text search looks at, lower-cased here because SQLite folds ASCII only. Lines keep a match from spanning fields.
func searchText(s *telemetry.Sensor) string {
	fields := append([]string{s.Serial, s.Name, s.Description, s.SensorType, s.Manufacturer}, s.Tags...)
	return strings.ToLower(strings.Join(fields, "\n"))
}

func writeTags(tx *sql.Tx, id int64, tags []string) error {
	if _, err := tx.Exec("DELETE FROM sensor_tags WHERE sensor_id = ?", id); err != nil {
		return err
	}
	for i, tag := range tags {
		if _, err := tx.Exec("INSERT INTO sensor_tags (sensor_id, position, tag) VALUES (?,?,?)", id, i, tag); err != nil {
			return err
		}
	}
	return nil
}

func writeSecrets(tx *sql.Tx, id int64, secrets []auth.Secret) error {
	if _, err := tx.Exec("DELETE FROM sensor_secrets WHERE sensor_id = ?", id); err != nil {
		return err
	}
	for i, s := range secrets {
		_, err := tx.Exec("INSERT INTO sensor_secrets (sensor_id, position, hash, valid_until) VALUES (?,?,?,?)", id, i, s.Hash[:], int64(s.ValidUntil))
		if err != nil {
			return err
		}
	}
	return nil
}
