package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

const selectRules = `
	SELECT r.id, r.uid, r.user_id, r.revision, r.name, coalesce(r.sensor_id, 0), coalesce(s.serial, ''), r.tag, r.metric, r.op, r.value, r.clear_value,
		r.expression, r.hold, r.severity, r.enabled, r.created_at, r.updated_at
	FROM rules r LEFT JOIN sensors s ON s.id = r.sensor_id WHERE `

func scanRule(row scanner) (r telemetry.Rule, err error) {
	var hold int64
	err = row.Scan(&r.Order, &r.ID, &r.UserID, &r.Revision, &r.Name, &r.SensorID, &r.Serial, &r.Tag, &r.Metric, &r.Op, &r.Value, &r.Clear,
		&r.Expression, &hold, &r.Severity, &r.Enabled, &r.CreatedAt, &r.UpdatedAt)
	r.For = time.Duration(hold) * time.Millisecond
	return r, err
}

func scanRules(rows *sql.Rows, err error) (all []telemetry.Rule, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRule(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// CreateRule stores a rule and fills in Order, ID, Revision and times. telemetry.ErrConflict when its maker has most already,
// telemetry.ErrNotFound when its sensor, or its maker, is gone.
func (d *DB) CreateRule(ctx context.Context, r *telemetry.Rule, most int) error {
	made := *r
	made.ID, made.Revision, made.CreatedAt = newUID(), 1, now()
	made.UpdatedAt = made.CreatedAt
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		var count int
		if err := tx.QueryRow("SELECT count(*) FROM rules WHERE user_id = ?", made.UserID).Scan(&count); err != nil {
			return err
		}
		if count >= most {
			return fmt.Errorf("there are %d rules already, which is the most: %w", count, telemetry.ErrConflict)
		}
		result, err := tx.Exec(`
			INSERT INTO rules (uid, user_id, name, sensor_id, tag, metric, op, value, clear_value, expression, hold, severity, enabled, created_at, updated_at)
			VALUES (?,?,?,nullif(?,0),?,?,?,?,?,?,?,?,?,?,?)`,
			made.ID, made.UserID, made.Name, made.SensorID, made.Tag, made.Metric, made.Op, made.Value, made.Clear, made.Expression,
			made.For.Milliseconds(), made.Severity, made.Enabled, int64(made.CreatedAt), int64(made.UpdatedAt))
		if isForeignKey(err) {
			return notFound("sensor")
		}
		if err != nil {
			return err
		}
		made.Order, err = result.LastInsertId()
		return err
	})
	if err != nil {
		return fmt.Errorf("create rule: %w", err)
	}
	*r = made
	return nil
}

// ChangeRule has a rule of a person changed in one transaction and returns it; telemetry.ErrNotFound, and what change returns. When change
// raises Revision, what has begun to hold by the rule is forgotten.
func (d *DB) ChangeRule(ctx context.Context, userID int64, id string, change func(r *telemetry.Rule) error) (r telemetry.Rule, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) (err error) {
		if r, err = scanRule(tx.QueryRow(selectRules+"r.uid = ? AND r.user_id = ?", id, userID)); err != nil {
			return absent(err, "rule")
		}
		if err := change(&r); err != nil {
			return err
		}
		r.UpdatedAt = now()
		_, err = tx.Exec(`
			UPDATE rules SET revision = ?, name = ?, sensor_id = nullif(?, 0), tag = ?, metric = ?, op = ?, value = ?, clear_value = ?, expression = ?,
				hold = ?, severity = ?, enabled = ?, updated_at = ? WHERE id = ?`,
			r.Revision, r.Name, r.SensorID, r.Tag, r.Metric, r.Op, r.Value, r.Clear, r.Expression,
			r.For.Milliseconds(), r.Severity, r.Enabled, int64(r.UpdatedAt), r.Order)
		if isForeignKey(err) {
			return notFound("sensor")
		}
		return err
	})
	if err != nil {
		return telemetry.Rule{}, fmt.Errorf("change rule: %w", err)
	}
	return r, nil
}

// DeleteRule deletes a rule of a person and returns its Order; telemetry.ErrNotFound.
func (d *DB) DeleteRule(ctx context.Context, userID int64, id string) (order int64, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRow("DELETE FROM rules WHERE uid = ? AND user_id = ? RETURNING id", id, userID).Scan(&order)
		return absent(err, "rule")
	})
	if err != nil {
		return 0, fmt.Errorf("delete rule: %w", err)
	}
	return order, nil
}

// Rule returns a rule of a person; telemetry.ErrNotFound.
func (d *DB) Rule(ctx context.Context, userID int64, id string) (telemetry.Rule, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	r, err := scanRule(d.read.QueryRowContext(ctx, selectRules+"r.uid = ? AND r.user_id = ?", id, userID))
	if err != nil {
		return telemetry.Rule{}, fmt.Errorf("read rule: %w", readError(absent(err, "rule")))
	}
	return r, nil
}

// Rules returns a page of a person's rules, oldest first.
func (d *DB) Rules(ctx context.Context, q telemetry.RuleQuery) ([]telemetry.Rule, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	all, err := scanRules(d.read.QueryContext(ctx, selectRules+"r.user_id = ? AND r.id > ? ORDER BY r.id LIMIT ?", q.UserID, q.Beyond, max(q.Limit, 1)))
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", readError(err))
	}
	return all, nil
}

// RulesOf returns those of the rules, by their Order, that are there, whoever made them; nil asks for all.
func (d *DB) RulesOf(ctx context.Context, orders []int64) ([]telemetry.Rule, error) {
	where, args, err := among("r.id", orders)
	if err != nil {
		return nil, err
	}
	ctx, cancel := reading(ctx)
	defer cancel()
	all, err := scanRules(d.read.QueryContext(ctx, selectRules+where, args...))
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", readError(err))
	}
	return all, nil
}

// among selects rows by a number; nil: all.
func among(column string, ids []int64) (where string, args []any, err error) {
	if ids == nil {
		return "true", nil, nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return "", nil, fmt.Errorf("encode numbers: %w", err)
	}
	return column + " IN (SELECT value FROM json_each(?))", []any{string(list)}, nil
}
