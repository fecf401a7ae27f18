package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sensorcast/telemetry"
)

// subjectRule is what incidents of a rule are about: what it watches for now. A rule that is changed begins anew.
func subjectRule(order, revision int64) string { return fmt.Sprintf("rule:%d.%d", order, revision) }

// RuleHolds returns for which sensors which rules hold, with an incident or not yet, and the seq up to which that is so.
func (d *DB) RuleHolds(ctx context.Context) (holds []telemetry.RuleHold, judgedTo int64, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	tx, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // both as of one moment
	if err != nil {
		return nil, 0, fmt.Errorf("read judgements: %w", readError(err))
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.QueryRow("SELECT judged_to FROM rule_log").Scan(&judgedTo); err != nil {
		return nil, 0, fmt.Errorf("read judgements: %w", readError(err))
	}
	rows, err := tx.Query(`
		SELECT w.rule_id, w.sensor_id, w.since, w.value FROM rule_waits w CROSS JOIN rules r ON r.id = w.rule_id AND r.revision = w.revision
		UNION ALL SELECT r.id, a.sensor_id, 0, 0 FROM alerts a CROSS JOIN rules r ON r.id = ` + ruleOf + `
			WHERE a.resolved_at = 0 AND a.kind = 'threshold' AND a.ended_at = 0 AND a.subject = 'rule:' || r.id || '.' || r.revision`)
	if err != nil {
		return nil, 0, fmt.Errorf("query judgements: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var h telemetry.RuleHold
		if err := rows.Scan(&h.Rule, &h.Sensor, &h.Since, &h.Value); err != nil {
			return nil, 0, fmt.Errorf("read judgements: %w", err)
		}
		holds = append(holds, h)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read judgements: %w", readError(err))
	}
	return holds, judgedTo, nil
}

// ruleOf is the number of the rule an incident is about. The cast stops at the dot.
const ruleOf = "CAST(substr(a.subject, 6) AS INTEGER)"

// Judge writes down, in one transaction, what a stretch of the log has made of rules: it opens and ends incidents and returns their steps. What
// a rule has said that is gone, disabled or another by now is left out. telemetry.ErrUnavailable when trying again later may work.
func (d *DB) Judge(ctx context.Context, j telemetry.RuleJudgement, at telemetry.Millis, e telemetry.Etiquette) (steps []telemetry.Alert, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		steps = nil
		for _, s := range j.Steps {
			more, err := stepRule(tx, s, at, &e)
			if err != nil {
				return err
			}
			steps = append(steps, more...)
		}
		for _, p := range j.Over {
			if _, err := tx.Exec("DELETE FROM rule_waits WHERE rule_id = ? AND sensor_id = ?", p.Rule, p.Sensor); err != nil {
				return err
			}
		}
		for _, w := range j.Waiting {
			_, err := tx.Exec(`
				INSERT OR REPLACE INTO rule_waits (rule_id, sensor_id, revision, since, value)
				SELECT r.id, s.id, r.revision, ?3, ?4 FROM rules r CROSS JOIN sensors s WHERE r.id = ?1 AND s.id = ?2 AND r.revision = ?5 AND r.enabled`,
				w.Rule, w.Sensor, int64(w.Since), w.Value, w.Revision)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec("UPDATE rule_log SET judged_to = max(judged_to, ?)", j.Through)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("judge by rules: %w", err)
	}
	return steps, nil
}

func stepRule(tx *sql.Tx, s telemetry.RuleStep, now telemetry.Millis, e *telemetry.Etiquette) ([]telemetry.Alert, error) {
	stands, err := exists(tx, "SELECT 1 FROM rules r CROSS JOIN sensors s WHERE r.id = ? AND r.revision = ? AND r.enabled AND s.id = ?", s.Rule, s.Revision, s.Sensor)
	if err != nil || !stands {
		return nil, err
	}
	subject := subjectRule(s.Rule, s.Revision)
	if s.Opens {
		return begin(tx, telemetry.Alert{
			SensorID: s.Sensor, Kind: telemetry.AlertThreshold, Cause: telemetry.CauseThreshold, Severity: s.Severity, Message: s.Message, OpenedAt: s.At,
		}, subject, e)
	}
	open, err := openIncident(tx, s.Sensor, subject)
	if err != nil || open == nil || open.endedAt != 0 {
		return nil, err
	}
	return end(tx, open, s.At, now, e)
}

// stands is an incident's or wait's rule a, of its sensor s, as long as it judges it and watches for the same.
const stands = `SELECT 1 FROM rules r WHERE r.id = a.rule AND r.revision = a.revision AND r.enabled
	AND (r.sensor_id = s.id OR r.tag <> '' AND EXISTS (SELECT 1 FROM sensor_tags t WHERE t.sensor_id = s.id AND t.tag = r.tag))
	AND (s.owner_id = r.user_id OR EXISTS (SELECT 1 FROM shares h WHERE h.sensor_id = s.id AND h.user_id = r.user_id AND h.access = 'manager'))`

// What no rule stands behind any more.
const (
	strayAlerts = `(SELECT *, ` + ruleOf + ` AS rule, CAST(substr(subject, instr(subject, '.') + 1) AS INTEGER) AS revision
		FROM alerts a WHERE resolved_at = 0 AND kind = 'threshold') a CROSS JOIN sensors s ON s.id = a.sensor_id WHERE NOT EXISTS (` + stands + ")"
	strayWaits = `SELECT a.rule, a.sensor_id FROM (SELECT rule_id AS rule, revision, sensor_id FROM rule_waits) a
		CROSS JOIN sensors s ON s.id = a.sensor_id WHERE NOT EXISTS (` + stands + ")"

	withdrawAtOnce = 100 // incidents in one transaction
)

// Withdraw resolves incidents of rules that are gone, disabled, changed, or judge the sensor no more, saying so, and forgets what has begun to
// hold by them. It returns the incidents, and whether there is more to do. telemetry.ErrUnavailable as always.
func (d *DB) Withdraw(ctx context.Context, at telemetry.Millis, e telemetry.Etiquette) (steps []telemetry.Alert, more bool, err error) {
	look, cancel := reading(ctx)
	defer cancel()
	var one int
	err = d.read.QueryRowContext(look, "SELECT 1 FROM "+strayAlerts+" UNION ALL SELECT 1 FROM ("+strayWaits+") LIMIT 1").Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look for stray incidents: %w", readError(err))
	}
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		steps = nil
		if _, err := tx.Exec("DELETE FROM rule_waits WHERE (rule_id, sensor_id) IN (" + strayWaits + ")"); err != nil {
			return err
		}
		strays, err := scanIncidents(tx.Query(selectIncidents+strayAlerts+" ORDER BY a.id LIMIT ?", withdrawAtOnce))
		if err != nil {
			return err
		}
		more = len(strays) == withdrawAtOnce
		for i := range strays {
			step, err := withdraw(tx, &strays[i], at, &e)
			if err != nil {
				return err
			}
			steps = append(steps, step)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("withdraw incidents: %w", err)
	}
	return steps, more, nil
}

// withdraw resolves one and says why in its message.
func withdraw(tx *sql.Tx, i *incident, at telemetry.Millis, e *telemetry.Etiquette) (telemetry.Alert, error) {
	var order, revision, present int64
	var enabled bool
	if _, err := fmt.Sscanf(i.subject, "rule:%d.%d", &order, &revision); err != nil {
		return telemetry.Alert{}, fmt.Errorf("subject %q: %w", i.subject, err)
	}
	why := "no longer applies to the sensor"
	switch err := tx.QueryRow("SELECT revision, enabled FROM rules WHERE id = ?", order).Scan(&present, &enabled); {
	case errors.Is(err, sql.ErrNoRows):
		why = "was deleted"
	case err != nil:
		return telemetry.Alert{}, err
	case !enabled:
		why = "was turned off"
	case present != revision:
		why = "was changed"
	}
	i.Message += "; the rule " + why
	if _, err := tx.Exec("UPDATE alerts SET message = ? WHERE id = ?", i.Message, i.Order); err != nil {
		return telemetry.Alert{}, err
	}
	return resolve(tx, i, at, at, e)
}
