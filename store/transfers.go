package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// OfferSensor opens a transfer of the sensor, in place of the one that may be open. A Username that is nobody's is telemetry.ErrNotFound, the
// owner's own telemetry.ErrInvalid, both of the field username. telemetry.ErrNotFound when the sensor is gone.
func (d *DB) OfferSensor(ctx context.Context, sensorID int64, t auth.Transfer) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		var only sql.NullInt64
		if t.Username != "" {
			partner, err := findPartner(tx, sensorID, t.Username)
			if err != nil {
				return err
			}
			only = sql.NullInt64{Int64: partner.UserID, Valid: true}
		}
		_, err := tx.Exec("INSERT OR REPLACE INTO transfers (sensor_id, code, user_id, expires_at) VALUES (?,?,?,?)",
			sensorID, t.Code[:], only, int64(t.ExpiresAt))
		if isForeignKey(err) {
			return notFound("sensor")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("offer sensor: %w", err)
	}
	return nil
}

// OpenTransfer returns the sensor's open transfer, without its code. telemetry.ErrNotFound when there is none.
func (d *DB) OpenTransfer(ctx context.Context, sensorID int64) (t auth.Transfer, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	err = d.read.QueryRowContext(ctx, `
		SELECT coalesce(u.username, ''), t.expires_at FROM transfers t LEFT JOIN users u ON u.id = t.user_id
		WHERE t.sensor_id = ? AND t.expires_at > ?`, sensorID, int64(now())).Scan(&t.Username, &t.ExpiresAt)
	if err != nil {
		return t, fmt.Errorf("read transfer: %w", absent(readError(err), "transfer"))
	}
	return t, nil
}

// WithdrawTransfer closes the sensor's transfer, if one is open.
func (d *DB) WithdrawTransfer(ctx context.Context, sensorID int64) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM transfers WHERE sensor_id = ?", sensorID)
		return err
	})
	if err != nil {
		return fmt.Errorf("withdraw transfer: %w", err)
	}
	return nil
}

// ClaimSensor gives the sensor that is offered under the code to the person, and returns it as it is from now on, with its secrets. A nil
// secret leaves it those it has.
//
// The sensor that was is deleted, and with it all that hangs on its id; another one takes its serial and description. So nothing of before
// can show up with the new owner, and every reading is one or the other's by the id it came with. Of any number of claims one succeeds.
// telemetry.ErrNotFound: no open transfer has the code, or it is for somebody else. telemetry.ErrInvalid of the field claim_code: the
// person owns the sensor.
func (d *DB) ClaimSensor(ctx context.Context, code [32]byte, userID int64, secret *[32]byte) (s telemetry.Sensor, secrets []auth.Secret, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		if s, secrets, err = findOffered(tx, code, userID); err != nil {
			return err
		}
		if secret != nil {
			secrets = []auth.Secret{{Hash: *secret}}
		}
		s.OwnerID = userID
		if err := tx.QueryRow("SELECT username FROM users WHERE id = ?", userID).Scan(&s.Owner); err != nil {
			return absent(err, "account")
		}
		if err := d.deleteSensors(tx, "id = ?", s.ID); err != nil {
			return err
		}
		return insertSensor(tx, &s, secrets)
	})
	if err != nil {
		return telemetry.Sensor{}, nil, fmt.Errorf("claim sensor: %w", err)
	}
	d.nudge()
	return s, secrets, nil
}

// findOffered finds the sensor that the person may claim with the code, as it is described, and its secrets.
func findOffered(tx *sql.Tx, code [32]byte, userID int64) (s telemetry.Sensor, secrets []auth.Secret, err error) {
	err = tx.QueryRow("SELECT sensor_id FROM transfers WHERE code = ? AND expires_at > ? AND coalesce(user_id, ?3) = ?3",
		code[:], int64(now()), userID).Scan(&s.ID)
	if err != nil {
		return s, nil, absent(err, "transfer")
	}
	rows, err := tx.Query(selectSensors+"s.id = ?", s.ID)
	if err != nil {
		return s, nil, err
	}
	defer rows.Close()
	if rows.Next() { // a transfer does not outlive its sensor
		if s, _, err = scanSensor(rows); err != nil {
			return s, nil, err
		}
	}
	if s.OwnerID == userID {
		return s, nil, telemetry.Invalid("claim_code", "is that of a sensor of your own: it is for somebody else")
	}
	secrets, err = secretsOf(tx, s.ID)
	return s, secrets, errors.Join(rows.Err(), err)
}

func secretsOf(tx *sql.Tx, sensorID int64) (secrets []auth.Secret, err error) {
	rows, err := tx.Query("SELECT hash, valid_until FROM sensor_secrets WHERE sensor_id = ? ORDER BY position", sensorID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var hash []byte
		var s auth.Secret
		if err := rows.Scan(&hash, &s.ValidUntil); err != nil {
			return nil, err
		}
		s.Hash = [32]byte(hash)
		secrets = append(secrets, s)
	}
	return secrets, rows.Err()
}
