package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"sensorcast/telemetry"
)

// Alerts returns incidents of the sensors of those serials, newest first. It begins with the sensors, so that it looks at nothing that is
// not theirs.
func (d *DB) Alerts(ctx context.Context, q telemetry.AlertQuery) ([]telemetry.Alert, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	serials, err := json.Marshal(q.Serials)
	if err != nil {
		return nil, fmt.Errorf("encode serials: %w", err)
	}
	where := conditions{}
	switch q.State {
	case "":
	case telemetry.AlertOpen:
		where.add("a.resolved_at = 0")
	case telemetry.AlertResolved:
		where.add("a.resolved_at > 0")
	default:
		return nil, telemetry.Invalid("state", "must be open or resolved")
	}
	where.add("(? = 0 OR a.id < ?)", q.Beyond, q.Beyond)
	found, err := scanIncidents(d.read.QueryContext(ctx, selectIncidents+`
		json_each(?) AS mine CROSS JOIN sensors s ON s.serial = mine.value CROSS JOIN alerts a ON a.sensor_id = s.id
		WHERE `+where.String()+" ORDER BY a.id DESC LIMIT ?", append(append([]any{string(serials)}, where.args...), max(q.Limit, 1))...))
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", readError(err))
	}
	all := make([]telemetry.Alert, len(found))
	for i := range found {
		all[i] = found[i].Alert
	}
	return all, nil
}

// Alert returns one incident by its public id. telemetry.ErrNotFound. Who may see it is the caller's matter.
func (d *DB) Alert(ctx context.Context, id string) (telemetry.Alert, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	i, err := scanIncident(d.read.QueryRowContext(ctx, selectIncidents+joined+"a.uid = ?", id))
	if err != nil {
		return telemetry.Alert{}, fmt.Errorf("read alert: %w", readError(absent(err, "alert")))
	}
	return i.Alert, nil
}

// Acknowledge notes who looks after an incident. What is resolved, or acknowledged by somebody, is left as it is; changed tells.
// telemetry.ErrNotFound.
func (d *DB) Acknowledge(ctx context.Context, id, by string, at telemetry.Millis) (a telemetry.Alert, changed bool, err error) {
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		i, err := scanIncident(tx.QueryRow(selectIncidents+joined+"a.uid = ?", id))
		if err != nil {
			return absent(err, "alert")
		}
		changed = i.ResolvedAt == 0 && i.AcknowledgedAt == 0
		if !changed {
			a = i.Alert
			return nil
		}
		i.AcknowledgedAt, i.AcknowledgedBy = at, by
		a = i.Alert
		_, err = tx.Exec(`
			UPDATE alerts SET acknowledged_at = ?, acknowledged_by = ?,
				tell_at = CASE tell WHEN 'reminder' THEN 0 ELSE tell_at END, tell = CASE tell WHEN 'reminder' THEN '' ELSE tell END
			WHERE id = ?`, int64(at), by, i.Order)
		return err
	})
	if err != nil {
		return telemetry.Alert{}, false, fmt.Errorf("acknowledge alert: %w", err)
	}
	return a, changed, nil
}

// Timeline returns what happened to a sensor, newest first. Its steps are those of its incidents: a silence is one, and while a sensor
// flaps they are counted and not listed.
func (d *DB) Timeline(ctx context.Context, q telemetry.TimelineQuery) (all []telemetry.Event, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	where := conditions{}
	where.add("at >= ?", int64(q.From))
	if q.To != 0 {
		where.add("at < ?", int64(q.To))
	}
	if q.BeyondOrder != 0 {
		where.add("(at, ord) < (?, ?)", int64(q.BeyondAt), q.BeyondOrder)
	}
	rows, err := d.read.QueryContext(ctx, `
		SELECT at, ord, what, id, text FROM (
			SELECT opened_at AS at, 4 * id AS ord, CASE kind WHEN 'silent' THEN 'silent' ELSE 'opened' END AS what, uid AS id, message AS text
				FROM alerts WHERE sensor_id = ?1
			UNION ALL SELECT acknowledged_at, 4 * id + 1, 'acknowledged', uid, acknowledged_by FROM alerts WHERE sensor_id = ?1 AND acknowledged_at > 0
			UNION ALL SELECT resolved_at, 4 * id + 2, CASE kind WHEN 'silent' THEN 'online' ELSE 'resolved' END, uid, '' FROM alerts WHERE sensor_id = ?1 AND resolved_at > 0
			UNION ALL SELECT created_at, 1, 'created', '', '' FROM sensors WHERE id = ?1)
		WHERE `+where.String()+" ORDER BY at DESC, ord DESC LIMIT ?", append(append([]any{q.SensorID}, where.args...), max(q.Limit, 1))...)
	if err != nil {
		return nil, fmt.Errorf("query timeline: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var e telemetry.Event
		if err := rows.Scan(&e.At, &e.Order, &e.What, &e.AlertID, &e.Text); err != nil {
			return nil, fmt.Errorf("read timeline: %w", err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read timeline: %w", readError(err))
	}
	return all, nil
}
