package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sensorcast/telemetry"
)

// steadyTries is how often a read begins again because the watermark moved under it. It moves every 65,536 readings: several times within
// one read only where a fraction of a second means nothing.
const steadyTries = 3

// steady runs a read that puts rows of sensor_status and the tail together, in this order, until the watermark has not moved in
// between: then what the rows lacked was in the tail when that was looked at.
func (d *DB) steady(ctx context.Context, read func(context.Context) error) (err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	for range steadyTries {
		from := d.tail.watermark()
		if err = read(ctx); err != nil || d.tail.watermark() == from {
			break
		}
	}
	return err
}

// sensors returns those that where selects, with their status, in no order. where may name s (sensors), st (sensor_status) and u (users).
func (d *DB) sensors(ctx context.Context, where string, args ...any) (found []telemetry.Sensor, err error) {
	err = d.steady(ctx, func(ctx context.Context) error {
		var latest []place
		if found, latest, err = d.registered(ctx, where, args); err != nil {
			return err
		}
		d.tail.complete(found, latest)
		return d.fetchLatest(ctx, found, latest)
	})
	return found, err
}

// selectSensors is what scanSensor scans.
const selectSensors = `
	SELECT s.id, s.uid, s.serial, s.owner_id, u.username, s.name, s.description, s.mac_address, s.sensor_type, s.manufacturer,
		(SELECT json_group_array(tag ORDER BY position) FROM sensor_tags WHERE sensor_id = s.id),
		s.silence_after, s.silence_learned, s.created_at, s.updated_at,
		st.last_seen_at, st.silent_from, st.malformed, st.refused, st.last_reason, st.last_problem_at, st.latest_time, st.latest_seq
	FROM sensors s CROSS JOIN sensor_status st ON st.sensor_id = s.id JOIN users u ON u.id = s.owner_id
	WHERE `

// registered reads what the tables say, and where the latest readings are.
func (d *DB) registered(ctx context.Context, where string, args []any) (found []telemetry.Sensor, latest []place, err error) {
	rows, err := d.read.QueryContext(ctx, selectSensors+where, args...)
	if err != nil {
		return nil, nil, fmt.Errorf("query sensors: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		s, at, err := scanSensor(rows)
		if err != nil {
			return nil, nil, fmt.Errorf("read sensors: %w", err)
		}
		found, latest = append(found, s), append(latest, at)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("read sensors: %w", readError(err))
	}
	return found, latest, nil
}

func scanSensor(row *sql.Rows) (s telemetry.Sensor, latest place, err error) {
	var tags string
	var silence int64
	err = row.Scan(&s.ID, &s.UID, &s.Serial, &s.OwnerID, &s.Owner, &s.Name, &s.Description, &s.MACAddress, &s.SensorType, &s.Manufacturer,
		&tags, &silence, &s.Learned, &s.CreatedAt, &s.UpdatedAt,
		&s.Status.LastSeenAt, &s.Status.SilentFrom, &s.Status.Problems.Malformed, &s.Status.Problems.Refused, &s.Status.Problems.LastReason, &s.Status.Problems.LastAt,
		&latest.time, &latest.seq)
	if err != nil {
		return s, latest, err
	}
	s.SilenceAfter = time.Duration(silence) * time.Millisecond
	if err := json.Unmarshal([]byte(tags), &s.Tags); err != nil {
		return s, latest, fmt.Errorf("tags of sensor %d: %w", s.ID, err)
	}
	return s, latest, nil
}

// complete adds what the tail says to what rows said of the sensors.
func (t *tail) complete(sensors []telemetry.Sensor, latest []place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range sensors {
		st := &sensors[i].Status
		if more, ok := t.standingLocked(sensors[i].ID); ok {
			both := standing{st.LastSeenAt, latest[i]}.then(more)
			st.LastSeenAt, latest[i] = both.seenAt, both.latest
		}
	}
}

// fetchLatest reads each sensor's latest reading. It is called after the tail was looked at, so that what that names can be seen.
func (d *DB) fetchLatest(ctx context.Context, sensors []telemetry.Sensor, latest []place) error {
	bySeq := make(map[int64]*telemetry.Sensor, len(sensors))
	seqs := make([]int64, 0, len(sensors))
	for i, p := range latest {
		if p.seq != 0 {
			bySeq[p.seq] = &sensors[i]
			seqs = append(seqs, p.seq)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	list, err := json.Marshal(seqs) // one argument whatever their number: the statement is prepared once
	if err != nil {
		return fmt.Errorf("encode places: %w", err)
	}
	rows, err := d.read.QueryContext(ctx, `
		SELECT seq, time, received_at, flags, data FROM json_each(?) AS wanted CROSS JOIN readings ON seq = wanted.value`, string(list))
	if err != nil {
		return fmt.Errorf("query latest readings: %w", readError(err))
	}
	defer rows.Close()
	for rows.Next() {
		r := new(telemetry.Reading)
		var flags int64
		if err := rows.Scan(&r.Seq, &r.Time, &r.ReceivedAt, &flags, &r.Data); err != nil {
			return fmt.Errorf("read latest readings: %w", err)
		}
		s := bySeq[r.Seq]
		r.SensorID, r.Serial = s.ID, s.Serial
		r.Suspect, r.Via = flags&flagSuspect != 0, telemetry.Via(flags>>viaShift)
		s.Status.Latest = r
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read latest readings: %w", readError(err))
	}
	return nil
}
