package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// Share lets the person of that user name see the sensor or manage it, or changes what they may, and returns the share as it is now; one
// that was so already keeps its Since. Mistakes in username: telemetry.ErrNotFound when it is nobody's, telemetry.ErrInvalid when it is the
// owner's, telemetry.ErrConflict when the sensor is shared with auth.MaxShares others. telemetry.ErrNotFound when the sensor is gone.
func (d *DB) Share(ctx context.Context, sensorID int64, username string, access auth.Access) (s auth.Shared, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		if s, err = findPartner(tx, sensorID, username); err != nil {
			return err
		}
		var was string
		err := tx.QueryRow("SELECT access, since FROM shares WHERE sensor_id = ? AND user_id = ?", sensorID, s.UserID).Scan(&was, &s.Since)
		s.Access = auth.AccessNamed(was)
		switch {
		case err == nil && s.Access == access:
			return nil
		case errors.Is(err, sql.ErrNoRows):
			full := telemetry.Conflict("username", fmt.Sprintf("is one too many: the sensor is shared with %d people already", auth.MaxShares))
			if err := forbid(tx, full, "SELECT 1 FROM shares WHERE sensor_id = ? LIMIT 1 OFFSET ?", sensorID, auth.MaxShares-1); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		s.Access, s.Since = access, now()
		_, err = tx.Exec("INSERT OR REPLACE INTO shares (sensor_id, user_id, access, since) VALUES (?,?,?,?)",
			sensorID, s.UserID, access.String(), int64(s.Since))
		return err
	})
	if err != nil {
		return auth.Shared{}, fmt.Errorf("share sensor: %w", err)
	}
	return s, nil
}

// findPartner finds the person whom an owner named for the sensor: somebody else, by user name and not by address, or sharing would tell whose
// that is.
func findPartner(tx *sql.Tx, sensorID int64, username string) (s auth.Shared, err error) {
	var owner int64
	if err := tx.QueryRow("SELECT owner_id FROM sensors WHERE id = ?", sensorID).Scan(&owner); err != nil {
		return s, absent(err, "sensor")
	}
	err = tx.QueryRow("SELECT id, username FROM users WHERE username_key = ?", fold(username)).Scan(&s.UserID, &s.Username)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return s, &telemetry.FieldError{Field: "username", Reason: "is nobody's on this server", Kind: telemetry.ErrNotFound}
	case err == nil && s.UserID == owner:
		return s, telemetry.Invalid("username", "must be somebody else's than the owner's")
	}
	return s, err
}

// Unshare takes the sensor away from the person of that user name, and returns the person's number. telemetry.ErrNotFound when it is not shared
// with anybody of that name.
func (d *DB) Unshare(ctx context.Context, sensorID int64, username string) (userID int64, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRow("DELETE FROM shares WHERE sensor_id = ? AND user_id = (SELECT id FROM users WHERE username_key = ?) RETURNING user_id",
			sensorID, fold(username)).Scan(&userID)
		return absent(err, "share")
	})
	if err != nil {
		return 0, fmt.Errorf("end share: %w", err)
	}
	return userID, nil
}

// Shares returns with whom the sensor is shared, by user name; at most auth.MaxShares. A sensor that is gone is shared with nobody.
func (d *DB) Shares(ctx context.Context, sensorID int64) ([]auth.Shared, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, `
		SELECT h.user_id, u.username, h.access, h.since FROM shares h CROSS JOIN users u ON u.id = h.user_id
		WHERE h.sensor_id = ? ORDER BY u.username_key`, sensorID)
	if err != nil {
		return nil, fmt.Errorf("query shares: %w", readError(err))
	}
	defer rows.Close()
	var out []auth.Shared
	for rows.Next() {
		var s auth.Shared
		var access string
		if err := rows.Scan(&s.UserID, &s.Username, &access, &s.Since); err != nil {
			return nil, fmt.Errorf("read shares: %w", err)
		}
		s.Access = auth.AccessNamed(access)
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read shares: %w", readError(err))
	}
	return out, nil
}

// addShares fills in the shares of devices, which come in the order of their ids.
func (d *DB) addShares(ctx context.Context, devices []auth.Device) error {
	rows, err := d.read.QueryContext(ctx, "SELECT sensor_id, user_id, access FROM shares ORDER BY sensor_id, user_id")
	if err != nil {
		return fmt.Errorf("query shares: %w", err)
	}
	defer rows.Close()
	for i := 0; rows.Next(); {
		var sensorID int64
		var s auth.Share
		var access string
		if err := rows.Scan(&sensorID, &s.UserID, &access); err != nil {
			return fmt.Errorf("read shares: %w", err)
		}
		for i < len(devices) && devices[i].SensorID < sensorID {
			i++
		}
		if i < len(devices) && devices[i].SensorID == sensorID {
			s.Access = auth.AccessNamed(access)
			devices[i].Shares = append(devices[i].Shares, s)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read shares: %w", err)
	}
	return nil
}
