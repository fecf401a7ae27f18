package store

import (
	"context"
	"database/sql"
	"fmt"

	"sensorcast/auth"
	"sensorcast/telemetry"
)

// SaveDebts implements auth.Ledger. It yields to everybody else who writes.
func (d *DB) SaveDebts(ctx context.Context, debts []auth.Debt, now telemetry.Millis) error {
	err := d.write.background(ctx, func(tx *sql.Tx) error {
		for _, debt := range debts {
			_, err := tx.Exec("INSERT INTO debts (kind, debtor, paid_at) VALUES (?,?,?) ON CONFLICT DO UPDATE SET paid_at = excluded.paid_at",
				debt.Kind, []byte(debt.Debtor), int64(debt.PaidAt))
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec("DELETE FROM debts WHERE paid_at <= ?", int64(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("save debts: %w", err)
	}
	return nil
}

// Debts implements auth.Ledger.
func (d *DB) Debts(ctx context.Context, now telemetry.Millis, limit int) (debts []auth.Debt, err error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT kind, debtor, paid_at FROM (SELECT * FROM debts WHERE paid_at > ? ORDER BY paid_at DESC LIMIT ?) ORDER BY paid_at`, int64(now), limit)
	if err != nil {
		return nil, fmt.Errorf("query debts: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var debt auth.Debt
		if err := rows.Scan(&debt.Kind, &debt.Debtor, &debt.PaidAt); err != nil {
			return nil, fmt.Errorf("read debts: %w", err)
		}
		debts = append(debts, debt)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read debts: %w", readError(err))
	}
	return debts, nil
}
