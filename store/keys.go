package store

import (
	"context"
	"fmt"
	"slices"

	"sensorcast/telemetry"
)

// keyRows is how much of the log's end is looked through for keys.
const keyRows = 1 << 15

// RecentKeys returns the keys of the newest readings that have one, in rising Seq: of as many readings as package ingest remembers.
func (d *DB) RecentKeys(ctx context.Context) ([]telemetry.Key, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, err := d.read.QueryContext(ctx, `
		SELECT dedupe FROM (SELECT dedupe FROM readings ORDER BY seq DESC LIMIT ?) WHERE dedupe IS NOT NULL`, keyRows)
	if err != nil {
		return nil, fmt.Errorf("query keys: %w", readError(err))
	}
	defer rows.Close()
	var keys []telemetry.Key
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		keys = append(keys, telemetry.Key(b))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read keys: %w", readError(err))
	}
	slices.Reverse(keys)
	return keys, nil
}
