package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"sensorcast/telemetry"
)

// serialsPerQuery bounds how long one read holds its snapshot of the database, whatever number of sensors somebody watches.
const serialsPerQuery = 1000

// Snapshot returns the sensors with the given serials with their status, in the order asked for; those that do not exist are left out.
func (d *DB) Snapshot(ctx context.Context, serials []string) ([]telemetry.Sensor, error) {
	out := make([]telemetry.Sensor, 0, len(serials))
	for some := range slices.Chunk(serials, serialsPerQuery) {
		// One argument whatever their number: the statement is prepared once.
		list, err := json.Marshal(some)
		if err != nil {
			return nil, fmt.Errorf("encode serials: %w", err)
		}
		found, err := d.sensors(ctx, "s.serial IN (SELECT value FROM json_each(?))", string(list))
		if err != nil {
			return nil, fmt.Errorf("take snapshot: %w", err)
		}
		bySerial := make(map[string]*telemetry.Sensor, len(found))
		for i := range found {
			bySerial[found[i].Serial] = &found[i]
		}
		for _, serial := range some {
			if s := bySerial[serial]; s != nil {
				out = append(out, *s)
			}
		}
	}
	return out, nil
}
