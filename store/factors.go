package store

import (
	"context"
	"database/sql"
	"fmt"

	"sensorcast/auth"
)

// SecondFactor implements auth.SecondFactors.
func (d *DB) SecondFactor(ctx context.Context, userID int64) (f auth.SecondFactor, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	// One statement, so that what is read is of one moment.
	rows, err := d.read.QueryContext(ctx, `
		SELECT f.sealed, f.enabled, f.last_step, c.hash FROM second_factors f LEFT JOIN recovery_codes c USING (user_id) WHERE f.user_id = ?`, userID)
	if err != nil {
		return auth.SecondFactor{}, fmt.Errorf("query second factor: %w", readError(err))
	}
	defer rows.Close()
	found := false
	for rows.Next() {
		var hash []byte
		if err := rows.Scan(&f.Sealed, &f.On, &f.LastStep, &hash); err != nil {
			return auth.SecondFactor{}, fmt.Errorf("read second factor: %w", err)
		}
		if found = true; hash != nil {
			f.Recovery = append(f.Recovery, [32]byte(hash))
		}
	}
	if err := rows.Err(); err != nil {
		return auth.SecondFactor{}, fmt.Errorf("read second factor: %w", readError(err))
	}
	if !found {
		return auth.SecondFactor{}, notFound("second factor")
	}
	return f, nil
}

// PutSecondFactor implements auth.SecondFactors.
func (d *DB) PutSecondFactor(ctx context.Context, userID int64, f auth.SecondFactor) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		if err := require(tx, "account", "SELECT 1 FROM users WHERE id = ?", userID); err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM second_factors WHERE user_id = ?", userID); err != nil { // its codes go with it
			return err
		}
		_, err := tx.Exec("INSERT INTO second_factors (user_id, sealed, enabled, last_step) VALUES (?,?,?,?)", userID, f.Sealed, f.On, f.LastStep)
		if err != nil {
			return err
		}
		for _, hash := range f.Recovery {
			if _, err := tx.Exec("INSERT INTO recovery_codes (user_id, hash) VALUES (?,?)", userID, hash[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store second factor: %w", err)
	}
	return nil
}

// DeleteSecondFactor implements auth.SecondFactors.
func (d *DB) DeleteSecondFactor(ctx context.Context, userID int64) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM second_factors WHERE user_id = ?", userID)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete second factor: %w", err)
	}
	return nil
}
