package store

import (
	"context"
	"database/sql"
	"fmt"

	"sensorcast/inbox"
)

// Strangers implements inbox.Keeper.
func (d *DB) Strangers(ctx context.Context) ([]inbox.Stranger, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, `
		SELECT serial, first_seen_at, last_seen_at, attempts, address, client_id, protocol, secret, secrets, muted_until
		FROM strangers ORDER BY last_seen_at, serial`)
	if err != nil {
		return nil, fmt.Errorf("query strangers: %w", readError(err))
	}
	defer rows.Close()
	var all []inbox.Stranger
	for rows.Next() {
		var s inbox.Stranger
		var secret []byte
		err := rows.Scan(&s.Serial, &s.FirstSeen, &s.LastSeen, &s.Attempts, &s.Address, &s.ClientID, &s.Protocol, &secret, &s.Secrets, &s.MutedUntil)
		if err != nil {
			return nil, fmt.Errorf("read strangers: %w", err)
		}
		copy(s.Secret.Hash[:], secret)
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read strangers: %w", readError(err))
	}
	return all, nil
}

// KeepStrangers implements inbox.Keeper.
func (d *DB) KeepStrangers(ctx context.Context, kept []inbox.Stranger, gone []string) (people []string, err error) {
	err = d.write.background(ctx, func(tx *sql.Tx) error {
		people = nil
		for _, serial := range gone {
			if _, err := tx.Exec("DELETE FROM strangers WHERE serial = ?", serial); err != nil {
				return err
			}
		}
		for _, s := range kept {
			known, err := exists(tx, "SELECT 1 FROM users WHERE username_key = ?", fold(s.Serial))
			if err == nil && known {
				people = append(people, s.Serial)
				_, err = tx.Exec("DELETE FROM strangers WHERE serial = ?", s.Serial)
			} else if err == nil {
				err = keepStranger(tx, s)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keep strangers: %w", err)
	}
	return people, nil
}

func keepStranger(tx *sql.Tx, s inbox.Stranger) error {
	var secret any
	if s.Secrets > 0 {
		secret = s.Secret.Hash[:]
	}
	_, err := tx.Exec(`
		INSERT OR REPLACE INTO strangers (serial, first_seen_at, last_seen_at, attempts, address, client_id, protocol, secret, secrets, muted_until)
		VALUES (?,?,?,?,?,?,?,?,?,?)`,
		s.Serial, int64(s.FirstSeen), int64(s.LastSeen), s.Attempts, s.Address, s.ClientID, s.Protocol, secret, s.Secrets, int64(s.MutedUntil))
	return err
}
