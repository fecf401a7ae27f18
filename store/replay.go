package store

import (
	"context"
	"encoding/json"
	"fmt"

	"sensorcast/telemetry"
)

// replayBytes bounds the data of one page of a replay. A page is exceeded by one reading at most.
const replayBytes = 64 << 10

// ReadingsAfter returns, in rising Seq, readings of the sensors with a Seq above after, without Serial and Key. All of them up to through
// are in the answer; through is after when nothing more is committed. It reads at most scanRows of the log, whosever they are, and some 64 KiB
// of data. telemetry.ErrNotFound: readings above after may have been deleted for their age.
func (d *DB) ReadingsAfter(ctx context.Context, sensors []int64, after int64) (readings []telemetry.Reading, through int64, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	end := d.settled.Load()
	if end <= after {
		return nil, after, d.pruned(after)
	}
	list, err := json.Marshal(sensors)
	if err != nil {
		return nil, 0, fmt.Errorf("encode sensors: %w", err)
	}
	// Where scanRows of the log end; after a short stretch, at the end.
	const stretch = "SELECT coalesce(max(seq), ?1), count(*) FROM (SELECT seq FROM readings WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)"
	var count int
	if err := d.read.QueryRowContext(ctx, stretch, after, end, scanRows).Scan(&through, &count); err != nil {
		return nil, 0, fmt.Errorf("find end of replay: %w", readError(err))
	}
	if count < scanRows {
		through = end
	}
	if len(sensors) > 0 {
		if readings, through, err = d.replayPage(ctx, string(list), after, through); err != nil {
			return nil, 0, err
		}
	}
	return readings, through, d.pruned(after) // asked last: what was deleted meanwhile is missing from the page
}

// replayPage reads up to through, or less when the page is full.
func (d *DB) replayPage(ctx context.Context, sensors string, after, through int64) ([]telemetry.Reading, int64, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT sensor_id, seq, time, received_at, data FROM readings
		WHERE seq > ? AND seq <= ? AND sensor_id IN (SELECT value FROM json_each(?)) ORDER BY seq`, after, through, sensors)
	if err != nil {
		return nil, 0, fmt.Errorf("query replay: %w", readError(err))
	}
	defer rows.Close()
	var page []telemetry.Reading
	for bytes := 0; rows.Next(); {
		var r telemetry.Reading
		if err := rows.Scan(&r.SensorID, &r.Seq, (*int64)(&r.Time), (*int64)(&r.ReceivedAt), &r.Data); err != nil {
			return nil, 0, fmt.Errorf("read replay: %w", err)
		}
		page = append(page, r)
		if bytes += len(r.Data); bytes >= replayBytes {
			return page, r.Seq, nil
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("read replay: %w", readError(err))
	}
	return page, through, nil
}

// pruned reports, as telemetry.ErrNotFound, that readings above after may be gone.
func (d *DB) pruned(after int64) error {
	if to := d.prunedTo.Load(); after < to {
		return fmt.Errorf("readings up to seq %d are deleted: %w", to, telemetry.ErrNotFound)
	}
	return nil
}
