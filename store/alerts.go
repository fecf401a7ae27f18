package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"sensorcast/telemetry"
)

// subjectSilence is what incidents of silence are about. Those of rules are about their rule.
const subjectSilence = "silent"

// incident is a row of alerts, with what only the store goes by.
type incident struct {
	telemetry.Alert
	subject string
	endedAt telemetry.Millis
	tell    string
}

const selectIncidents = `
	SELECT a.id, a.uid, a.sensor_id, s.serial, s.name, s.owner_id, a.kind, a.cause, a.severity, a.message, a.opened_at, a.resolved_at,
		a.acknowledged_at, a.acknowledged_by, a.episodes, a.flapping, a.subject, a.ended_at, a.tell
	FROM `

// joined is alerts with their sensors, for queries that begin with the incident.
const joined = "alerts a CROSS JOIN sensors s ON s.id = a.sensor_id WHERE "

type scanner interface{ Scan(...any) error }

func scanIncident(row scanner) (i incident, err error) {
	err = row.Scan(&i.Order, &i.ID, &i.SensorID, &i.Serial, &i.Name, &i.OwnerID, &i.Kind, &i.Cause, &i.Severity, &i.Message, &i.OpenedAt,
		&i.ResolvedAt, &i.AcknowledgedAt, &i.AcknowledgedBy, &i.Episodes, &i.Flapping, &i.subject, &i.endedAt, &i.tell)
	return i, err
}

// scanIncidents reads all rows.
func scanIncidents(rows *sql.Rows, err error) (all []incident, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		i, err := scanIncident(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, rows.Err()
}

// openIncident returns the sensor's open incident of a subject; nil: there is none.
func openIncident(tx *sql.Tx, sensor int64, subject string) (*incident, error) {
	i, err := scanIncident(tx.QueryRow(selectIncidents+joined+"a.sensor_id = ? AND a.subject = ? AND a.resolved_at = 0", sensor, subject))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &i, err
}

// begin is called in the transaction that finds that what the incident is about has begun. It returns the incidents that were opened or
// resolved by that, in order: none where one that is flapping has only begun again.
func begin(tx *sql.Tx, a telemetry.Alert, subject string, e *telemetry.Etiquette) (steps []telemetry.Alert, err error) {
	before, err := openIncident(tx, a.SensorID, subject)
	switch {
	case err != nil:
		return nil, err
	case before != nil && before.Flapping:
		return nil, beginAgain(tx, before, a, e)
	case before != nil: // it ended, and we did too before that was written down
		step, err := resolve(tx, before, cmp.Or(before.endedAt, a.OpenedAt), a.OpenedAt, e)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	var recent int
	err = tx.QueryRow("SELECT count(*) FROM alerts WHERE sensor_id = ? AND subject = ? AND opened_at > ?",
		a.SensorID, subject, int64(a.OpenedAt.Add(-e.Within))).Scan(&recent)
	if err != nil {
		return nil, err
	}
	a.Flapping = e.Flaps > 0 && recent+1 >= e.Flaps
	a.Episodes = 1
	if a.Flapping {
		a.Episodes = recent + 1
	}
	_, err = tx.Exec(`
		INSERT INTO alerts (uid, sensor_id, subject, kind, cause, severity, message, opened_at, episodes, flapping) VALUES (?,?,?,?,?,?,?,?,?,?)`,
		newUID(), a.SensorID, subject, a.Kind, a.Cause, a.Severity, a.Message, int64(a.OpenedAt), a.Episodes, a.Flapping)
	if err != nil {
		return nil, err
	}
	opened, err := openIncident(tx, a.SensorID, subject)
	if err != nil {
		return nil, err
	}
	return append(steps, opened.Alert), announce(tx, opened, tellOpened, a.OpenedAt, e)
}

// beginAgain counts an episode of an incident that is flapping.
func beginAgain(tx *sql.Tx, i *incident, a telemetry.Alert, e *telemetry.Etiquette) error {
	_, err := tx.Exec("UPDATE alerts SET episodes = episodes + 1, cause = ?, message = ?, ended_at = 0 WHERE id = ?", a.Cause, a.Message, i.Order)
	if err != nil || i.tell == tellOpened {
		return err
	}
	return planNext(tx, a.OpenedAt, e, "id = ?", i.Order)
}

// end is called in the transaction that finds that what the incident is about was over at that moment. It returns the incident if it is
// resolved with that.
func end(tx *sql.Tx, i *incident, at, now telemetry.Millis, e *telemetry.Etiquette) (steps []telemetry.Alert, err error) {
	if !i.Flapping {
		step, err := resolve(tx, i, at, now, e)
		return []telemetry.Alert{step}, err
	}
	if _, err := tx.Exec("UPDATE alerts SET ended_at = ? WHERE id = ?", int64(at), i.Order); err != nil || i.tell == tellOpened {
		return nil, err
	}
	return nil, planNext(tx, now, e, "id = ?", i.Order)
}

// resolve ends an incident. Where nobody has been told of it yet, nobody is told.
func resolve(tx *sql.Tx, i *incident, at, now telemetry.Millis, e *telemetry.Etiquette) (telemetry.Alert, error) {
	i.ResolvedAt = max(at, i.OpenedAt) // the clock may have been set back
	_, err := tx.Exec("UPDATE alerts SET ended_at = ?1, resolved_at = ?1, tell = '', tell_at = 0 WHERE id = ?2", int64(i.ResolvedAt), i.Order)
	if err != nil || i.tell == tellOpened {
		return i.Alert, err
	}
	return i.Alert, announce(tx, i, tellResolved, now, e)
}

// Returned ends the silences of sensors that have sent something, in one transaction, where that is stored by now. It returns for each
// whether it is dealt with, and the incidents that are resolved. telemetry.ErrUnavailable when trying again later may work.
func (d *DB) Returned(ctx context.Context, back []telemetry.Return, now telemetry.Millis, e telemetry.Etiquette) (settled []bool, steps []telemetry.Alert, err error) {
	sensors := make([]int64, len(back))
	for i, r := range back {
		sensors[i] = r.SensorID
	}
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		if err := d.settle(tx, sensors); err != nil {
			return err
		}
		settled, steps = make([]bool, len(back)), nil
		for i, r := range back {
			var silent bool
			err := tx.QueryRow("SELECT silent_from = last_seen_at FROM sensor_status WHERE sensor_id = ?", r.SensorID).Scan(&silent)
			if errors.Is(err, sql.ErrNoRows) {
				settled[i] = true // deleted, and its incidents with it
				continue
			}
			if err != nil {
				return err
			}
			if silent { // what it sent waits for its commit
				continue
			}
			settled[i] = true
			open, err := openIncident(tx, r.SensorID, subjectSilence)
			if err != nil {
				return err
			}
			if open == nil || open.endedAt != 0 {
				continue
			}
			more, err := end(tx, open, r.At, now, &e)
			if err != nil {
				return err
			}
			steps = append(steps, more...)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("end silences: %w", err)
	}
	return settled, steps, nil
}

// OpenSilences returns the sensors with an open incident of silence that goes on, as far as is written down.
func (d *DB) OpenSilences(ctx context.Context) (sensors []int64, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, "SELECT sensor_id FROM alerts WHERE resolved_at = 0 AND subject = ? AND ended_at = 0", subjectSilence)
	if err != nil {
		return nil, fmt.Errorf("query open silences: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read open silences: %w", err)
		}
		sensors = append(sensors, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read open silences: %w", readError(err))
	}
	return sensors, nil
}
