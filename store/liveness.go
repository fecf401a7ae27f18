package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

// Liveness returns what silence is judged by for the sensors with ids above after, ascending, at most limit. One page is one short read,
// so that looking at all of a million holds the write-ahead log up no longer than that.
func (d *DB) Liveness(ctx context.Context, after int64, limit int) (page []telemetry.Liveness, err error) {
	err = d.steady(ctx, func(ctx context.Context) error {
		if page, err = d.liveness(ctx, after, limit); err == nil {
			d.tail.heard(page)
		}
		return err
	})
	return page, err
}

func (d *DB) liveness(ctx context.Context, after int64, limit int) ([]telemetry.Liveness, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT s.id, s.silence_after, s.silence_learned, st.last_seen_at, st.silent_from,
			coalesce(c.gaps, 0), coalesce(c.typical, 0), coalesce(c.long, 0)
		FROM sensors s CROSS JOIN sensor_status st ON st.sensor_id = s.id LEFT JOIN cadences c ON c.sensor_id = s.id
		WHERE s.id > ? ORDER BY s.id LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("query liveness: %w", readError(err))
	}
	defer rows.Close()
	page := make([]telemetry.Liveness, 0, limit)
	for rows.Next() {
		var l telemetry.Liveness
		var silence, typical, long int64
		if err := rows.Scan(&l.SensorID, &silence, &l.Learned, &l.LastSeenAt, &l.SilentFrom, &l.Cadence.Gaps, &typical, &long); err != nil {
			return nil, fmt.Errorf("read liveness: %w", err)
		}
		l.SilenceAfter = time.Duration(silence) * time.Millisecond
		l.Cadence.Typical, l.Cadence.Long = time.Duration(typical)*time.Millisecond, time.Duration(long)*time.Millisecond
		page = append(page, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read liveness: %w", readError(err))
	}
	return page, nil
}

// heard adds what the tail says to what rows said of the sensors.
func (t *tail) heard(all []telemetry.Liveness) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range all {
		if more, ok := t.standingLocked(all[i].SensorID); ok {
			all[i].LastSeenAt = more.seenAt
		}
	}
}

// Silence marks the sensors as silent and opens an incident of each, in one transaction, each on the condition that it was last seen when
// due says and is not marked already. It returns what holds of each afterwards, durably: SensorID is zero for one that is gone, and State
// is silent for one that was marked, now or before; and the incidents opened, or resolved because an earlier silence had ended.
// telemetry.ErrUnavailable when trying again later may work; then nothing is changed.
func (d *DB) Silence(ctx context.Context, due []telemetry.Liveness, o telemetry.Opening) (facts []telemetry.Liveness, steps []telemetry.Alert, err error) {
	sensors := make([]int64, len(due))
	for i, l := range due {
		sensors[i] = l.SensorID
	}
	err = d.write.do(ctx, func(tx *sql.Tx) error {
		if err := d.settle(tx, sensors); err != nil { // or a row would not know of readings in the tail
			return err
		}
		facts, steps = make([]telemetry.Liveness, len(due)), nil
		for i, l := range due {
			more, err := markSilent(tx, l, &facts[i], &o)
			if err != nil {
				return err
			}
			steps = append(steps, more...)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("mark silent sensors: %w", err)
	}
	return facts, steps, nil
}

// markSilent marks one sensor and reads what then holds of it into f.
func markSilent(tx *sql.Tx, l telemetry.Liveness, f *telemetry.Liveness, o *telemetry.Opening) (steps []telemetry.Alert, err error) {
	result, err := tx.Exec("UPDATE sensor_status SET silent_from = last_seen_at WHERE sensor_id = ? AND last_seen_at = ? AND silent_from <> last_seen_at",
		l.SensorID, int64(l.LastSeenAt))
	if err != nil {
		return nil, err
	}
	marked, err := result.RowsAffected()
	if err != nil {
		return nil, err
	}
	var after int64
	err = tx.QueryRow(`
		SELECT s.id, s.serial, s.silence_after, s.silence_learned, st.last_seen_at, st.silent_from
		FROM sensors s CROSS JOIN sensor_status st ON st.sensor_id = s.id WHERE s.id = ?`, l.SensorID).
		Scan(&f.SensorID, &f.Serial, &after, &f.Learned, &f.LastSeenAt, &f.SilentFrom)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil || marked == 0 {
		return nil, err
	}
	f.SilenceAfter = time.Duration(after) * time.Millisecond
	a := telemetry.Alert{SensorID: f.SensorID, Kind: telemetry.AlertSilent, Severity: telemetry.SeverityWarning, OpenedAt: o.At}
	a.Cause, a.Message = o.Explain(f)
	return begin(tx, a, subjectSilence, &o.Etiquette)
}

// endSilences lets those sensors be online again that sent something they had sent before. It moves no last-seen, but it was shown as a
// sign of life, since only the log remembers all keys.
func endSilences(tx *sql.Tx, readings []telemetry.Reading, fresh func(seq int64) bool) error {
	for i := range readings {
		if fresh(readings[i].Seq) {
			continue
		}
		if _, err := tx.Exec("UPDATE sensor_status SET silent_from = 0 WHERE sensor_id = ? AND silent_from <> 0", readings[i].SensorID); err != nil {
			return err
		}
	}
	return nil
}

// Heartbeat returns what Beat was last told.
func (d *DB) Heartbeat(ctx context.Context) (h telemetry.Heartbeat, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	if err := d.read.QueryRowContext(ctx, "SELECT at, stepped_at, grace_until FROM heartbeat").Scan(&h.At, &h.SteppedAt, &h.GraceUntil); err != nil {
		return h, fmt.Errorf("read heartbeat: %w", readError(err))
	}
	return h, nil
}

// Beat keeps a sign of life, durably.
func (d *DB) Beat(ctx context.Context, h telemetry.Heartbeat) error {
	err := d.write.do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE heartbeat SET at = ?, stepped_at = ?, grace_until = ?", int64(h.At), int64(h.SteppedAt), int64(h.GraceUntil))
		return err
	})
	if err != nil {
		return fmt.Errorf("write heartbeat: %w", err)
	}
	return nil
}
