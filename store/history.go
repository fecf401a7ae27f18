package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"sensorcast/telemetry"
)

// scanRows is how much of the log is scanned for a page by seq before the index is asked. The index is ordered by time, so for a
// page by seq all its entries of the sensor are looked through: cheap for a sensor with a small share of the log. One with a large
// share fills its page from the log within these rows.
const scanRows = 20_000

// Readings returns a page of one sensor's readings. Key is not filled in. Who may ask is the caller's matter.
func (d *DB) Readings(ctx context.Context, q telemetry.ReadingQuery) ([]telemetry.Reading, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	tail, from := d.tail.find(q)
	inTail := q.HasAfterSeq && q.AfterSeq >= from
	if q.HasAfterSeq && q.Ascending && !inTail {
		query, args := readingsFromLog(q)
		page, err := d.readings(ctx, query, args)
		if err != nil || len(page) == q.Limit {
			return page, err
		}
	}
	query, args, err := readingsFromIndex(q, tail, inTail)
	if err != nil {
		return nil, err
	}
	return d.readings(ctx, query, args)
}

func (d *DB) readings(ctx context.Context, query string, args []any) ([]telemetry.Reading, error) {
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query readings: %w", readError(err))
	}
	defer rows.Close()
	var out []telemetry.Reading
	for rows.Next() {
		var r telemetry.Reading
		var at, received, flags int64
		if err := rows.Scan(&r.SensorID, &r.Serial, &r.Seq, &at, &received, &flags, &r.Data); err != nil {
			return nil, fmt.Errorf("read readings: %w", err)
		}
		r.Time, r.ReceivedAt = telemetry.Millis(at), telemetry.Millis(received)
		r.Suspect, r.Via = flags&flagSuspect != 0, telemetry.Via(flags>>viaShift)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read readings: %w", readError(err))
	}
	return out, nil
}

// conditionsOf says in SQL which rows q selects, and in which order.
func conditionsOf(q telemetry.ReadingQuery) (where conditions, by string) {
	where.add("sensor_id = ?", q.SensorID)
	if q.From != 0 {
		where.add("time >= ?", int64(q.From))
	}
	if q.To != 0 {
		where.add("time < ?", int64(q.To))
	}
	order, beyond := "DESC", "<"
	if q.Ascending {
		order, beyond = "ASC", ">"
	}
	if !q.HasAfterSeq {
		if q.CursorSeq != 0 {
			where.add("(time, seq) "+beyond+" (?, ?)", int64(q.CursorTime), q.CursorSeq)
		}
		return where, "time " + order + ", seq " + order
	}
	where.add("seq > ?", q.AfterSeq)
	if q.CursorSeq != 0 {
		where.add("seq "+beyond+" ?", q.CursorSeq)
	}
	return where, "seq " + order
}

// readingsFromIndex selects from the index and the tail together: the rows of each, both in order and cut to the limit, and only
// then the data. UNION drops what has moved from the tail to the index in between.
func readingsFromIndex(q telemetry.ReadingQuery, tail []place, onlyTail bool) (string, []any, error) {
	pairs := make([][2]int64, len(tail))
	for i, p := range tail {
		pairs[i] = [2]int64{int64(p.time), p.seq}
	}
	list, err := json.Marshal(pairs)
	if err != nil {
		return "", nil, fmt.Errorf("encode tail: %w", err)
	}
	where, by := conditionsOf(q)
	from := "SELECT value ->> 0 AS time, value ->> 1 AS seq FROM json_each(?)"
	args := []any{string(list)}
	if !onlyTail {
		from += " UNION SELECT time, seq FROM (SELECT time, seq FROM reading_index WHERE " + where.String() + " ORDER BY " + by + " LIMIT ?)"
		args = append(append(args, where.args...), q.Limit)
	}
	return withData("SELECT time, seq FROM ("+from+") ORDER BY "+by+" LIMIT ?", by), append(args, q.Limit), nil
}

// readingsFromLog selects from the next scanRows of the log, whosever they are.
func readingsFromLog(q telemetry.ReadingQuery) (string, []any) {
	where, by := conditionsOf(q)
	const next = "SELECT time, seq, sensor_id FROM readings WHERE seq > ? ORDER BY seq LIMIT ?"
	args := append([]any{max(q.AfterSeq, q.CursorSeq), scanRows}, where.args...)
	return withData("SELECT time, seq FROM ("+next+") WHERE "+where.String()+" ORDER BY "+by+" LIMIT ?", by), append(args, q.Limit)
}

// withData fetches the readings that selected names by seq, in order.
func withData(selected, by string) string {
	return "SELECT r.sensor_id, coalesce(s.serial, ''), r.seq, r.time, r.received_at, r.flags, r.data FROM (" + selected + ") AS p" +
		" CROSS JOIN readings r ON r.seq = p.seq LEFT JOIN sensors s ON s.id = r.sensor_id" +
		" ORDER BY " + strings.NewReplacer("time", "p.time", "seq", "p.seq").Replace(by)
}
